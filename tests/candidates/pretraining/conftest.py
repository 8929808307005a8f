"""A recipe small enough for tests."""

import dataclasses

import pytest
import torch

from candidates.pretraining.recipe import Network, PretrainingRecipe, TrainingPlan

TINY = PretrainingRecipe(
    network=Network(d_model=32, layers=1, context=64, steps=24, levels=(0.1, 0.5, 0.9)),
    training=TrainingPlan(steps=60, batch=8, pool=32, warmup=5, least=16, learning_rate=3e-3),
)


@pytest.fixture
def tiny():
    """One layer, 60 steps of 8 series."""
    return TINY


@pytest.fixture(scope="session")
def resized():
    """The tiny recipe with other training settings."""

    def change(**settings):
        return dataclasses.replace(TINY, training=dataclasses.replace(TINY.training, **settings))

    return change


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(1)
