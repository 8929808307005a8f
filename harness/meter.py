"""Seconds and peak memory of the phases of one process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass(slots=True)
class Meter:
    """Adds up phases by name; a phase may come several times.

    Attributes
    ----------
    seconds
        Wall-clock seconds of each phase.
    peak_bytes
        Highest resident memory during each phase. Missing where the system does not tell: this
        reads the process's own high-water mark on Linux, which a child does not inherit from
        its parent the way `ru_maxrss` does.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what happens inside, also when it raises."""
        with suppress(OSError):
            _CLEAR.write_text("5", encoding="ascii")  # the high-water mark starts again
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
            peak = peak_bytes()
            if peak is not None:
                self.peak_bytes[name] = max(peak, self.peak_bytes.get(name, 0))


def peak_bytes() -> int | None:
    """High-water mark of this process's resident memory; None where there is no `/proc`."""
    with suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None
