"""Small Chronos checkpoints, each made once for all workers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

import toy_chronos  # a neighbour

Made = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def tiny_t5(made_once: Made) -> Path:
    """A Chronos-T5."""
    return made_once("t5", toy_chronos.t5)


@pytest.fixture(scope="session")
def tiny_bolt(made_once: Made) -> Path:
    """A Chronos-Bolt that stops at the levels 0.1 and 0.9, as the published ones do."""
    return made_once("bolt", toy_chronos.bolt)


@pytest.fixture(scope="session")
def tiny_chronos2(made_once: Made) -> Path:
    """A Chronos-2 that stops at the levels 0.05 and 0.95."""
    return made_once("chronos2", toy_chronos.chronos2)


@pytest.fixture(scope="session")
def tiny(tiny_t5: Path, tiny_bolt: Path, tiny_chronos2: Path) -> dict[str, str]:
    """The folder of each kind."""
    return {"t5": str(tiny_t5), "bolt": str(tiny_bolt), "chronos2": str(tiny_chronos2)}
