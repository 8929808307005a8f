"""Whether timings took a step: one level up to a place, another from there on.

For timings alone: a step that is looked for in a rolling mean of losses is found nearly always,
because neighbouring means share most of their losses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.window import Array

LEAST = 5
"""Values on either side of a step."""
LEVEL = 0.005
SMALLEST = 1.2
"""Ratio of medians, either way, below which a step is not worth a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where a step lies, and the median after it over the one before it."""

    place: int
    ratio: float


def step_in(values: Array) -> Step | None:
    """The clearest step in values [n] in order of time; None where none is clear, or a median is 0.

    Rank sums before and after each place; the least p-value times the number of places decides.
    """
    from scipy.stats import mannwhitneyu

    places = range(LEAST, len(values) - LEAST + 1)
    tests = [mannwhitneyu(values[:at], values[at:], method="asymptotic").pvalue for at in places]
    if not tests or min(tests) * len(tests) > LEVEL:
        return None
    place = places[int(np.argmin(tests))]
    before, after = float(np.median(values[:place])), float(np.median(values[place:]))
    if min(before, after) <= 0 or max(before, after) < SMALLEST * min(before, after):
        return None
    return Step(place=place, ratio=after / before)
