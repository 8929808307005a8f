"""Uncertainty calls, KL terms and quantiles: T15 to T17, T20, T22 to T25."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from harness.checks.predicate import Measured, NotApplicableError, attempt, least, predicate, worst
from harness.checks.predicates.inside import (
    kl_of,
    levels_of,
    offers_uncertainty,
    take_its_word,
    tensors_in,
    training_loss,
    uncertain,
    variational_layers,
)
from harness.checks.predicates.probe import ProbeBatch, forecast, make_batch, quiet, tensor_of
from harness.checks.subject import Subject
from harness.network_answers import central_intervals, labelled_quantiles, quantile_axis

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
    "intervals are nested and have their nominal coverage on held-out data",
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
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=TRAIN_RATE)
    model.train()
    for step in range(TRAIN_STEPS):
        batch = make_batch(subject.sizes, TRAIN_BATCH, seed=step)
        optimizer.zero_grad()
        output = tensor_of(model(*batch.inputs))
        training_loss(subject, model, output, batch.truth).backward()
        optimizer.step()
    batch = make_batch(subject.sizes, HELD_OUT, seed=10_000)
    torch.manual_seed(0)
    with torch.no_grad():
        report = uncertain(subject, model.eval(), batch)
    bands = central_intervals(report)
    if not set(SHARES) <= bands.keys():
        raise NotApplicableError("its report has no 68, 95 and 99 % intervals")
    return _covered({share: bands[share] for share in SHARES}, batch.truth)


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


KL = "a KL term"


@predicate(
    "T24",
    "the KL term equals the closed form, is counted once, and is a tensor",
    threshold=1e-4,
    unit="of the closed form",
    needs=KL,
)
def kl_is_closed_form(subject: Subject) -> Measured:
    """Compare it with the sum, or the mean, over all weights; look for it in the loss once."""
    import torch

    model = subject.build()
    found = kl_of(subject, model)
    if not isinstance(found, torch.Tensor):
        return Measured(value=math.inf, said=f"the KL term is a {type(found).__name__}, no tensor")
    layers, kl = variational_layers(model), float(found)
    if not layers and kl == 0.0:
        raise NotApplicableError("no layer has random weights")
    if not layers:
        return Measured(value=math.inf, said=f"KL {kl:.4g} though no layer has random weights")
    closed, weights = _closed_form(layers)
    closed *= float(getattr(model, "kl_weight", 1.0))
    forms = (closed, closed / weights)  # the sum over weights, or the mean
    total = least(abs(kl - form) / max(abs(form), 1e-12) for form in forms)
    in_loss: float | None = None  # what the loss says it holds of it, where it says so
    if subject.hooks.loss is None and callable(getattr(model, "compute_loss", None)):
        x = tensor_of(model(*make_batch(subject.sizes, 2).inputs)).detach()
        parts = model.compute_loss(
            x, x, lambda a, b: (a - b).square().mean(), return_components=True
        )
        in_loss = float(parts["kl_contribution"]) if isinstance(parts, dict) else None
    counted = 1.0  # times; a term of 0 that changes nothing stands in the loss once
    if in_loss is not None and (kl or in_loss):
        counted = in_loss / kl if kl else math.inf
    said = f"KL {kl:.4g} for a closed form of {closed:.4g}"
    return Measured(
        value=worst([total, abs(counted - 1.0)]), said=f"{said}; in the loss {counted:.3g} times"
    )


def _closed_form(layers: list[Any]) -> tuple[float, int]:
    """KL of all normal weights from N(0, 1), and how many weights there are."""
    total, count = 0.0, 0
    for layer in layers:
        for kind in ("weight", "bias"):
            mean = getattr(layer, f"{kind}_mean").detach().double()
            logvar = getattr(layer, f"{kind}_logvar").detach().double()
            total += float((mean.square() + logvar.exp() - logvar - 1.0).sum()) / 2
            count += mean.numel()
    return total, count


@predicate(
    "T25",
    "the KL weight changes the loss by exactly that much KL",
    threshold=1e-3,
    unit="of that change",
    needs="a KL term and `kl_weight`",
)
def kl_weight_works(subject: Subject) -> Measured:
    """Raise `kl_weight` by 1 and compare the losses of the same forecast."""
    import torch

    model = subject.build()
    before = getattr(model, "kl_weight", None)
    if not isinstance(before, int | float) or isinstance(before, bool):
        raise NotApplicableError("it has no `kl_weight`")
    if not variational_layers(model):
        raise NotApplicableError("no layer has random weights")
    batch = make_batch(subject.sizes, 2)
    with torch.no_grad():
        output = tensor_of(model(*batch.inputs))
        losses = []
        for weight in (0.0, 1.0):
            model.kl_weight = weight
            losses.append(float(training_loss(subject, model, output, batch.truth)))
        wanted = float(kl_of(subject, model)) * getattr(model, "kl_share", 1.0)
    change = losses[1] - losses[0]
    said = f"the loss changes by {change:.4g} for a KL of {wanted:.4g}"
    return Measured(value=abs(change - wanted) / max(abs(wanted), 1e-12), said=said)


BOUNDS = {"lower_bound": 0.1, "median": 0.5, "upper_bound": 0.9}
"""What `predict_quantiles` calls some levels."""


@predicate(
    "T22",
    "a quantile read by label equals the one read by position",
    threshold=1e-5,
    unit="output difference",
    needs="labelled quantiles of two targets or more",
)
def labels_agree(subject: Subject) -> Measured:
    """Compare the labelled quantiles of each answer with the channels of the same answer.

    An answer whose prediction is one path for each target has the place of its median only.
    """
    subject, model = _in_quantile_mode(subject)
    levels, targets = levels_of(subject, model), subject.sizes.targets
    if targets < 2:
        raise NotApplicableError("with one target every layout is the same")
    gaps = list[float]()
    for _, answer in _answers(subject, model.eval(), make_batch(subject.sizes, 4)):
        by_label = labelled_quantiles(answer)
        path = tensor_of(answer)
        by_place = {0.5: path}  # of a point path, what it is: the median
        if path.shape[-1] != targets:  # quantiles [B, P, nt] of a target-major output
            places = path.unflatten(-1, (targets, len(levels)))
            by_place = {round(level, 6): places[..., at] for at, level in enumerate(levels)}
        for level, wanted in by_place.items():
            if level in by_label:
                found = by_label[level]
                same = found.shape == wanted.shape
                gaps.append(float((found - wanted).abs().max()) if same else math.inf)
    if not gaps:
        raise NotApplicableError("it reports no quantile by its label")
    said = f"by label and by position {worst(gaps):.2g} apart, {len(gaps)} read"
    return Measured(value=worst(gaps), said=said)


def _answers(
    subject: Subject, model: Any, batch: ProbeBatch
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Mappings with a `prediction`, [B, P, nt * nq] or [B, P, nt], and quantiles beside it."""
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        plain = model(*batch.inputs)
    if isinstance(plain, Mapping):
        yield "forecast", plain
    if offers_uncertainty(subject, model):
        torch.manual_seed(0)
        with torch.no_grad():
            yield "report", uncertain(subject, model, batch)
    if callable(getattr(model, "predict_quantiles", None)):
        torch.manual_seed(0)
        found = model.predict_quantiles(batch.inputs)
        named = {level: found[name] for name, level in BOUNDS.items() if name in found}
        prediction = found["quantiles"].flatten(-2)
        yield "predict_quantiles", {"prediction": prediction, "quantiles": named}


@predicate(
    "T23",
    "quantiles never cross, however they are read",
    unit="share of neighbours that cross",
    needs="quantiles",
)
def quantiles_in_order(subject: Subject) -> Measured:
    """Count crossings in the forecast, the report and the labelled quantiles."""
    import torch

    try:
        (subject, model), reason = _in_quantile_mode(subject), ""
    except NotApplicableError as problem:
        model, reason = subject.build(), str(problem)
    batch, levels = make_batch(subject.sizes, 8), levels_of(subject, model)
    found = {}
    if len(levels) > 1 and not reason:
        path = forecast(model.eval(), batch)
        found["forecast"] = _crossing(path.unflatten(-1, (-1, len(levels))))
    for name, answer in _answers(subject, model.eval(), batch):
        path, named, axis = tensor_of(answer), labelled_quantiles(answer), quantile_axis(answer)
        if len(levels) > 1 and path.shape[-1] == subject.sizes.targets * len(levels):
            found[name] = _crossing(path.unflatten(-1, (-1, len(levels))))
        if len(named) > 1:
            in_order = torch.stack([named[level] for level in sorted(named)], dim=-1)
            found[f"{name} labels"] = _crossing(in_order)
        if axis is not None and len(levels) > 1 and axis[1].shape[-1] == len(levels):
            found[f"{name} axis"] = _crossing(axis[1])
    if not found:
        raise NotApplicableError(reason or "it has a single level")
    said = ", ".join(f"{name} {100 * share:.1f} %" for name, share in found.items())
    return Measured(value=worst(found.values()), said=f"neighbours that cross: {said}", more=found)


def _crossing(values: Tensor) -> float:
    """Share of neighbours that are not in order; NaN is in none."""
    return float((~(values[..., 1:] >= values[..., :-1])).float().mean())


def _in_quantile_mode(subject: Subject) -> tuple[Subject, Any]:
    """The subject and its network, with levels; on a changed configuration if it must be."""
    model = subject.build()
    if levels_of(subject, model):
        return subject, model
    changed = subject.with_levels()
    model, refusal = attempt(changed.build)
    if refusal:
        raise NotApplicableError(f"it has no quantile mode: {refusal}")
    if not getattr(model, "quantiles", None):
        raise NotApplicableError("it has no quantile mode: it names no `quantiles`")
    return changed, model
