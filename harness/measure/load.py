"""How busy others keep this machine while something is timed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from harness.reasons import Reason, ReasonCode, reason
from harness.running.identity import allowed_cores

_SAMPLE_S = 1.0
_SHARE = 0.05
_FLOOR_CORES = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Processor seconds spent on the cores this process may use, up to a moment."""

    at: float
    used: float
    stolen: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What others did in a span.

    Attributes
    ----------
    others
        Cores that other processes kept busy, on average.
    stolen
        Cores that the machine's host took away, on average.
    average
        Load average over a minute at the end, as the system tells it; None where it does not.
    """

    others: float
    stolen: float
    average: float | None

    def problem(self, when: str) -> Reason | None:
        """Why this is too much for timings; None where it is not.

        Parameters
        ----------
        when
            ``before``, ``while`` or ``after`` something was timed; ``now`` where nothing is yet.
        """
        cores = allowed_cores()
        most = max(_FLOOR_CORES, _SHARE * cores)
        if self.others > most:
            return reason(
                ReasonCode.MACHINE_BUSY, when=when, others=self.others, cores=cores, most=most
            )
        if self.stolen > most:
            return reason(ReasonCode.HOST_BUSY, when=when, taken=self.stolen)
        return None


def busy_now() -> Busy:
    """Read the counters of the cores this process may use."""
    import psutil

    allowed = getattr(os, "sched_getaffinity", lambda whose: ())(0)
    times = psutil.cpu_times(percpu=True)
    times = [each for core, each in enumerate(times) if core in allowed] or times
    stolen = sum(getattr(each, "steal", 0.0) for each in times)
    idle = ("idle", "iowait", "steal", "guest", "guest_nice")  # guest is in user already
    used = sum(
        value for each in times for name, value in each._asdict().items() if name not in idle
    )
    return Busy(at=time.monotonic(), used=used, stolen=stolen)


def load_between(first: Busy, last: Busy, *, own: float = 0.0) -> Load:
    """What others did between two readings, where `own` processor seconds were ours."""
    span = max(last.at - first.at, 1e-9)
    return Load(
        others=max(0.0, last.used - first.used - own) / span,
        stolen=max(0.0, last.stolen - first.stolen) / span,
        average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def sample_load() -> Load:
    """Watch for a second, doing nothing."""
    first = busy_now()
    time.sleep(_SAMPLE_S)
    return load_between(first, busy_now())
