"""Slices: parts of what was judged, candidate against legacy, and the weakest of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.evidence.estimand import MeanLoss, Question
from harness.evidence.estimates import by_test
from harness.evidence.pairing import PairingError, filled, pair
from harness.scoring.metrics import AGGREGATES
from harness.scoring.scores import UnitScores, in_time_order, non_overlapping
from harness.scoring.subsets import LEAST, Slice, slices_of
from harness.stats.longrun import FEW
from reports.charts import Dot, dot_chart
from reports.page_input import PageInput
from reports.section import Chart, Table, columns, text
from reports.words import numbers

METRIC = "crps"


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceEffect:
    """CRPS of the candidate over that of a legacy arm, less 1, on one part.

    Attributes
    ----------
    effect, low, high
        With its two-sided interval by the autocorrelation-robust t test, which is not joined
        over the parts: a description, no test. None where there are too few non-overlapping
        windows.
    """

    dataset: str
    legacy: str
    name: str
    title: str
    windows: int
    effect: float | None
    low: float | None
    high: float | None

    @property
    def shown(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@lru_cache(maxsize=32)
def slice_effects(page: PageInput, dataset: str, legacy: str) -> tuple[SliceEffect, ...]:
    """All parts of a dataset; empty where the sides cannot be paired."""
    ours = [in_time_order(unit) for unit in page.scores_of(page.verdict.candidate, dataset)]
    theirs = [in_time_order(unit) for unit in page.scores_of(legacy, dataset)]
    if not ours or not theirs or any(METRIC not in unit.values for unit in (*ours, *theirs)):
        return ()
    whole = Slice(name="all", title="everything")
    return tuple(
        found
        for part in (whole, *slices_of(ours[0].truth))
        if (found := _effect(ours, theirs, part)) is not None
    )


def _effect(
    ours: Sequence[UnitScores], theirs: Sequence[UnitScores], part: Slice
) -> SliceEffect | None:
    try:
        cut = [[unit.at(part.rows, part.columns) for unit in side] for side in (ours, theirs)]
        picked = len(cut[0][0]) < len(ours[0])
        both = filled(pair(cut[0], cut[1], METRIC, part=picked))
    except PairingError:
        return None
    count = len(both.origin)
    apart = len(non_overlapping(both.origin, both.reach))
    effect = low = high = None
    known = np.isfinite(both.candidate).all() and np.isfinite(both.legacy).all()
    if apart >= LEAST and bool(known):
        loss = MeanLoss(metric=METRIC)
        found = loss.ratio_of(loss.sides(both))
        estimate = by_test("hac", found, Question(estimand=loss, bound_high=0.0))
        effect = loss.effect(found.excess) if np.isfinite(found.excess) else None
        low, high = estimate.low, estimate.high
        low = None if low is None else max(low, -1.0)  # no loss falls by more than all of it
    return SliceEffect(
        dataset=both.names[2],
        legacy=both.names[1],
        name=part.name,
        title=part.title,
        windows=count,
        effect=effect,
        low=low,
        high=high,
    )


def worst_slice(page: PageInput, legacy: str) -> SliceEffect | None:
    """The part on which the candidate does worst against a legacy arm."""
    known = [
        each
        for name in page.dataset_names
        for each in slice_effects(page, name, legacy)
        if each.effect is not None and each.name != "all"
    ]
    return max(known, key=lambda each: each.effect or 0.0, default=None)


def slice_view(page: PageInput, dataset: str, *, name: str) -> Chart | None:
    """Draw the effect on every part of a dataset; None where nothing can be paired."""
    found = slice_effects(page, dataset, page.verdict.legacy)
    drawn = [each for each in found if each.effect is not None]
    if not drawn:
        return None
    worst = max(drawn, key=lambda each: each.effect or 0.0)
    return Chart(
        title=f"{page.verdict.candidate} against {page.verdict.legacy} by slice",
        caption=f"{AGGREGATES[METRIC].title} divided by the legacy arm's, less 1: left of 0 the "
        "candidate is better. Lines: 95 % each, not joined over the slices; hollow: no interval.",
        svg=dot_chart(
            [_dot(each) for each in drawn],
            unit="%",
            zero="equal",
            name=name,
            alt=f"Effect on {dataset} by slice. The worst is {worst.title}: "
            f"{numbers.effect('share', worst.effect)}.",
        ),
        table=_table(found, dataset),
    )


def _dot(each: SliceEffect) -> Dot:
    ends = [None if end is None else 100 * end for end in (each.low, each.high)]
    return Dot(
        label=each.title.partition(" (")[0].replace("worst drawdown, ", "drawdown "),
        value=100 * (each.effect or 0.0),
        low=ends[0],
        high=ends[1],
        hollow=True,
    )


def _table(found: Sequence[SliceEffect], dataset: str) -> Table:
    return Table(
        caption=f"CRPS by slice on {dataset}, candidate against legacy",
        columns=columns("Slice", "windows", "effect", "95 % interval"),
        rows=tuple(
            (
                text(each.title),
                text(f"{each.windows:,}"),
                text("too few" if each.effect is None else numbers.effect("share", each.effect)),
                text(numbers.effects("share", each.low, each.high)),
            )
            for each in found
        ),
        note=f"Fewer than {LEAST} non-overlapping windows are too few. A slice of fewer than {FEW} "
        "windows has Student's t at the lag of their overlap. Everything but the step is known at "
        "the origin: no slice is picked by its outcome.",
    )
