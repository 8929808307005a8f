"""Rank correlation of width and error: an interval that knows of overlap and autocorrelation."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import spearmanr
from scores_for_tests import table_of

from harness.claims import ClaimEvidence
from harness.claims.by_scores import rank_correlation, spread_follows_error
from harness.scoring.scores import UnitScores


def series_of(count: int, overlap: int, rho: float, draw: np.random.Generator) -> np.ndarray:
    """Sums over the overlap of a first-order autoregression, [count]."""
    levels = lfilter([1.0], [1.0, -rho], draw.normal(size=count + overlap + 99))[100:]
    return np.convolve(levels, np.ones(overlap), "valid")[:count]


def unit_of(width: np.ndarray, error: np.ndarray, stride: int = 4) -> UnitScores:
    """Scores [W, 4] of intervals and errors, last close 100."""
    values = {"width_80": width, "absolute_error": error}
    cells = {name: np.repeat(each[:, None], 4, axis=1) for name, each in values.items()}
    return table_of(cells, dataset="A", stride=stride)


def answer_on(*units: UnitScores):
    """What the requirement says to a candidate's scores."""
    found = ClaimEvidence(
        experiment="tiny",
        store="runs",
        baseline="old",
        candidate="new",
        datasets=("A",),
        scores=tuple(units),
    )
    return spread_follows_error().ask(found)


def test_value_is_spearmans() -> None:
    """The coefficient is that of scipy, and lies inside its interval."""
    one, other = np.random.default_rng(1).normal(size=(2, 80))

    low, value, high = rank_correlation(np.stack([one, one + other]), 1)

    assert value == pytest.approx(spearmanr(one, one + other).statistic)
    assert -1 < low < value < high < 1


@pytest.mark.slow
@pytest.mark.parametrize(("count", "overlap", "rho"), [(48, 1, 0.8), (100, 4, 0.3)])
def test_unrelated_series_are_seldom_called_related(count: int, overlap: int, rho: float) -> None:
    """Of unrelated pairs whose neighbours are alike at most 8 % leave 0 out; 5 % are meant."""
    draw, wrong = np.random.default_rng(2), 0
    for _ in range(600):
        pairs = np.stack([series_of(count, overlap, rho, draw) for _ in range(2)])
        low, _, high = rank_correlation(pairs, overlap)
        wrong += low > 0 or high < 0

    assert wrong / 600 <= 0.08


def test_width_that_follows_the_error_is_shown_under_overlap() -> None:
    """Wider intervals on origins with larger errors hold the requirement, others refute it."""
    draw = np.random.default_rng(3)
    calm = np.exp(series_of(200, 2, 0.5, draw) / 2)
    error = calm * np.abs(draw.normal(size=200))

    assert answer_on(unit_of(calm, error, stride=2)).holds is True
    assert answer_on(unit_of(1 / calm, error, stride=2)).holds is False


@pytest.mark.parametrize(
    ("width", "said"),
    [(np.ones(60), "60 origins apart, with failed windows or one width"), (None, "too few")],
)
def test_what_has_no_interval_says_why(width: np.ndarray | None, said: str) -> None:
    """One width everywhere has no ranks; fewer than twenty origins apart say nothing."""
    draw = np.random.default_rng(4)
    wide = draw.uniform(1, 2, size=15) if width is None else width

    found = answer_on(unit_of(wide, draw.uniform(size=len(wide))))

    assert found.holds is None
    assert found.measured[0].said.endswith(said)
    assert found.measured[0].value is None
