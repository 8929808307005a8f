"""Seconds and peak memory of the phases of one process."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass(slots=True)
class Meter:
    """Adds up phases by name; a phase may come several times.

    Work on a GPU is waited for at the end of each phase.

    Attributes
    ----------
    seconds, cpu_seconds
        Wall-clock and processor seconds of each phase.
    peak_bytes
        Highest resident memory during each phase. Missing where the system does not tell: this
        reads the process's own high-water mark on Linux, which a child does not inherit from
        its parent the way `ru_maxrss` does, and which starts again with each phase.
    start_bytes
        Resident memory when the phase began (the first time), so that the peak less this is what
        the phase added.
    gpu_allocated, gpu_reserved
        Peaks of torch's CUDA allocator during each phase; missing where CUDA is not in use.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    start_bytes: dict[str, int] = field(default_factory=dict)
    gpu_allocated: dict[str, int] = field(default_factory=dict)
    gpu_reserved: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what happens inside, also when it raises."""
        if (gpu := gpu_in_use()) is not None:
            gpu.reset_peak_memory_stats()
        begun = None
        with suppress(OSError):  # high-water marks are not begun again everywhere
            _CLEAR.write_text("5", encoding="ascii")
            begun = resident_bytes()
        start, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            if (gpu := gpu_in_use()) is not None:
                gpu.synchronize()
            _add(self.seconds, name, time.perf_counter() - start)
            _add(self.cpu_seconds, name, time.process_time() - cpu)
            peak = peak_bytes()
            if begun is not None and peak is not None:
                self.start_bytes.setdefault(name, begun)
                _raise(self.peak_bytes, name, peak)
            if gpu is not None:
                _raise(self.gpu_allocated, name, int(gpu.max_memory_allocated()))
                _raise(self.gpu_reserved, name, int(gpu.max_memory_reserved()))


def peak_bytes() -> int | None:
    """High-water mark of this process's resident memory; None where there is no `/proc`."""
    return _status("VmHWM:")


def resident_bytes() -> int | None:
    """Resident memory of this process now; None where there is no `/proc`."""
    return _status("VmRSS:")


def why_no_peaks() -> str:
    """Why peaks of phases cannot be told on this system; empty where they can."""
    if not _STATUS.is_file():
        return "this system has no /proc/self/status"
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError as problem:
        return f"{_CLEAR} cannot be written here: {problem.strerror}"
    return ""


def _status(title: str) -> int | None:
    with suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith(title):
                return int(line.split()[1]) * 1024
    return None


def gpu_in_use() -> Any:
    """Torch's CUDA module when this process works on a GPU; None otherwise."""
    torch = sys.modules.get("torch")
    gpu = getattr(torch, "cuda", None)  # absent while torch is half imported
    return gpu if gpu is not None and gpu.is_initialized() else None


def _add(totals: dict[str, float], name: str, value: float) -> None:
    totals[name] = totals.get(name, 0.0) + value


def _raise(peaks: dict[str, int], name: str, value: int) -> None:
    peaks[name] = max(value, peaks.get(name, 0))
