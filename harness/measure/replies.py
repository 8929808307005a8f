"""What a measured process answers to each command; on its way an answer is a line of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """What the process's meter holds so far, by phase; see `harness.running.meter.Meter`.

    Attributes
    ----------
    no_peaks
        Why there are no peaks of memory; '' where there are.
    """

    seconds: Mapping[str, float]
    cpu_seconds: Mapping[str, float]
    peak_bytes: Mapping[str, int]
    start_bytes: Mapping[str, int]
    gpu_allocated: Mapping[str, int]
    gpu_reserved: Mapping[str, int]
    no_peaks: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedReply:
    """Bytes of the files that were read: weights, or the state a fit left."""

    stored_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A fit; `not_kept` says why its state could not be pickled, '' where it could."""

    phases: Phases
    epochs: int
    not_kept: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastCalls:
    """Seconds of each forecast of one window, and processor seconds of all."""

    seconds: tuple[float, ...]
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedPass:
    """Seconds of a pass over so many windows in batches."""

    phases: Phases
    span: float
    windows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatsReply:
    """Seconds of new inputs, and of the same numbers once more, in pairs."""

    fresh: tuple[float, ...]
    again: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Kilowatt hours of forecasting so many windows; None with a reason where none is known."""

    kwh: float | None = None
    windows: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorTime:
    """Processor seconds of the launcher and of the processes that have ended."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing to tell: it is done."""
