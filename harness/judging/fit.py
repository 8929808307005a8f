"""Whether a policy fits what an experiment judges: what it asks for must be there."""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.errors import ConfigError
from harness.judging.policy import Policy, Scope

_SLICE = re.compile(r"volatility:(low|mid|high)|year:\d{4}|drawdown:worst|steps:\d+-\d+")


def refuse_unjudged(
    policy: Policy, judged: Mapping[str, range], roles: Mapping[str, str], *, where: str
) -> None:
    """Refuse what no scores will ever hold: unknown slices, steps not judged, a missing reference.

    Parameters
    ----------
    judged
        Dataset to its judged steps.
    roles
        Arm to its role.

    Raises
    ------
    ConfigError
        Names table and key.
    """
    tables = [("criteria", each.scope) for each in policy.criteria]
    tables += [("coverage", each.scope) for each in policy.coverage]
    for name, scope in tables:
        _refuse_slices(scope, f"{where}: {name}")
        for dataset, steps in judged.items():
            if scope.covers(dataset) and not _asked(scope) <= set(steps):
                raise ConfigError(
                    f"{where}: {name}: {_said(scope)}: on {dataset} judged are {steps[0]} to "
                    f"{steps[-1]}"
                )
    sides = (policy.baseline, policy.candidate)
    bars = [arm for arm, role in roles.items() if role == "reference" and arm not in sides]
    if policy.limits.min_skill is not None and policy.reference is None and not bars:
        raise ConfigError(
            f"{where}: limits: min_skill = {policy.limits.min_skill:g}: expected an arm with role "
            "= 'reference' to have skill over; there is none"
        )


def _refuse_slices(scope: Scope, where: str) -> None:
    for part in scope.slices:
        if not _SLICE.fullmatch(part) or _is_reversed(part):
            raise ConfigError(
                f"{where}: slices: '{part}': expected volatility:low, volatility:mid, "
                "volatility:high, year:YYYY, drawdown:worst or steps:FIRST-LAST"
            )


def _is_reversed(part: str) -> bool:
    ends = [int(end) for end in part.partition(":")[2].split("-") if end.isdigit()]
    return ends != sorted(ends)


def _ranges(scope: Scope) -> list[str]:
    return [name for name in scope.slices if name.startswith("steps:")]


def _asked(scope: Scope) -> set[int]:
    """Every step that a scope names, alone or as an end of a slice."""
    ends = {int(end) for name in _ranges(scope) for end in name.partition(":")[2].split("-")}
    return ends | set(scope.steps)


def _said(scope: Scope) -> str:
    return f"steps = {list(scope.steps)}" if scope.steps else f"slices: {', '.join(_ranges(scope))}"
