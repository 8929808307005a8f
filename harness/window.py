"""Where a forecaster stands and what it may see: plan, windows, contexts.

Shapes: N sessions of a series, W windows, T context sessions, C covariates, H steps.
An *origin* is the row of the first session that is not seen. With a gap of g the steps that are
judged are rows ``origin + g .. origin + g + horizon - 1``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError, refuse

Array = npt.NDArray[np.float64]
Dates = npt.NDArray[np.datetime64]
Rows = npt.NDArray[np.int64]
_Item = TypeVar("_Item", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A target with its past covariates on observed sessions.

    Attributes
    ----------
    dates : [N]
        Real session dates, strictly increasing, `datetime64[D]`.
    target : [N]
        What is forecast, in the unit the manifest names.
    past : [N, C]
        Covariates known up to the origin only.
    past_names
        C column names.
    weekmask
        Days of the week that have sessions, Monday first, such as ``1111100``.
    season
        Sessions in the shortest calendar season (5 for a trading week).
    """

    dates: Dates
    target: Array
    past: Array
    past_names: tuple[str, ...]
    weekmask: str
    season: int

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One origin: rows before it may be seen, `first .. stop - 1` are judged."""

    origin: int
    first: int
    stop: int
    fitted_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """All origins of a plan over one series, in time order.

    Attributes
    ----------
    origin : [W]
        Row of the first session not seen.
    fitted_at : [W]
        Origin at which the model that answers here was last fitted.
    horizon
        Judged steps H.
    gap
        Sessions between the origin and the first judged step.
    """

    origin: Rows
    fitted_at: Rows
    horizon: int
    gap: int

    def __len__(self) -> int:
        return len(self.origin)

    def __iter__(self) -> Iterator[Window]:
        for origin, fitted_at in zip(self.origin.tolist(), self.fitted_at.tolist(), strict=True):
            first = origin + self.gap
            yield Window(origin=origin, first=first, stop=first + self.horizon, fitted_at=fitted_at)

    @property
    def reach(self) -> int:
        """Steps an arm must forecast from the origin on: gap plus horizon."""
        return self.gap + self.horizon

    @property
    def judged(self) -> Rows:
        """Rows judged at each origin, [W, H]."""
        return self.origin[:, None] + self.gap + np.arange(self.horizon)

    def part(self, rows: slice | npt.NDArray[Any]) -> Windows:
        """Some of the windows: a slice, their places or a flag for each."""
        origin, fitted_at = self.origin[rows], self.fitted_at[rows]
        return dataclasses.replace(self, origin=origin, fitted_at=fitted_at)

    def complete(self, sessions: int) -> Windows:
        """Those whose steps have all come, in a series of so many sessions."""
        count = int(np.searchsorted(self.origin, sessions - self.reach, side="right"))
        return self.part(slice(0, count))

    def segments(self) -> Iterator[tuple[int, slice]]:
        """Each fit's origin with the slice of windows it serves."""
        starts = np.flatnonzero(np.diff(self.fitted_at, prepend=-1))
        stops = [*starts[1:].tolist(), len(self)]
        for start, stop in zip(starts.tolist(), stops, strict=True):
            yield int(self.fitted_at[start]), slice(start, stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingOrigin:
    """The plan: which origins, how far ahead, what may be seen, when to fit again.

    Attributes
    ----------
    horizon
        Steps judged at each origin, in observed sessions.
    stride
        Sessions between origins.
    first
        First origin: an ISO date (the first session on or after it is the first not seen) or a
        row. Left out, `origins` windows are counted back from the end of the data, once: a store
        keeps where they began, and the list grows with the data.
    origins
        How many; with `first`, never more. Left out, until the data end.
    gap
        Sessions skipped between the origin and the first judged step.
    history
        Sessions that may be seen before an origin; None is all of them (expanding).
    refit
        Learning arms are fitted again every so many origins; None is once, at the first.
    validation
        Last sessions before a fit that training must not use: early stopping and residuals.
    skip_repeats
        Drop sessions that repeat the price before them (holidays filled in by the source).
    truth
        What origins that were issued before their outcome are held against where a vendor revised
        it since: ``first``, what was known when they were issued and the outcome as it first came,
        or ``latest``. All other origins are held against the latest values.
    """

    horizon: int
    stride: int
    first: str | int | None = None
    origins: int | None = None
    gap: int = 0
    history: int | None = None
    refit: int | None = None
    validation: int = 250
    skip_repeats: bool = False
    truth: Literal["first", "latest"] = "first"

    def __post_init__(self) -> None:
        least = dict.fromkeys(("horizon", "stride", "origins", "history", "refit"), 1)
        faults = counted(self, {**least, "gap": 0, "validation": 0})
        if self.first is None and self.origins is None:
            faults.append("needs `first` (a date or row) or `origins` (how many)")
        if isinstance(self.first, int) and abs(self.first) > MOST:
            faults.append(f"first = {self.first}: expected at most {MOST:,}")
        refuse("[plan]", faults)

    @property
    def overlap(self) -> int:
        """Consecutive origins that share a judged session, counting the origin itself."""
        return -(-self.horizon // self.stride)

    @property
    def grows(self) -> bool:
        """Whether further sessions bring further origins."""
        return self.first is None or self.origins is None

    def over(self, dates: Dates, *, label: str = "the data") -> Windows:
        """Cut the plan into windows, as it would be begun on these data.

        Parameters
        ----------
        dates : [N]
            Session dates of the series.
        label
            What to call the series in an error.

        Raises
        ------
        ConfigError
            When the plan does not fit into the series.
        """
        return self._cut(self._begun(dates, label))

    def issued(
        self,
        dates: Dates,
        *,
        cutoffs: Dates | None = None,
        grow: bool = True,
        label: str = "the data",
    ) -> Windows:
        """Every origin that can be forecast, those included whose outcome has not come.

        Parameters
        ----------
        dates : [N]
            Session dates of the series.
        cutoffs : [C], optional
            Last session seen at each origin that is recorded already; they stay where they are,
            and further ones follow at the stride. Left out, the plan is begun.
        grow
            Add the origins whose context exists by now.

        Raises
        ------
        ConfigError
            When the plan does not fit into the series, or a recorded cutoff is no session of it.
        """
        if cutoffs is None or not len(cutoffs):
            origin = self._begun(dates, label)
        else:
            reached = cutoffs[cutoffs <= dates[-1]]
            rows = np.searchsorted(dates, reached)
            gone = reached[dates[rows] != reached]
            if len(gone) or not len(reached):
                lost = gone[0] if len(gone) else cutoffs[0]
                raise ConfigError(
                    f"{label} has no session on {lost}, where an origin of this plan was recorded: "
                    "its sessions are others than those the store was begun with; use another "
                    "--store"
                )
            origin = rows.astype(np.int64) + 1  # of the first sessions not seen
        if grow and self.grows:
            more = np.arange(origin[-1] + self.stride, len(dates) + 1, self.stride, dtype=np.int64)
            origin = np.concatenate([origin, more])
        return self._cut(origin)

    def _cut(self, origin: Rows) -> Windows:
        """Windows at origins [W], with the origin of the fit that serves each."""
        place = np.arange(len(origin))
        fitted_at = origin[place // (self.refit or len(origin)) * (self.refit or 0)]
        return Windows(origin=origin, fitted_at=fitted_at, horizon=self.horizon, gap=self.gap)

    def _begun(self, dates: Dates, label: str) -> Rows:
        """Origins whose steps all exist, where no origin is recorded yet."""
        last = len(dates) - self.gap - self.horizon  # the last origin whose steps all exist
        first = self._first_row(dates, last, label)
        count = self.origins or (last - first) // self.stride + 1
        if first + (count - 1) * self.stride > last:
            fits = (last - first) // self.stride + 1
            raise ConfigError(
                f"[plan] origins = {count} does not fit {label}: from row {first} at stride "
                f"{self.stride} only {max(fits, 0)} windows of {self.horizon} steps exist"
            )
        return first + self.stride * np.arange(count, dtype=np.int64)

    def _first_row(self, dates: Dates, last: int, label: str) -> int:
        if isinstance(self.first, str):
            try:
                day = np.datetime64(date.fromisoformat(self.first))
            except ValueError:
                raise ConfigError(
                    f"[plan] first = '{self.first}': expected a date such as 2015-01-31 or a row "
                    "number"
                ) from None
            first = int(np.searchsorted(dates, day))
            if len(dates) and first == len(dates):
                raise ConfigError(f"[plan] first = '{self.first}': {label} ends on {dates[-1]}")
        elif self.first is not None:
            first = self.first if self.first >= 0 else len(dates) + self.first
        else:
            assert self.origins is not None
            first = last - (self.origins - 1) * self.stride
        least = self.validation + 2  # a fit needs something besides the validation span
        if self.first is None and first < least <= last:
            needed = least + last - first + self.gap + self.horizon
            raise ConfigError(
                f"[plan] {label} has {len(dates)} sessions; {self.origins} origins every "
                f"{self.stride}, a validation span of {self.validation} and 2 to fit on need "
                f"{needed}: ask for fewer origins or a shorter validation span"
            )
        if last < least or first > last:
            raise ConfigError(
                f"[plan] horizon {self.horizon} with gap {self.gap} and validation "
                f"{self.validation} does not fit {label}: it has {len(dates)} sessions, the first "
                f"origin would be row {first}, the last possible one is row {last}"
            )
        if first < least:
            raise ConfigError(
                f"[plan] the first origin of {label} is row {first}, but {least} sessions must "
                f"lie before it (validation {self.validation} and 2 to fit on); start later, ask "
                "for fewer origins or a shorter validation span"
            )
        return first


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One series up to an origin: what a learning arm is fitted on.

    The arrays end at the origin; nothing reachable from this object holds a later value.

    Attributes
    ----------
    dates, target, past : [T], [T], [T, C]
        As in `Series`, read-only.
    horizon
        Steps that will be asked for.
    validation
        Last sessions to keep out of training, for early stopping and calibration.
    """

    dates: Dates
    target: Array
    past: Array
    past_names: tuple[str, ...]
    weekmask: str
    season: int
    horizon: int
    validation: int

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """A batch of W contexts, each cut at its own origin.

    Where a history is shorter than T the front is padded: NaN in numbers, NaT in dates.

    Attributes
    ----------
    dates, target, past : [W, T], [W, T], [W, T, C]
        As in `Series`, read-only; the last column is the session before the origin.
    length : [W]
        Sessions that are not padding.
    horizon
        Steps H to forecast, counted from the origin.
    levels : [Q]
        Probability levels the harness scores on. An arm may answer on levels of its own.
    """

    dates: Dates
    target: Array
    past: Array
    past_names: tuple[str, ...]
    length: Rows
    weekmask: str
    season: int
    horizon: int
    levels: Array

    def __len__(self) -> int:
        return len(self.target)

    def part(self, rows: slice | Rows) -> Contexts:
        """Some of the windows."""
        return dataclasses.replace(
            self,
            dates=frozen(self.dates[rows]),
            target=frozen(self.target[rows]),
            past=frozen(self.past[rows]),
            length=frozen(self.length[rows]),
        )

    @property
    def last(self) -> Array:
        """The last value seen, [W]."""
        return self.target[:, -1]

    @property
    def future_dates(self) -> Dates:
        """The next H days the calendar opens on, [W, H].

        Made from the last date seen and the weekmask alone: real future sessions (an unplanned
        closure, say) are not known at the origin.
        """
        return np.busday_offset(
            self.dates[:, -1:], np.arange(1, self.horizon + 1), "backward", weekmask=self.weekmask
        )


def up_to(series: Series, stop: int) -> Series:
    """Copy the rows before `stop`."""
    return dataclasses.replace(
        series,
        dates=frozen(series.dates[:stop].copy()),
        target=frozen(series.target[:stop].copy()),
        past=frozen(series.past[:stop].copy()),
    )


def context_at(series: Series, origin: int, *, plan: RollingOrigin) -> Context:
    """Copy everything a fit at `origin` may see."""
    start = max(0, origin - plan.history) if plan.history else 0
    return Context(
        dates=frozen(series.dates[start:origin].copy()),
        target=frozen(series.target[start:origin].copy()),
        past=frozen(series.past[start:origin].copy()),
        past_names=series.past_names,
        weekmask=series.weekmask,
        season=series.season,
        horizon=plan.gap + plan.horizon,
        validation=plan.validation,
    )


def contexts_at(
    series: Series, origins: Rows, *, plan: RollingOrigin, length: int | None, levels: Array
) -> Contexts:
    """Copy what forecasts at `origins` may see.

    Parameters
    ----------
    series
        The whole series; only rows before each origin are copied.
    origins : [W]
    length
        Sessions the arm reads; None is as many as the plan allows.
    levels : [Q]
    """
    limit = min(int(origins.max()), plan.history or len(series))
    size = limit if length is None else min(length, limit)
    pad = max(0, size - int(origins.min()))
    return Contexts(
        dates=frozen(_tails(series.dates, origins, size, pad, np.datetime64("NaT"))),
        target=frozen(_tails(series.target, origins, size, pad, np.nan)),
        past=frozen(_tails(series.past, origins, size, pad, np.nan)),
        past_names=series.past_names,
        length=frozen(np.minimum(origins, size)),
        weekmask=series.weekmask,
        season=series.season,
        horizon=plan.gap + plan.horizon,
        levels=levels,
    )


def _tails(
    values: npt.NDArray[_Item], origins: Rows, size: int, pad: int, fill: Any
) -> npt.NDArray[_Item]:
    """Copy the `size` rows before each origin, [W, size, ...]."""
    if pad:
        front = np.full((pad, *values.shape[1:]), fill, dtype=values.dtype)
        values = np.concatenate([front, values[: origins.max()]])
    ending = np.lib.stride_tricks.sliding_window_view(values, size, axis=0)
    tails = ending[origins + pad - size]  # [W, size] or [W, C, size]; fancy indexing copies
    return tails if tails.ndim == 2 else np.ascontiguousarray(np.moveaxis(tails, -1, 1))


def frozen(values: npt.NDArray[_Item]) -> npt.NDArray[_Item]:
    """The same array, read-only from now on."""
    values.flags.writeable = False
    return values


MOST = 10_000_000
"""No count that a user states is larger: arrays of that many entries still fit in memory."""


def counted(settings: object, least: Mapping[str, int]) -> list[str]:
    """What is wrong with counts of some settings, given the least value of each; None is fine."""
    faults = []
    for name, lowest in least.items():
        value = getattr(settings, name)
        if value is not None and not lowest <= value <= MOST:
            wanted = f"at most {MOST:,}" if value > MOST else f"{lowest} or more"
            faults.append(f"{name} = {value}: expected {wanted}")
    return faults
