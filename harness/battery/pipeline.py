"""What surrounds a network: which column is the truth, which epoch is kept: T32, T33."""

from __future__ import annotations

import math

import numpy as np

from harness.battery.nouns import Measured, NotApplicableError
from harness.battery.registry import predicate
from harness.battery.subject import Subject

NAMES = ("open", "high", "low", "close")
TARGET = "close"
LOSSES = (0.9, 0.5, math.nan, 0.7, math.nan)


@predicate(
    "T32",
    "the truth is the target's column, wherever it stands in the file",
    unit="columns away",
    needs="the hook `truth_column`",
)
def truth_is_target(subject: Subject) -> Measured:
    """Give a table whose target stands last and see which column comes back as truth."""
    if subject.hooks.truth_column is None:
        raise NotApplicableError(
            "a network has no data pipeline: ask the arm around it, or offer `truth_column`"
        )
    rows = np.arange(40, dtype=np.float64)
    table = np.stack([rows + 1000.0 * index for index in range(len(NAMES))], axis=1)
    found = np.asarray(subject.hooks.truth_column(table, NAMES, TARGET), dtype=np.float64).ravel()
    ends = found[: len(rows)]
    gaps = [float(np.abs(ends - column[: len(ends)]).max()) for column in table.T]
    nearest = int(np.argmin(gaps))
    if not gaps[nearest] <= 1e-6:  # NaN is no column either
        return Measured(value=math.inf, said="the truth is no column of the table")
    away = abs(NAMES.index(TARGET) - nearest)
    return Measured(value=away, said=f"target '{TARGET}', truth '{NAMES[nearest]}'")


@predicate(
    "T33",
    "a validation loss of NaN never becomes the best",
    unit="faults",
    needs="the hook `keep_best`",
)
def nan_is_never_best(subject: Subject) -> Measured:
    """Give validation losses with NaN among them, and only NaN."""
    keep = subject.hooks.keep_best
    if keep is None:
        raise NotApplicableError(
            "a network has no training loop: ask the arm around it, or offer `keep_best`"
        )
    kept, none = keep(LOSSES), keep((math.nan, math.nan))
    faults = []
    if kept != 1:
        faults.append(f"of {', '.join(map(str, LOSSES))} it keeps index {kept}")
    if none is not None:
        faults.append("of losses that are all NaN it keeps one")
    said = "; ".join(faults) or "the best finite loss is kept, and none where there is none"
    return Measured(value=len(faults), said=said)
