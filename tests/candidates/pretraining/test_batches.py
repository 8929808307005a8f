"""A batch is a function of recipe, seed and step."""

import pytest
import torch

from candidates.pretraining.mixture import Batches, scale_of, within_reach


def same(one, other):
    return torch.equal(torch.nan_to_num(one, nan=-1.0), torch.nan_to_num(other, nan=-1.0))


def test_a_batch_does_not_depend_on_those_before(tiny):
    """Asked for at once or after all before it, step 9 has the same series."""
    walked = Batches(recipe=tiny)
    for step in range(10):
        after = walked.at(step)

    at_once = Batches(recipe=tiny).at(9)

    assert same(after.context, at_once.context)
    assert torch.equal(after.target, at_once.target)


def test_steps_and_seeds_have_series_of_their_own(tiny, resized):
    """Within a pool, across pools and across seeds, batches differ."""
    batches = Batches(recipe=tiny)
    first = batches.at(0).target

    assert first.shape == (8, 24)
    assert first.dtype == torch.float32  # what a GPU is fast with
    assert not torch.equal(first, batches.at(1).target)
    assert not torch.equal(first, batches.at(4).target)
    assert not torch.equal(first, Batches(recipe=resized(seed=1)).at(0).target)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_contexts_are_shortened_at_their_share(resized, share):
    """The front is hidden, never the end, and at least 16 values are left."""
    batches = Batches(recipe=resized(shortened=share))

    hidden = [torch.isnan(batches.at(step).context) for step in range(20)]

    lengths = {int((~each[0]).sum()) for each in hidden}
    assert all(torch.equal(each[0], each[-1]) for each in hidden)
    assert not any(each[:, -16:].any() for each in hidden)
    assert all(16 <= length <= 64 for length in lengths)
    assert (len(lengths) > 5) == (share == 1.0)


def test_targets_stay_within_reach():
    """What lies beyond 30 deviations is cut; the rest is left as it is."""
    context = torch.tensor([[1.0, 3.0] * 20])
    target = torch.tensor([[5.0, 1e6, -1e6]])

    cut = within_reach(context, target)

    assert cut.tolist() == [[5.0, pytest.approx(32.0), pytest.approx(-28.0)]]


def test_scale_is_that_of_the_network(tiny):
    """Mean and deviation are what Chronos-Bolt normalises with, gaps and constants included."""
    from chronos.chronos_bolt import InstanceNorm

    context = torch.randn(4, 64).cumsum(1)
    context[0, :20] = float("nan")
    context[1] = 7.0

    _, (mean, deviation) = InstanceNorm()(context)

    ours = scale_of(context)
    assert torch.allclose(ours[0], mean)
    assert torch.allclose(ours[1], deviation)
