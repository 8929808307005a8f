"""Which stored checks are about a side of the judged pair.

A check of an arm counts for the arm as the experiment declares it: its class and its options. A
check of a network counts for the arm it stands for, which the arm's class says; whatever else was
tried under the same role is shown beside, and decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from shlex import quote
from typing import Any, Literal

from harness.battery.records import CheckRecord
from harness.claims.nouns import ArmOnTrial, Evidence

Kind = Literal["network", "arm"]
Side = Literal["candidate", "baseline"]

_ROLES = {"candidate": "candidate", "baseline": "legacy"}


def checks_of(found: Evidence, side: Side, on: Kind | None) -> list[CheckRecord]:
    """Current checks of a side.

    Parameters
    ----------
    on
        As a network or as an arm; None is networks where there are some, else arms.
    """
    mine = [each for each in _all_of(found, side, on) if each.current]
    networks = [each for each in mine if each.kind == "network"]
    return networks if networks and on is None else mine


def checks_beside(found: Evidence, side: Side, on: Kind | None) -> list[CheckRecord]:
    """Current checks of other networks that were tried as being on a side."""
    if on == "arm":
        return []
    mine = [each.key for each in _all_of(found, side, "network")]
    tried = [each for each in found.checks if each.current and each.kind == "network"]
    return [each for each in tried if each.role == _ROLES[side] and each.key not in mine]


def why_none(found: Evidence, side: Side, on: Kind | None) -> str:
    """Why no stored check is about a side; '' where one is, or nothing more can be said."""
    records, arm = _all_of(found, side, on), found.arms.get(side)
    if records:
        return "" if any(each.current for each in records) else "the stored check is of other code"
    if on == "network" and arm is not None and arm.network is None:
        return f"no network stands for {arm.name}: its class names none"
    named = [each for each in found.checks if _is_named_like(each, arm, on)]
    return f"the stored check of {named[0].target} is of other options or code" if named else ""


def command_for(found: Evidence, side: Side, on: Kind | None) -> tuple[str, ...]:
    """The command that tries a side; none where its class offers no network to try."""
    arm = found.arms.get(side)
    if arm is None or (on == "network" and arm.network is None):
        return ()
    if on == "arm" or arm.network is None:
        return (_arm_command(found, arm, "arm"),)
    return (_network_command(found, arm),)


def _all_of(found: Evidence, side: Side, on: Kind | None) -> list[CheckRecord]:
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


def _network_command(found: Evidence, arm: ArmOnTrial) -> str:
    assert arm.network is not None
    if arm.network.builds:
        return _arm_command(found, arm, "network")
    options = arm.network.options.items()
    given = [f"--option {quote(f'{name}={json.dumps(value)}')}" for name, value in options]
    return found.check_command(" ".join([quote(arm.network.target), *given]))


def _arm_command(found: Evidence, arm: ArmOnTrial, kind: Kind) -> str:
    place = f"--as {kind} --experiment {quote(found.experiment)}"
    return found.check_command(f"{quote(arm.name)} {place}")
