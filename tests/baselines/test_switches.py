"""Which repairs a network reads, told by watching it."""

import pytest
import torch

from baselines import build
from baselines.networks.build import NETWORKS
from baselines.networks.config import Repairs
from baselines.switches import read_by, unread

CONFIG = {
    "seq_len": 16,
    "label_len": 8,
    "pred_len": 4,
    "enc_in": 2,
    "dec_in": 2,
    "c_out": 2,
    "d_model": 8,
    "n_heads": 2,
    "d_ff": 8,
    "moving_avg": 5,
}


@pytest.mark.slow
def test_every_switch_is_read_by_some_network():
    """No repair is left that nothing reads, so that a note about one is about its network."""
    assert frozenset().union(*map(read_by, NETWORKS)) == frozenset(Repairs.names())


@pytest.mark.parametrize(
    ("name", "read", "not_read"),
    [
        ("Autoformer", "newest_keys", "aligned_history"),
        ("EnhancedAutoformer", "aligned_history", "per_sample_lags"),
        ("BayesianEnhancedAutoformer", "clean_outputs", "all_bands"),
        ("HierarchicalEnhancedAutoformer", "all_bands", "mean_in_eval"),
        ("QuantileBayesianAutoformer", "outermost_bounds", "per_sample_lags"),
    ],
)
def test_switches_that_are_not_read_are_told(name, read, not_read):
    """Of the switches given, those without an effect on the network are named."""
    given = {read: True, not_read: True, "repaired": False}

    assert unread(name, given) == (not_read,)


@pytest.mark.parametrize("name", ["Autoformer", "EnhancedAutoformer"])
def test_switch_that_is_not_read_changes_nothing(name):
    """Two networks that differ in such switches alone are the same, weights and forecast."""
    ignored = {each: True for each in Repairs.names() if each not in read_by(name)}
    made = []
    for options in ({}, ignored):
        torch.manual_seed(3)
        made.append(build(name, CONFIG, **options).eval())
    x, marks = torch.randn(2, 20, 2), torch.zeros(2, 20, 4)
    inputs = (x[:, :16], marks[:, :16], x[:, 8:], marks[:, 8:])

    first, second = (network(*inputs) for network in made)

    assert list(made[0].state_dict()) == list(made[1].state_dict())
    assert torch.equal(first, second)


def test_watching_leaves_the_global_generator_alone():
    """Asking draws nothing that a later draw would miss."""
    before = torch.get_rng_state()
    read_by.cache_clear()
    unread("Autoformer", {"all_bands": True})

    assert torch.equal(torch.get_rng_state(), before)
