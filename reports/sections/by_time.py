"""How the difference between the two sides grew over time, with what chance alone would do."""

from __future__ import annotations

import numpy as np

from harness.evidence.pairing import Pair, PairingError, filled, pair
from harness.stats.longrun import choose_lag, long_run_covariance
from harness.window import Array
from reports.charts import band_chart
from reports.page_input import PageInput
from reports.tables import Chart, Table, columns, text
from reports.words import numbers

_METRIC = "crps"
_TABLE_ROWS = 60


def time_view(page: PageInput, dataset: str, *, name: str) -> Chart | None:
    """Draw the cumulative loss difference of a dataset; None where the sides cannot be paired."""
    both = _pair(page, dataset)
    if both is None or len(both.origin) < 2:
        return None
    difference = 100 * (both.candidate.mean(axis=0) - both.legacy.mean(axis=0))
    if not np.isfinite(difference).all():
        return None
    path, band = np.cumsum(difference), _band(difference, both.overlap)
    spans = _spans(page, dataset)
    return Chart(
        title=f"{page.verdict.candidate} less {page.verdict.legacy}, added up",
        caption="CRPS as a share of the last value seen, candidate less legacy, added up over the "
        "origins: falling is a gain for the candidate. Grey: where 95 % of paths of equal arms "
        "lie at each date." + (" Shaded: shown to differ there (fluctuation test)." * bool(spans)),
        svg=band_chart(
            both.origin_date,
            path,
            band,
            spans=spans,
            unit="points of the last value",
            name=name,
            alt=f"The difference on {dataset} adds up to {_points(path[-1])} points from "
            f"{both.origin_date[0]} to {both.origin_date[-1]}; equal arms would end within "
            f"{_points(band[-1])} points of 0 in 95 % of cases.",
        ),
        table=_table(both, difference, path, band),
    )


def _pair(page: PageInput, dataset: str) -> Pair | None:
    sides = [page.scores_of(arm, dataset) for arm in (page.verdict.candidate, page.verdict.legacy)]
    try:
        return filled(pair(sides[0], sides[1], _METRIC))
    except PairingError:
        return None


def _band(difference: Array, overlap: int) -> Array:
    """Half-width at each origin: 1.96 times the root of its number times the long-run variance."""
    lag = choose_lag(difference, overlap)
    spread = float(long_run_covariance(difference[None], lag)[0, 0])
    half: Array = 1.96 * np.sqrt(np.arange(1, len(difference) + 1) * spread)
    return half


def _spans(page: PageInput, dataset: str) -> list[tuple[str, str]]:
    found = page.verdict.diagnostics
    tests = [] if found is None else found.fluctuations
    return [
        (span.first, span.last)
        for test in tests
        if (test.dataset, test.metric) == (dataset, _METRIC)
        for span in test.spans
    ]


def _points(value: float) -> str:
    return numbers.number(float(value))


def _table(both: Pair, difference: Array, path: Array, band: Array) -> Table:
    """Every origin, or evenly spread ones where there are many."""
    count = len(path)
    step = -(-count // _TABLE_ROWS)
    rows = [place for place in range(count) if (count - 1 - place) % step == 0]
    return Table(
        caption="The difference over time, in points of the last value seen"
        + (f", every {step} origins" if step > 1 else ""),
        columns=columns("Origin", "difference", "added up", "band"),
        rows=tuple(
            (
                text(str(both.origin_date[place])),
                text(_points(difference[place])),
                text(_points(path[place])),
                text(f"\u00b1 {_points(band[place])}"),
            )
            for place in rows
        ),
    )
