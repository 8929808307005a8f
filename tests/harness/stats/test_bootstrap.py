"""The bootstrap's skewness: what may be noise leaves a symmetric law."""

import numpy as np
import pytest

from harness.stats.bootstrap import shrunk

BLOCKS = 24


@pytest.mark.parametrize(
    ("skewness", "lean"),
    [(0.49, 0.0), (0.5, 0.0), (1.0, 0.75 / 24**0.5), (-1.0, -0.75 / 24**0.5)],
)
def test_skewness_is_shrunk_by_the_variance_of_its_noise(skewness: float, lean: float) -> None:
    """That is 6 over the number of blocks: of 24, a skewness of 1/2 is noise, of 1 a quarter."""
    assert float(shrunk(np.array(skewness), BLOCKS)) == pytest.approx(lean, abs=1e-12)


def test_skewness_beyond_its_noise_leans() -> None:
    """Just above one half the law begins to lean, to the side of the skewness."""
    assert 0 < float(shrunk(np.array(0.51), BLOCKS)) < 0.01
