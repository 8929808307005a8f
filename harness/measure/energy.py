"""Energy of some work, where codecarbon is installed. Shown, never judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def energy_of(once: Callable[[], int], *, seconds: float) -> dict[str, Any]:
    """Repeat work for some seconds and ask codecarbon what it took.

    Parameters
    ----------
    once
        Forecasts some windows and says how many.

    Returns
    -------
    dict
        `kwh` and `windows`, or `reason` where there is no figure. On machines without power
        counters codecarbon estimates from the processor's rated power.
    """
    try:
        from codecarbon import OfflineEmissionsTracker
    except ImportError:
        return {"reason": "codecarbon is not installed; the extra `energy` brings it"}
    tracker = OfflineEmissionsTracker(
        country_iso_code="USA",  # for emissions, which are not read
        save_to_file=False,
        log_level="error",
        tracking_mode="process",
        allow_multiple_runs=True,
    )
    tracker.start()
    windows, end = 0, time.monotonic() + seconds
    while not windows or time.monotonic() < end:
        windows += once()
    tracker.stop()
    found = getattr(tracker, "final_emissions_data", None)
    if found is None:  # codecarbon logs what goes wrong in it and goes on
        return {"reason": "codecarbon gave no figure; it said why in its log"}
    return {"kwh": float(found.energy_consumed), "windows": windows}
