"""Holm's rule against statsmodels and by hand."""

import warnings

import numpy as np
import pytest

from harness.stats.ability import holm


def test_holm_by_hand() -> None:
    """The smallest is multiplied by m, the next by m - 1, and none falls below one before it."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx((0.06, 0.03, 0.06))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


@pytest.mark.slow
def test_holm_is_that_of_statsmodels() -> None:
    """Adjusted p-values agree with statsmodels' on any number of claims."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other library's imports, not ours
        from statsmodels.stats.multitest import multipletests
    draw = np.random.default_rng(1)

    for count in (1, 2, 7, 40):
        p_values = (draw.uniform(size=count) ** 3).tolist()

        theirs = multipletests(p_values, method="holm")[1]

        assert np.allclose(theirs, holm(p_values), rtol=1e-12)
