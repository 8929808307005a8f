"""A page of the size of `nightly`: 84 units, 250 origins, two datasets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from reports.forms.html import render_html
from reports.forms.markdown import LIMIT, render_markdown

SEEDS = (1, 2, 3, 4, 5)
ARMS = {
    "random-walk": ("reference", (1,), 1.0),
    "volatility-walk": ("reference", (1,), 0.99),
    "random-walk-drift": ("reference", (1,), 1.01),
    "seasonal-naive": ("reference", (1,), 1.1),
    "autoformer": ("legacy", SEEDS, 1.35),
    "EnhancedAutoformer": ("legacy", SEEDS, 1.3),
    "BayesianEnhancedAutoformer": ("legacy", SEEDS, 1.32),
    "HierarchicalEnhancedAutoformer": ("legacy", SEEDS, 1.28),
    "QuantileBayesianAutoformer": ("legacy", SEEDS, 1.25),
    "autoformer-repaired": ("legacy", SEEDS, 1.18),
    "chronos-96": ("candidate", (1,), 1.02),
    "chronos-512": ("candidate", (1,), 0.97),
    "chronos-conformal": ("candidate", (1,), 0.98),
    "chronos-finetuned": ("candidate", SEEDS, 0.96),
}


@pytest.mark.slow
def test_the_page_of_nightly_is_small(make_page: Any, made_series: Any) -> None:
    """At most 1 MiB, and a Markdown page within its limit."""
    maker: Callable[..., Any] = dataclasses.replace(make_page, horizon=24, origins=250, stride=12)
    series = {name: made_series(5500, seed=at) for at, name in enumerate(("ALPHA", "BETA"))}
    page = maker(series=series, arms=ARMS)

    html = render_html(page)

    assert len(html.encode()) <= 1 << 20
    assert len(render_markdown(page)) < LIMIT
