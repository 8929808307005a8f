import math

import numpy as np
import pytest

from harness.stats.spending import LEAST_LEVEL, levels, spent


def test_two_looks_have_the_published_levels() -> None:
    """Two equal looks at one-sided 5 % have the levels .0056 and .0482 of Lan and DeMets."""
    first, second = levels([0.5, 1.0], 0.05, "late")
    assert first == pytest.approx(0.0056, abs=1e-4)
    assert second == pytest.approx(0.0482, abs=2e-4)


def test_the_only_look_has_all_of_it() -> None:
    """A single look with all the information is the plain test."""
    assert levels([1.0], 0.05, "late")[0] == pytest.approx(0.05, abs=1e-9)


def test_a_history_that_is_nearly_all_leaves_little_for_later() -> None:
    """With 125 of 137 origins known, the first look has 4.02 of 5 per cent."""
    assert spent(125 / 137, 0.05, "late") == pytest.approx(0.0402, abs=1e-4)
    assert levels([125 / 137], 0.05, "late")[0] == pytest.approx(0.0402, abs=1e-4)


def test_what_is_too_small_for_a_look_is_left_for_the_next() -> None:
    """There is no look below the least level, nor without information, and nothing is lost."""
    found = levels([0.2, 0.2, 1.0], 0.05, "late")
    assert math.isnan(found[0])
    assert math.isnan(found[1])
    assert found[2] == pytest.approx(0.05, abs=1e-9)
    assert spent(0.2, 0.05, "late") < LEAST_LEVEL


def test_looks_after_the_last_origin_planned_have_nothing_to_spend() -> None:
    """Beyond the planned information nothing is left, however much comes."""
    assert math.isnan(levels([0.5, 1.0, 1.4], 0.05, "late")[2])


@pytest.mark.parametrize("spending", ["late", "today"])
def test_as_many_paths_cross_as_were_to(spending: str) -> None:
    """Of simulated paths without an effect, 5 % cross at any of thirteen looks."""
    taus = np.linspace(125, 137, 13) / 137
    bounds = levels(taus.tolist(), 0.05, "late" if spending == "late" else "today")
    from scipy.stats import norm

    steps = np.sqrt(np.diff(taus, prepend=0.0))
    walks = np.cumsum(np.random.default_rng(1).normal(size=(200_000, 13)) * steps, axis=1)
    p_values = norm.sf(walks / np.sqrt(taus))
    share = float((p_values < np.nan_to_num(bounds, nan=0.0)).any(axis=1).mean())
    assert share == pytest.approx(0.05, abs=0.002)


def test_a_look_at_next_to_nothing_is_none() -> None:
    """Where less may be spent than the farthest bound leaves, there is no look and no error."""
    found = levels([1 / 60, 1.0], 0.05, "late")

    assert np.isnan(found[0])
    assert found[1] == pytest.approx(0.05)
