"""The part of a unit's scores a rule speaks of, cut out so that all that follows is the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.errors import AbharnessError, ConfigError
from harness.judging.rules import Scope
from harness.scoring.scores import UnitScores
from harness.scoring.slices import Slice, slice_named

LEAST = 8
"""Windows below which a part says nothing at all: an interval of so few has no meaning."""
_PER_WINDOW = ("origin", "origin_date", "last", "naive_scale", "ok", "volatility", "drawdown")


class ScopeError(AbharnessError):
    """A rule asks for a part that is not there or is too small."""


def cut(units: Sequence[UnitScores], scope: Scope, name: str) -> list[UnitScores]:
    """Cut units down to one part of a scope.

    Parameters
    ----------
    units
        Of one dataset, in time order.
    scope
        Its steps are cut too.
    name
        Name of the slice; '' is every window.

    Raises
    ------
    ScopeError
        When the slice or the steps are not there, or fewer than `LEAST` windows are in it.
    """
    if not name and not scope.steps:
        return list(units)
    return [_cut(unit, scope, name) for unit in units]


def _cut(unit: UnitScores, scope: Scope, name: str) -> UnitScores:
    part = Slice(name="", title="")
    if name:
        try:
            part = slice_named(unit, name)
        except ConfigError as problem:
            raise ScopeError(str(problem)) from None
        if part.windows is not None and int(part.windows.sum()) < LEAST:
            count = int(part.windows.sum())
            raise ScopeError(f"the slice {name} selects {count} windows, too few to judge")
    steps = np.ones(len(unit.step), dtype=bool) if part.steps is None else part.steps
    if scope.steps:
        steps = steps & np.isin(unit.step, scope.steps)
    if not steps.any() or not set(scope.steps) <= set(unit.step.tolist()):
        raise ScopeError(f"not all of steps {list(scope.steps)} of '{name or 'all'}' were judged")
    return keep(unit, dataclasses.replace(part, steps=steps))


def keep(unit: UnitScores, part: Slice) -> UnitScores:
    """Cut a unit down to some windows and steps."""
    rows = np.ones(len(unit), dtype=bool) if part.windows is None else part.windows
    changes: dict[str, Any] = {
        name: getattr(unit, name)[rows] for name in _PER_WINDOW if getattr(unit, name) is not None
    }
    for name in ("reason", "fallback"):
        texts = getattr(unit, name)
        changes[name] = tuple(
            text for text, kept in zip(texts, rows.tolist(), strict=False) if kept
        )
    return dataclasses.replace(
        unit,
        **changes,
        step=unit.step if part.steps is None else unit.step[part.steps],
        values={metric: part.of(cells) for metric, cells in unit.values.items()},
        served={metric: part.of(cells) for metric, cells in unit.served.items()},
    )
