"""Small Chronos checkpoints for the battery, of random weights and schooled for seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "candidates"))

import toy_chronos  # it lies beside the tests of the replacement

Made = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def random_weights(made_once: Made) -> Callable[[str], str]:
    """The folder of a kind; the bundled checkpoint is its own."""
    kinds = {"t5": toy_chronos.t5, "bolt": toy_chronos.bolt, "chronos2": toy_chronos.chronos2}
    return lambda kind: str(made_once(kind, kinds[kind])) if kind in kinds else kind


@pytest.fixture(scope="session")
def schooled(made_once: Made) -> Callable[[str], str]:
    """The folder of a kind, schooled on the series of the pretraining recipe for seconds.

    Chronos-2 is as it was made: of random weights, it passes all that is asked of a schooled one.
    """
    kinds = {
        "t5": ("schooled-t5", toy_chronos.schooled_t5),
        "bolt": ("schooled-bolt", toy_chronos.schooled_bolt),
        "chronos2": ("chronos2", toy_chronos.chronos2),
    }
    return lambda kind: str(made_once(*kinds[kind])) if kind in kinds else kind
