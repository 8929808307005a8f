"""Requirements that stored results of the battery answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any, Literal

from harness.checks.predicate import CheckResult, number_of
from harness.checks.stored_checks import CheckRecord
from harness.checks.subject import LEGACY_NETWORKS, NETWORKS
from harness.claims.claim import Answer, ArmOnTrial, ClaimEvidence, Measurement, Requirement

Kind = Literal["network", "arm"]
Side = Literal["candidate", "baseline"]

_ROLES = {"candidate": "candidate", "baseline": "legacy"}


def checks_of(found: ClaimEvidence, side: Side, on: Kind | None) -> list[CheckRecord]:
    """Current checks of a side.

    Parameters
    ----------
    on
        As a network or as an arm; None is networks where there are some, else arms.
    """
    mine = [each for each in _all_of(found, side, on) if each.current]
    networks = [each for each in mine if each.kind == "network"]
    return networks if networks and on is None else mine


def checks_beside(found: ClaimEvidence, side: Side, on: Kind | None) -> list[CheckRecord]:
    """Current checks of other networks that were tried as being on a side."""
    if on == "arm":
        return []
    mine = [each.key for each in _all_of(found, side, "network")]
    tried = [each for each in found.checks if each.current and each.kind == "network"]
    return [each for each in tried if each.role == _ROLES[side] and each.key not in mine]


def why_none(found: ClaimEvidence, side: Side, on: Kind | None) -> str:
    """Why no stored check is about a side; '' where one is, or nothing more can be said."""
    records, arm = _all_of(found, side, on), found.arms.get(side)
    if records:
        return "" if any(each.current for each in records) else "the stored check is of other code"
    if on == "network" and arm is not None and arm.network is None:
        return f"no network stands for {arm.name}: its class names none"
    named = [each for each in found.checks if _is_named_like(each, arm, on)]
    return f"the stored check of {named[0].target} is of other options or code" if named else ""


def command_for(found: ClaimEvidence, side: Side, on: Kind | None) -> tuple[str, ...]:
    """The command that tries a side; none where its class offers no network to try."""
    arm = found.arms.get(side)
    if arm is None or (on == "network" and arm.network is None):
        return ()
    if on == "arm" or arm.network is None:
        return (_arm_command(found, arm, "arm"),)
    return (_network_command(found, arm),)


def _all_of(found: ClaimEvidence, side: Side, on: Kind | None) -> list[CheckRecord]:
    arm = found.arms.get(side)
    if arm is None:
        return []
    arms = [each for each in found.checks if _is_arm(each, arm)]
    networks = [each for each in found.checks if _is_network(each, arm)]
    return {"arm": arms, "network": networks, None: networks + arms}[on]


def _is_arm(record: CheckRecord, arm: ArmOnTrial) -> bool:
    place = (record.kind, record.target, record.use)
    return place == ("arm", arm.name, arm.use) and _same(record.options, arm.options)


def _is_network(record: CheckRecord, arm: ArmOnTrial) -> bool:
    network = arm.network
    if network is None:
        return False
    place = (record.kind, record.target, record.use)
    return place == ("network", network.target, network.use) and network.is_tried_with(
        record.options
    )


def _is_named_like(record: CheckRecord, arm: ArmOnTrial | None, on: Kind | None) -> bool:
    if arm is None or (on is not None and record.kind != on):
        return False
    name = arm.name if record.kind == "arm" or arm.network is None else arm.network.target
    return record.target == name


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two tables of options are the same once they are written as JSON."""
    first, second = (json.dumps(dict(each), sort_keys=True, default=str) for each in (one, other))
    return first == second


def _network_command(found: ClaimEvidence, arm: ArmOnTrial) -> str:
    assert arm.network is not None
    if arm.network.builds:
        return _arm_command(found, arm, "network")
    options = arm.network.options.items()
    given = [f"--option {quote(f'{name}={json.dumps(value)}')}" for name, value in options]
    return found.check_command(" ".join([quote(arm.network.target), *given]))


def _arm_command(found: ClaimEvidence, arm: ArmOnTrial, kind: Kind) -> str:
    place = f"--as {kind} --experiment {quote(found.experiment)}"
    return found.check_command(f"{quote(arm.name)} {place}")


ADVANCED = LEGACY_NETWORKS[2:]
_NETWORK: tuple[Side, Kind] = ("candidate", "network")


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


def _passed(found: ClaimEvidence, side: Side, codes: Sequence[str], on: Kind | None) -> Answer:
    records = checks_of(found, side, on)
    rows, why, held = list[Measurement](), list[str](), list[bool | None]()
    for code in codes:
        said = _results(records, code)
        rows += said
        held.append(_one(said))
        if not said:
            why.append(f"{code} was not tried")
        elif held[-1] is None:
            why += [f"{code}: {each.said}" for each in said]
        rows += [_beside(each, side) for each in _results(checks_beside(found, side, on), code)]
    if False in held or None not in held:
        return Answer(holds=False not in held, measured=tuple(rows))
    untried = any("not tried" in each for each in why)
    reason = why_none(found, side, on) or "; ".join(why)
    return Answer.missing(reason, *(command_for(found, side, on) if untried else ()), measured=rows)


def _results(records: Sequence[CheckRecord], code: str) -> list[Measurement]:
    tried = [(record, record.result(code)) for record in records]
    return [_measurement(record, result) for record, result in tried if result is not None]


def _one(said: Sequence[Measurement]) -> bool | None:
    """One predicate at whatever sizes it was asked: where it did not apply decides nothing."""
    held = [each.holds for each in said]
    return False if False in held else True if True in held else None


def _beside(row: Measurement, side: Side = "candidate") -> Measurement:
    """A network that does not stand for a side: shown, and of no weight."""
    return replace(row, holds=None, said=f"beside: does not stand for the {side}")


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
    """What the battery found on faithful legacy networks, at whatever sizes they were tried."""

    failing: dict[str, tuple[str, ...]]
    sources: dict[str, str]
    missing: tuple[str, ...]
    why: str
    commands: tuple[str, ...]


def _family(found: ClaimEvidence, names: Sequence[str]) -> _Family:
    tried = {name: [r for r in found.checks if _is_legacy(r, name)] for name in names}
    records = {name: [r for r in mine if r.current] for name, mine in tried.items()}
    missing = tuple(name for name in names if not records[name])
    stale = [name for name in missing if tried[name]]
    never = [name for name in missing if not tried[name]]
    why = [f"not tried: {', '.join(never)}"] if never else []
    why += [f"the stored check is of other code: {', '.join(stale)}"] if stale else []
    return _Family(
        failing={name: _failing(mine) for name, mine in records.items() if mine},
        sources={name: f"check {mine[0].key[:12]}" for name, mine in records.items() if mine},
        missing=missing,
        why="; ".join(why),
        commands=tuple(found.check_command(name) for name in missing),
    )


def _is_legacy(record: CheckRecord, name: str) -> bool:
    """A check of our faithful build of a legacy network."""
    place = (record.kind, record.target, record.use)
    return place == ("network", name, NETWORKS[name]) and faithful(record)


def _failing(records: Sequence[CheckRecord]) -> tuple[str, ...]:
    return tuple(sorted({code for each in records for code in each.failing}, key=number_of))


def legacy_fails(least: int, *, names: Sequence[str] = LEGACY_NETWORKS) -> Requirement:
    """Faithful legacy networks fail at least so many predicates, counted once each network."""
    count = f"{least} or more predicates fail, counted once for each legacy network"
    return Requirement(text=count, ask=lambda found: _counted(found, least, names))


def _counted(found: ClaimEvidence, least: int, names: Sequence[str]) -> Answer:
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
    return Answer.missing(family.why, *family.commands, measured=[whole, *rows] if rows else [])


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


def _each(found: ClaimEvidence, names: Sequence[str]) -> Answer:
    family = _family(found, names)
    rows = [_judged(_failures(name, family)) for name in family.failing]
    answer = Answer.of(rows)
    if family.missing and answer.holds is not False:
        return Answer.missing(family.why, *family.commands, measured=rows)
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


def _gone(found: ClaimEvidence) -> Answer:
    family = _family(found, LEGACY_NETWORKS)
    codes = sorted({c for each in family.failing.values() for c in each}, key=number_of)
    records, command = checks_of(found, *_NETWORK), command_for(found, *_NETWORK)
    others = [_beside(_carried_over(each, codes)) for each in checks_beside(found, *_NETWORK)]
    if not records or not codes:
        missing = [] if codes else [f"no faithful legacy network: {family.why}"]
        none = why_none(found, *_NETWORK) or "no network of the candidate was tried"
        missing += [] if records else [none]
        commands = (*family.commands, *(() if records else command))
        return Answer.missing("; ".join(missing), *commands, measured=others if codes else ())
    answer = Answer.of([_carried_over(record, codes) for record in records])
    rows = [*answer.measured, *others]
    if answer.holds and family.missing:
        return Answer.missing(family.why, *family.commands, measured=rows)
    if answer.holds is None:
        untried = "the candidate's network was not asked all of them"
        return Answer.missing(untried, *command, measured=rows)
    return Answer(holds=answer.holds, measured=tuple(rows))


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


def _round_trip(found: ClaimEvidence) -> Answer:
    tried = [(r, r.result("T26")) for r in checks_of(found, *_NETWORK)]
    rows = [_saved(record, result) for record, result in tried if result is not None]
    if not rows:
        why = why_none(found, *_NETWORK) or "T26 was not tried"
        return Answer.missing(why, *command_for(found, *_NETWORK))
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
