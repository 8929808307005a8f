"""Quantiles, on every way to them: T22, T23."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.answers import labelled_quantiles, quantile_axis
from harness.battery.guard import attempt
from harness.battery.nouns import Measured, NotApplicableError, worst
from harness.battery.parts import levels_of, offers_uncertainty, uncertain
from harness.battery.probe import Batch, forecast, make_batch, tensor_of
from harness.battery.registry import predicate
from harness.battery.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

BOUNDS = {"lower_bound": 0.1, "median": 0.5, "upper_bound": 0.9}
"""What `predict_quantiles` calls some levels."""


@predicate(
    "T22",
    "a quantile read by its label is the one read by its place",
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
        for level, wanted in _by_place(tensor_of(answer), levels, targets).items():
            if level in by_label:
                gaps.append(_mismatch(by_label[level], wanted))
    if not gaps:
        raise NotApplicableError("it reports no quantile by its label")
    said = f"labelled and by place {worst(gaps):.2g} apart, {len(gaps)} read"
    return Measured(value=worst(gaps), said=said)


def _by_place(path: Tensor, levels: Sequence[float], targets: int) -> dict[float, Tensor]:
    """Quantiles [B, P, nt] of a target-major output; of a point path, what it is: the median."""
    if path.shape[-1] == targets:
        return {0.5: path}
    places = path.unflatten(-1, (targets, len(levels)))
    return {round(level, 6): places[..., index] for index, level in enumerate(levels)}


def _mismatch(found: Tensor, wanted: Tensor) -> float:
    same = found.shape == wanted.shape
    return float((found - wanted).abs().max()) if same else math.inf


def _answers(subject: Subject, model: Any, batch: Batch) -> Iterator[tuple[str, Mapping[str, Any]]]:
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
    "quantiles never cross, on any way to them",
    unit="share of neighbours that cross",
    needs="quantiles",
)
def quantiles_in_order(subject: Subject) -> Measured:
    """Count crossings in the forecast, the report and the labelled quantiles."""
    subject, model, reason = _with_quantiles(subject)
    batch, levels = make_batch(subject.sizes, 8), levels_of(subject, model)
    found = {}
    if len(levels) > 1 and not reason:
        path = forecast(model.eval(), batch)
        found["forecast"] = _crossing(path.unflatten(-1, (-1, len(levels))))
    for name, answer in _answers(subject, model.eval(), batch):
        found |= {f"{name}{part}": share for part, share in _of_answer(answer, subject, levels)}
    if not found:
        raise NotApplicableError(reason or "it has a single level")
    said = ", ".join(f"{name} {100 * share:.1f} %" for name, share in found.items())
    return Measured(value=worst(found.values()), said=f"neighbours that cross: {said}", more=found)


def _of_answer(
    answer: Mapping[str, Any], subject: Subject, levels: Sequence[float]
) -> Iterator[tuple[str, float]]:
    """Crossings of an answer's channels, of its labelled quantiles and of those on an axis."""
    path, named, axis = tensor_of(answer), labelled_quantiles(answer), quantile_axis(answer)
    if len(levels) > 1 and path.shape[-1] == subject.sizes.targets * len(levels):
        yield "", _crossing(path.unflatten(-1, (-1, len(levels))))
    if len(named) > 1:
        yield " labels", _crossing(_stacked(named))
    if axis is not None and len(levels) > 1 and axis[1].shape[-1] == len(levels):
        yield " axis", _crossing(axis[1])


def _stacked(named: dict[float, Tensor]) -> Tensor:
    import torch

    return torch.stack([named[level] for level in sorted(named)], dim=-1)


def _crossing(values: Tensor) -> float:
    """Share of neighbours that are not in order; NaN is in none."""
    return float((~(values[..., 1:] >= values[..., :-1])).float().mean())


def _with_quantiles(subject: Subject) -> tuple[Subject, Any, str]:
    """In quantile mode, or as it is with the reason why it has none."""
    try:
        return *_in_quantile_mode(subject), ""
    except NotApplicableError as problem:
        return subject, subject.build(), str(problem)


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
