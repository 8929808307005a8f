"""Where an arm spends time and memory: a table of operators and a timeline."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from harness.running.meter import gpu_in_use, resident_bytes

_EVERY_S = 0.005
_ROWS = 40


def profiled(work: Callable[[], object], table: Path, memory: Path) -> None:
    """Carry out some work twice: once for the timeline, once under torch's profiler.

    Parameters
    ----------
    table
        Where the operators go, longest own time first; one line of reason without torch.
    memory
        Where the timeline goes, JSON: `seconds`, `resident_bytes` (null where the system does
        not tell) and, on a GPU, `gpu_bytes`.
    """
    memory.write_text(json.dumps(_timeline(work)), encoding="utf-8")
    table.write_text(_operators(work), encoding="utf-8")


def _timeline(work: Callable[[], object]) -> dict[str, list[float | None]]:
    rows: list[tuple[float, int | None, int | None]] = []
    done = threading.Event()
    start = time.perf_counter()

    def note() -> None:
        while True:
            gpu = gpu_in_use()
            used = None if gpu is None else int(gpu.memory_allocated())
            rows.append((time.perf_counter() - start, resident_bytes(), used))
            if done.wait(_EVERY_S):
                return

    watcher = threading.Thread(target=note, daemon=True)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    seconds, resident, gpu = zip(*rows, strict=True)
    return {"seconds": [*seconds], "resident_bytes": [*resident], "gpu_bytes": [*gpu]}


def _operators(work: Callable[[], object]) -> str:
    torch = sys.modules.get("torch")
    if torch is None:
        return "this arm does not use torch\n"
    kinds = torch.profiler.ProfilerActivity
    activities = [kinds.CPU] if gpu_in_use() is None else [kinds.CPU, kinds.CUDA]
    with torch.profiler.profile(
        activities=activities, profile_memory=True, record_shapes=True
    ) as found:
        work()
    by = "self_cpu_time_total" if len(activities) == 1 else "self_device_time_total"
    return str(found.key_averages().table(sort_by=by, row_limit=_ROWS))
