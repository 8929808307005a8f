"""The part of a unit's scores a rule speaks of, cut out so that all that follows is the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import AbharnessError, ConfigError
from harness.reasons import Reason, ReasonCode, reason
from harness.scoring.scores import EVERY, Chosen, Flags, Truth, UnitScores


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which part of what was judged a rule speaks of; left out, all of it.

    Attributes
    ----------
    datasets
        Ids; left out, every dataset of the experiment.
    steps
        Judged steps, counted from the last session seen; left out, all.
    slices
        Names such as ``volatility:high`` or ``year:2020``: one finding for each.
    """

    datasets: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    slices: tuple[str, ...] = ()

    def covers(self, dataset: str) -> bool:
        """Whether it speaks of a dataset."""
        return not self.datasets or dataset in self.datasets

    @property
    def parts(self) -> tuple[str, ...]:
        """One label per finding on a dataset, '' for everything."""
        runs: list[list[int]] = []
        for step in sorted(self.steps):
            if runs and step == runs[-1][-1] + 1:
                runs[-1].append(step)
            else:
                runs.append([step])
        short = (str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
        steps = f"steps:{','.join(short)}" if runs else ""
        named = self.slices or ("",)
        return tuple(" ".join(filter(None, (name, steps))) for name in named)

    def meets(self, other: Scope) -> bool:
        """Whether both would give the same finding."""
        apart = self.datasets and other.datasets and not set(self.datasets) & set(other.datasets)
        return not apart and bool(set(self.parts) & set(other.parts))

    def faults(self) -> list[str]:
        """What is wrong with it: entries listed twice, steps below 1, names that are no slice."""
        lists = {key: list(getattr(self, key)) for key in ("datasets", "steps", "slices")}
        faults = [
            f"{key} = {found}: an entry is there twice"
            for key, found in lists.items()
            if len(set(found)) < len(found)
        ]
        if self.steps and min(self.steps) < 1:
            faults.append(f"steps = {list(self.steps)}: expected 1 or more")
        return faults + [
            f"slices: '{name}': expected a name such as volatility:high, year:2020"
            for name in self.slices
            if not all(name.partition(":"))
        ]


REGIMES = ("low", "mid", "high")
"""Terciles of the trailing volatility."""
_STEPS = re.compile(r"steps:(\d+)-(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A part of the judged windows and steps.

    Attributes
    ----------
    name
        As a policy writes it: ``volatility:high``, ``year:2020``, ``steps:1-8``,
        ``drawdown:worst``.
    title
        The same for a reader.
    windows : [W], optional
        Which windows belong to it; None is all.
    steps : [H], optional
        Which steps belong to it; None is all.
    """

    name: str
    title: str
    windows: Flags | None = None
    steps: Flags | None = None

    @property
    def rows(self) -> Chosen:
        """Its windows, for cutting with `at`."""
        return EVERY if self.windows is None else self.windows

    @property
    def columns(self) -> Chosen:
        """Its steps, for cutting with `at`."""
        return EVERY if self.steps is None else self.steps


def slices_of(found: Truth) -> tuple[Slice, ...]:
    """All slices, in a fixed order: steps, volatility, years, worst drawdown.

    Those by volatility and by drawdown are left out where they are not known, and one that no
    window falls into is left out.
    """
    parts = min(3, len(found.step))  # thirds of the horizon
    thirds = np.array_split(np.sort(found.step), parts) if len(found.step) > 1 else []
    by_steps = [_of_steps(found, int(third[0]), int(third[-1])) for third in thirds]
    years = found.origin_date.astype("datetime64[Y]")
    by_year = [
        Slice(name=f"year:{year}", title=f"origins in {year}", windows=years == year)
        for year in np.unique(years)
    ]
    terciles: list[Slice] = []  # over the judged windows; an unknown volatility is in none
    values = found.volatility
    if values is not None and np.isfinite(values).any():
        low, high = np.nanquantile(values, [1 / 3, 2 / 3]).tolist()
        masks = (values <= low, (values > low) & (values <= high), values > high)
        terciles = [
            Slice(name=f"volatility:{name}", title=f"{name} volatility", windows=mask)
            for name, mask in zip(REGIMES, masks, strict=True)
        ]
    worst: list[Slice] = []  # the origins around the deepest that are at least half as deep
    depth = found.drawdown
    if depth is not None and np.isfinite(depth).any() and np.nanmax(depth) > 0:
        order = np.argsort(found.origin, kind="stable")
        deep = depth[order] >= np.nanmax(depth) / 2
        bottom = int(np.nanargmax(depth[order]))
        edges = np.flatnonzero(np.diff(deep)) + 1  # where a run of deep or shallow origins starts
        episode = np.searchsorted(edges, np.arange(len(deep)), side="right")
        mask = np.zeros(len(deep), dtype=bool)
        mask[order] = episode == episode[bottom]
        dates = np.sort(found.origin_date[mask])
        share = f"{100 * float(np.nanmax(depth)):.0f} %"
        title = f"worst drawdown, {dates[0]} to {dates[-1]} (up to {share} below the year's high)"
        worst = [Slice(name="drawdown:worst", title=title, windows=mask)]
    made = [*by_steps, *terciles, *by_year, *worst]
    return tuple(each for each in made if each.windows is None or each.windows.any())


def slice_named(found: Truth, name: str) -> Slice:
    """Find a slice by name; any range of judged steps may be asked for.

    Raises
    ------
    ConfigError
        When there is none of that name; says which there are.
    """
    asked = _STEPS.fullmatch(name)
    if asked is not None:
        first, last = int(asked[1]), int(asked[2])
        if found.step.min() <= first <= last <= found.step.max():
            return _of_steps(found, first, last)
    known = {each.name: each for each in slices_of(found)}
    if name not in known:
        raise ConfigError(
            f"no slice '{name}'; there are {', '.join(known)} and any steps:FIRST-LAST "
            f"within {found.step.min()}-{found.step.max()}"
        )
    return known[name]


def _of_steps(found: Truth, first: int, last: int) -> Slice:
    return Slice(
        name=f"steps:{first}-{last}",
        title=f"step {first}" if first == last else f"steps {first} to {last}",
        steps=(found.step >= first) & (found.step <= last),
    )


LEAST = 8
"""Windows below which a part says nothing at all: an interval of so few has no meaning."""


class ScopeError(AbharnessError):
    """A rule asks for a part that is not there or is too small; `why` says which."""

    def __init__(self, why: Reason) -> None:
        super().__init__(str(why))
        self.why = why


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
    found = []
    for unit in units:
        part = Slice(name="", title="")
        if name:
            try:
                part = slice_named(unit.truth, name)
            except ConfigError:
                known = tuple(each.name for each in slices_of(unit.truth))
                ends = {"first": int(unit.step.min()), "last": int(unit.step.max())}
                why = reason(ReasonCode.NO_SLICE, slice=name, known=known, **ends)
                raise ScopeError(why) from None
            count = len(unit) if part.windows is None else int(part.windows.sum())
            if part.windows is not None and count < LEAST:
                raise ScopeError(reason(ReasonCode.SMALL_SLICE, slice=name, windows=count))
        steps = np.ones(len(unit.step), dtype=bool) if part.steps is None else part.steps
        if scope.steps:
            steps = steps & np.isin(unit.step, scope.steps)
        if not steps.any() or not set(scope.steps) <= set(unit.step.tolist()):
            raise ScopeError(reason(ReasonCode.NO_STEPS, steps=scope.steps, slice=name))
        found.append(unit.at(part.rows, steps))
    return found
