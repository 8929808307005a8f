"""Requirements that stored results of the battery answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.battery.nouns import CheckResult, number_of
from harness.battery.records import CheckRecord
from harness.battery.sources import LEGACY_NETWORKS, REPLACEMENT_NETWORKS
from harness.claims.nouns import Answer, Evidence, Measurement, Requirement

Kind = Literal["network", "arm"]
Side = Literal["candidate", "baseline"]

ADVANCED = LEGACY_NETWORKS[2:]


def passes(side: Side, *codes: str, on: Kind | None = None) -> Requirement:
    """Every predicate of `codes` passes on a side.

    Parameters
    ----------
    on
        As a network or as an arm; None is whichever was asked, the network first.
    """
    listed = ", ".join(codes)
    form = {"network": "network of the candidate", "arm": f"arm of the {side}", None: side}[on]
    return Requirement(
        text=f"the {form} passes {listed}", ask=lambda found: _passed(found, side, codes, on)
    )


def _passed(found: Evidence, side: Side, codes: Sequence[str], on: Kind | None) -> Answer:
    records = _records(found, side, on)
    rows, why = list[Measurement](), list[str]()
    for code in codes:
        tried = [(r, r.result(code)) for r in records]
        said = [_measurement(r, result) for r, result in tried if result is not None]
        rows += said
        if not said:
            why.append(f"{code} was not tried")
        why += [f"{code}: {m.said}" for m in said if m.holds is None]
    answer = Answer.of(rows)
    complete = not why
    holds = answer.holds if complete or answer.holds is False else None
    if holds is not None:
        return Answer(holds=holds, measured=answer.measured)
    commands = (_command(found, side, on),) if any("not tried" in each for each in why) else ()
    reason = _stale(found, side, on) or "; ".join(why)
    return Answer.missing(reason, *commands, measured=rows)


def _records(found: Evidence, side: Side, on: Kind | None) -> list[CheckRecord]:
    """Current records of a side; networks where there are some, unless the arm is asked for."""
    mine = [r for r in _all_records(found, side, on) if r.current]
    networks = [r for r in mine if r.kind == "network"]
    return networks if networks and on is None else mine


def _all_records(found: Evidence, side: Side, on: Kind | None) -> list[CheckRecord]:
    name = found.candidate if side == "candidate" else found.baseline
    role = "candidate" if side == "candidate" else "legacy"
    arms = [r for r in found.checks if r.kind == "arm" and r.target == name]
    networks = [r for r in found.checks if r.kind == "network" and r.role == role]
    if side == "baseline":
        networks = [r for r in networks if r.target == name and faithful(r)]
    return {"arm": arms, "network": networks, None: networks + arms}[on]


def _stale(found: Evidence, side: Side, on: Kind | None) -> str:
    records = _all_records(found, side, on)
    stale = records and not any(r.current for r in records)
    return "the stored check is of other code" if stale else ""


def _command(found: Evidence, side: Side, on: Kind | None) -> str:
    name = found.candidate if side == "candidate" else found.baseline
    if on == "network" and side == "candidate":
        return found.check_command(REPLACEMENT_NETWORKS[0])
    return found.check_command(f"{name} --as arm --experiment {found.experiment}")


def faithful(record: CheckRecord) -> bool:
    """Whether a legacy network was tried with its defects: no repair was switched on."""
    return not any(
        value is True for key, value in record.options.items() if not key.startswith("config.")
    )


def _measurement(record: CheckRecord, result: CheckResult) -> Measurement:
    holds = {"pass": True, "fail": False, "error": False, "not applicable": None}[result.outcome]
    value = result.measured.get("value")
    return Measurement(
        what=f"{result.code}, {result.title}: {result.outcome}",
        value=value,
        unit=f"(wanted {result.wanted})" if value is not None else "",
        arm=record.target,
        source=f"check {record.key[:12]}",
        said=result.reason,
        holds=holds,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """What the battery found on faithful legacy networks."""

    failing: dict[str, tuple[str, ...]]
    sources: dict[str, str]
    missing: tuple[str, ...]
    commands: tuple[str, ...]


def _family(found: Evidence, names: Sequence[str]) -> _Family:
    records = {
        r.target: r
        for r in found.checks
        if r.current and r.kind == "network" and r.role == "legacy" and faithful(r)
    }
    missing = tuple(name for name in names if name not in records)
    return _Family(
        failing={name: records[name].failing for name in names if name in records},
        sources={name: f"check {r.key[:12]}" for name, r in records.items()},
        missing=missing,
        commands=tuple(found.check_command(name) for name in missing),
    )


def legacy_fails(least: int, *, names: Sequence[str] = LEGACY_NETWORKS) -> Requirement:
    """Faithful legacy networks fail at least so many predicates, counted once each network."""
    count = f"{least} or more predicates fail, counted once for each legacy network"
    return Requirement(text=count, ask=lambda found: _counted(found, least, names))


def _counted(found: Evidence, least: int, names: Sequence[str]) -> Answer:
    family = _family(found, names)
    total = sum(map(len, family.failing.values()))
    enough = total >= least
    rows = [_failures(name, family) for name in family.failing]
    whole = Measurement(
        what="predicates that faithful legacy networks fail",
        value=total,
        unit=f"on {len(family.failing)} of {len(names)} networks",
        holds=True if enough else None if family.missing else False,
    )
    if enough or not family.missing:
        return Answer(holds=enough, measured=(whole, *rows))
    why = f"not tried: {', '.join(family.missing)}"
    return Answer.missing(why, *family.commands, measured=[whole, *rows] if rows else [])


def _failures(name: str, family: _Family) -> Measurement:
    codes = family.failing[name]
    return Measurement(
        what="failing predicates",
        value=len(codes),
        arm=name,
        source=family.sources[name],
        said=" ".join(codes),
    )


def each_fails(names: Sequence[str] = ADVANCED) -> Requirement:
    """Each of some faithful legacy networks fails at least one predicate."""
    return Requirement(
        text=f"each of {', '.join(names)} fails a predicate",
        ask=lambda found: _each(found, names),
    )


def _each(found: Evidence, names: Sequence[str]) -> Answer:
    family = _family(found, names)
    rows = [_judged(_failures(name, family)) for name in family.failing]
    answer = Answer.of(rows)
    if family.missing and answer.holds is not False:
        why = f"not tried: {', '.join(family.missing)}"
        return Answer.missing(why, *family.commands, measured=rows)
    return answer


def _judged(row: Measurement) -> Measurement:
    return replace(row, holds=bool(row.value))


def defects_gone() -> Requirement:
    """The candidate fails none of the predicates that a faithful legacy network fails."""
    return Requirement(
        text="the network of the candidate fails none of the predicates that faithful legacy "
        "networks fail",
        ask=_gone,
    )


def _gone(found: Evidence) -> Answer:
    family = _family(found, LEGACY_NETWORKS)
    codes = sorted({c for each in family.failing.values() for c in each}, key=number_of)
    records = _records(found, "candidate", "network")
    if not records or not codes:
        missing = [] if codes else ["no faithful legacy network was tried"]
        missing += [] if records else ["no network of the candidate was tried"]
        commands = (
            *family.commands,
            *([] if records else [_command(found, "candidate", "network")]),
        )
        return Answer.missing("; ".join(missing), *commands)
    rows = [_carried_over(record, codes) for record in records]
    answer = Answer.of(rows)
    if answer.holds and family.missing:
        why = f"not tried: {', '.join(family.missing)}"
        return Answer.missing(why, *family.commands, measured=rows)
    untried = "the candidate's network was not asked all of them"
    return (
        answer
        if answer.holds is not None
        else Answer.missing(untried, _command(found, "candidate", "network"), measured=rows)
    )


def _carried_over(record: CheckRecord, codes: Sequence[str]) -> Measurement:
    results = [record.result(code) for code in codes]
    bad = [r.code for r in results if r is not None and r.outcome in ("fail", "error")]
    fine = sum(r is not None and r.outcome == "pass" for r in results)
    idle = sum(r is not None and r.outcome == "not applicable" for r in results)
    holds = False if bad else None if None in results else True
    return Measurement(
        what=f"of {len(codes)} predicates that legacy networks fail, failed as well",
        value=len(bad),
        arm=record.target,
        source=f"check {record.key[:12]}",
        said=f"{fine} pass, {idle} do not apply" + (f"; failing {' '.join(bad)}" if bad else ""),
        holds=holds,
    )


def saved_and_loaded() -> Requirement:
    """The candidate's network offers `save_pretrained`, and comes back from it the same."""
    return Requirement(
        text="the network of the candidate comes back from save_pretrained and from_pretrained "
        "with the same forecast (in T26)",
        ask=_round_trip,
    )


def _round_trip(found: Evidence) -> Answer:
    tried = [(r, r.result("T26")) for r in _records(found, "candidate", "network")]
    rows = [_saved(record, result) for record, result in tried if result is not None]
    if not rows:
        command = _command(found, "candidate", "network")
        return Answer.missing("T26 was not tried", command)
    return Answer.of(rows)


def _saved(record: CheckRecord, result: CheckResult) -> Measurement:
    gap = result.measured.get("save_pretrained")
    return Measurement(
        what="forecast after save_pretrained and back, away by",
        value=gap,
        unit="of the output's scale" if gap is not None else "",
        arm=record.target,
        source=f"check {record.key[:12]}",
        said=result.reason if gap is not None else "it offers no such calls, or they fail",
        holds=gap is not None and result.outcome == "pass",
    )
