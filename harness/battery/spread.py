"""Uncertainty calls: T15, T16, T17, T20."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from harness.answers import central_intervals
from harness.battery.nouns import Measured, NotApplicableError, worst
from harness.battery.parts import (
    levels_of,
    offers_uncertainty,
    take_its_word,
    tensors_in,
    training_loss,
    uncertain,
)
from harness.battery.probe import make_batch, quiet, tensor_of
from harness.battery.registry import predicate
from harness.battery.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

CALL = "an uncertainty call"
SHARES = (0.68, 0.95, 0.99)
TRAIN_STEPS, TRAIN_RATE, TRAIN_BATCH, HELD_OUT = 100, 1e-2, 16, 64
FEW, MANY = 2, 8
STEPS = (0.1, 0.03, 0.01, 0.003, 0.001)  # along the unit gradient


@predicate(
    "T15",
    "an uncertainty call under no_grad stores nothing for a gradient",
    unit="stored tensors",
    needs=CALL,
)
def stores_nothing(subject: Subject) -> Measured:
    """Count the tensors kept for a backward pass, for few and for many passes."""
    import torch

    model, batch = subject.build().eval(), make_batch(subject.sizes, 2)
    counts, sizes = dict[str, float](), list[int]()

    def pack(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    for passes in (FEW, MANY):
        sizes.clear()
        with _passes(model, passes), torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            with torch.no_grad():
                uncertain(subject, model, batch)
            counts[f"stored at n = {passes}"] = len(sizes)
    said = f"{len(sizes)} tensors, {sum(sizes) / 1e6:.2g} MB, for a batch of 2"
    return Measured(value=max(counts.values()), said=said, more=counts)


@predicate(
    "T16",
    "an uncertainty call in eval returns no tensor with a graph",
    unit="tensors",
    needs=CALL,
)
def returns_no_graph(subject: Subject) -> Measured:
    """Look at every tensor of the report."""
    import torch

    model, batch = subject.build().eval(), make_batch(subject.sizes, 2)
    with torch.enable_grad():
        report = uncertain(subject, model, batch)
    bound = [name for name, tensor in tensors_in(report) if tensor.requires_grad]
    said = f"with a graph: {', '.join(bound[:4])}" if bound else "every tensor is free of a graph"
    return Measured(value=len(bound), said=said)


@predicate(
    "T17",
    "the gradient through the mean is that of all passes",
    threshold=0.1,
    unit="of it missing",
    needs=CALL,
)
def gradient_is_whole(subject: Subject) -> Measured:
    """Compare it with the finite difference of the mean along itself, under the same draws.

    Of several steps the one that agrees best counts: wide ones see curvature, narrow ones rounding.
    Under the same draws a mean of drawn tokens jumps where a weight changes a draw.
    """
    import torch

    model, batch = quiet(subject).train(), make_batch(subject.sizes, 2)
    take_its_word(model, "draws_tokens")
    parameters = [p for p in model.parameters() if p.requires_grad]

    def mean_path() -> Tensor:
        torch.manual_seed(5)
        return tensor_of(uncertain(subject, model, batch)).double().mean()

    with _passes(model, MANY), torch.enable_grad():
        mean = mean_path()
        if not mean.requires_grad:
            return Measured(value=1.0, said="the mean passes no gradient at all")
        found = torch.autograd.grad(mean, parameters, allow_unused=True)
        pairs = [(p, g) for p, g in zip(parameters, found, strict=True) if g is not None]
        norm = math.sqrt(sum(float(g.double().square().sum()) for _, g in pairs))
        slopes = [_slope(mean_path, pairs, norm, step) for step in STEPS]
    ratios = [norm / slope for slope in slopes if slope and math.isfinite(slope)]
    ratio = min(ratios, key=lambda r: abs(r - 1), default=math.nan)
    said = f"gradient norm over the slope it should be, {MANY} passes: {ratio:.3f}"
    return Measured(value=abs(1.0 - ratio), said=said, more={"ratio": ratio})


def _slope(mean_path: Any, pairs: list[tuple[Any, Any]], norm: float, step: float) -> float:
    """Central difference of the mean along the unit gradient."""
    import torch

    ends: list[float] = []
    with torch.no_grad():
        for sign in (1.0, -2.0, 1.0):  # forth, back, and home
            for parameter, gradient in pairs:
                parameter.add_(gradient, alpha=sign * step / max(norm, 1e-30))
            if sign != 1.0 or not ends:
                ends.append(float(mean_path()))
    return (ends[0] - ends[1]) / (2 * step)


class _passes:  # noqa: N801  # used as a verb
    """Sets the number of passes of an uncertainty call, where the network has one."""

    def __init__(self, model: Any, count: int) -> None:
        self.model, self.count = model, count
        self.before = getattr(model, "n_samples", None)

    def __enter__(self) -> None:
        if self.before is not None:
            self.model.n_samples = self.count

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            self.model.n_samples = self.before


@predicate(
    "T20",
    "intervals are nested and cover what they say on held-out data",
    threshold=3.0,
    unit="standard errors",
    needs="confidence intervals",
)
def intervals_cover(subject: Subject) -> Measured:
    """Train briefly on waves with noise, then count the truths inside each interval."""
    import torch

    model = subject.build()
    if not offers_uncertainty(subject, model):
        raise NotApplicableError("it has no uncertainty call")
    if levels_of(subject, model):
        raise NotApplicableError("in quantile mode its intervals are of each quantile")
    _train(subject, model)
    batch = make_batch(subject.sizes, HELD_OUT, seed=10_000)
    torch.manual_seed(0)
    with torch.no_grad():
        report = uncertain(subject, model.eval(), batch)
    bands = central_intervals(report)
    if not set(SHARES) <= bands.keys():
        raise NotApplicableError("its report has no 68, 95 and 99 % intervals")
    return _covered({share: bands[share] for share in SHARES}, batch.truth)


def _train(subject: Subject, model: Any) -> None:
    import torch

    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=TRAIN_RATE)
    model.train()
    for step in range(TRAIN_STEPS):
        batch = make_batch(subject.sizes, TRAIN_BATCH, seed=step)
        optimizer.zero_grad()
        output = tensor_of(model(*batch.inputs))
        training_loss(subject, model, output, batch.truth).backward()
        optimizer.step()


def _covered(bands: Mapping[float, tuple[Tensor, Tensor]], truth: Tensor) -> Measured:
    """Distance of each coverage from its level, in binomial errors of as many windows."""
    found, errors = dict[str, float](), list[float]()
    lows, highs = zip(*bands.values(), strict=True)
    edges = [*reversed(lows), *highs]  # in the order their values must have
    nested = all(bool((b >= a - 1e-6).all()) for a, b in pairwise(edges))
    for level, (low, high) in bands.items():
        covered = float(((low <= truth) & (truth <= high)).float().mean())
        found[f"{100 * level:.0f}%"] = covered
        errors.append(abs(covered - level) / math.sqrt(level * (1 - level) / len(truth)))
    said = "68/95/99 % cover " + "/".join(f"{100 * share:.1f}" for share in found.values())
    if not nested:
        return Measured(value=math.inf, said=f"not nested; {said}", more=found)
    return Measured(value=worst(errors), said=said, more=found)
