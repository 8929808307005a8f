"""What was asked before the first result was there, and what was asked otherwise since.

`run` and `compare` record the policy, the plans and the arms of an experiment before they fit
anything. A verdict that is passed by another policy, or on other arms or plans, says so first: who
saw the results may have chosen the rules by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.gate.dossier import Dossier
from harness.judging.fact import Fact, FactCode, fact
from harness.judging.verdict import plain
from harness.parsing import parse_record
from harness.running.grid import Grid
from harness.running.sources import digest
from harness.running.store_folder import Store

KIND = "policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """What was asked of a pair.

    Attributes
    ----------
    policy
        As plain data.
    pair
        Digests of candidate and baseline: where their code is, with which options.
    plans
        Dataset to its plan as plain data.
    data
        Dataset to its last row seen and the digest of its rows.
    code
        Digest of the code that judges.
    fits
        Keys of the pair's fits.
    results
        Some of them were there already.
    """

    policy: Mapping[str, Any]
    pair: tuple[str, ...]
    plans: Mapping[str, Mapping[str, Any]]
    data: Mapping[str, tuple[str, str]]
    code: str
    fits: tuple[str, ...] = ()
    results: bool = False
    at: str = field(default="", compare=False)


def asked_now(asked: Dossier, *, code: str) -> Registered:
    """What is asked at this moment.

    Parameters
    ----------
    code
        Digest of the code that judges.
    """
    grid, policy = asked.grid, asked.policy
    refs = [grid.experiment.arm(name) for name in (policy.candidate, policy.baseline)]
    fits = tuple(fit.key for cell in asked.cells for fit in cell.fits)
    return Registered(
        policy=plain(policy),
        pair=tuple(digest([ref.use, dict(ref.options)]) for ref in refs),
        plans={name: plain(split.plan) for name, split in grid.splits.items()},
        data={
            name: (str(split.dataset.series.dates[int(split.windows.judged.max())]), split.data)
            for name, split in grid.splits.items()
        },
        code=code,
        fits=fits,
        results=any(map(asked.store.seals, fits)),
    )


def register(grid: Grid, store: Store, *, code: str) -> None:
    """Record what is asked before anything is fitted; what was recorded stays once results came."""
    name = grid.experiment.name
    known = store.journal.latest(KIND, name)
    if known is not None and any(map(store.seals, known["fits"])):
        return
    asked = Dossier(grid=grid, store=store, policy=grid.experiment.policy)
    body = {k: v for k, v in asdict(asked_now(asked, code=code)).items() if k != "at"}
    store.journal.append_new(KIND, name, body)


def changed_since(asked: Dossier, *, code: str) -> Fact | None:
    """What is asked otherwise than was recorded before the first result; None where nothing is.

    An experiment that was recorded when results of its pair were there already is held against the
    first record of that pair, by whatever name.
    """
    now = asked_now(asked, code=code)
    known = [
        (row.key, parse_record(Registered, {**body, "at": row.at[:10]}, where=f"{KIND} {row.key}"))
        for row, body in asked.store.journal.all(KIND)
    ]
    mine = [found for key, found in known if key == asked.name]
    same = [found for _, found in known if tuple(found.pair) == now.pair]
    held_against = mine[-1:] if mine and not mine[-1].results else [*same, *mine]
    if not held_against:
        return None
    first = held_against[0]
    rules, before = _rules(now.policy), _rules(first.policy)
    dropped = tuple(name for name in before if name not in rules)
    eased = tuple(
        (name, _value(before.get(name)), _value(rule))
        for name, rule in rules.items()
        if before.get(name) != rule
    )
    same_rows = [name for name in now.data if now.data[name][0] == first.data.get(name, ("",))[0]]
    edited = any(now.data[name] != tuple(first.data[name]) for name in same_rows)
    what = {
        "policy": bool(dropped or eased),
        "data": now.plans != first.plans or edited,
        "arms": now.pair != tuple(first.pair),
    }
    if not any(what.values()):
        return None
    named = [name for name, changed in what.items() if changed]
    named += ["code"] if now.code != first.code else []
    return fact(
        FactCode.CHANGED_SINCE, at=first.at, what=tuple(named), dropped=dropped, others=eased
    )


def _rules(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of a policy by its name; a rule by metric, role and scope."""
    found: dict[str, Any] = {}
    for key, value in policy.items():
        if key in ("baseline", "candidate", "reference"):  # the pair is told as arms
            continue
        if isinstance(value, Mapping):
            found |= {f"{key}.{name}": inner for name, inner in value.items()}
        elif key == "waivers":
            found |= {f"waiver of {each['finding']}": each["until"] for each in value}
        elif isinstance(value, list | tuple):
            for rule in value:
                if key == "criteria":
                    what, bound = f"{rule['metric']} {rule['statistic']} {rule['role']}", "margin"
                else:
                    relative = " against legacy's" if rule["relative"] else ""
                    what, bound = f"coverage {rule['level']} %{relative}", "tolerance"
                scope = [str(e) for name in ("datasets", "steps", "slices") for e in rule[name]]
                found[what + (f" on {', '.join(scope)}" if scope else "")] = rule[bound]
        else:
            found[key] = value
    return found


def _value(value: Any) -> str:
    return "none" if value is None else str(value)
