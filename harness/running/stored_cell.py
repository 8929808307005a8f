"""What the store holds of a cell: nouns alone, for those who read stored cells and run nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.forecast import Forecast
from harness.window import Dates, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class FitFacts:
    """What is recorded of a fit of an arm that learns; `origin` is the first row it did not see."""

    origin: int
    epochs: int
    best_epoch: int | None
    diverged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRecord:
    """What is recorded of a cell's judged origins besides the forecasts.

    Attributes
    ----------
    form, levels
        How the distribution is given.
    residual_distribution
        The harness put it around the arm's point path.
    failed, first_reason
        Origins the arm itself has no forecast for, and why for the first.
    answered_by_fallback
        Those its fallback answered.
    fits
        Of an arm that learns.
    card
        What the arm says of itself.
    seconds, peak_bytes
        By phase: added up, and the highest.
    machine
        Where the last part was made.
    devices
        What the arm computed on, where it says.
    digest
        Of every origin's forecast.
    """

    windows: int
    form: str
    levels: tuple[float, ...]
    residual_distribution: bool
    failed: int
    first_reason: str
    answered_by_fallback: int
    fits: tuple[FitFacts, ...]
    card: Mapping[str, str]
    seconds: Mapping[str, float]
    peak_bytes: Mapping[str, int]
    machine: Mapping[str, str]
    devices: tuple[str, ...]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCell:
    """What is stored of a cell's judged origins.

    Attributes
    ----------
    origin : [W]
    last_date : [W]
        Date of the last session seen.
    reason
        W texts, empty where the window has a forecast.
    forecast
        NaN in failed windows; its `fallback` says which windows the arm's fallback answered.
    issued_at
        W times (UTC, ISO): when each was made.
    prospective
        W flags: issued before the first judged session.
    """

    record: CellRecord
    origin: Rows
    last_date: Dates
    reason: tuple[str, ...]
    forecast: Forecast
    issued_at: tuple[str, ...] = ()
    prospective: tuple[bool, ...] = ()
