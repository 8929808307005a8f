"""The KL term: T24, T25."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness.battery.nouns import Measured, NotApplicableError, least, worst
from harness.battery.parts import kl_of, training_loss, variational_layers
from harness.battery.probe import make_batch, tensor_of
from harness.battery.registry import predicate
from harness.battery.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

KL = "a KL term"


@predicate(
    "T24",
    "the KL term is the closed form, once, and a tensor",
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
    layers = variational_layers(model)
    if not layers:
        return _without_layers(float(found))
    closed, weights = _closed_form(layers)
    weight = float(getattr(model, "kl_weight", 1.0))
    total = _from_forms(float(found), weight * closed, weights)
    in_loss = _in_loss(subject, model)
    counted = 1.0 if in_loss is None else _times(in_loss, float(found))
    said = f"KL {float(found):.4g} for a closed form of {weight * closed:.4g}"
    return Measured(
        value=worst([total, abs(counted - 1.0)]), said=f"{said}; in the loss {counted:.3g} times"
    )


def _without_layers(found: float) -> Measured:
    if found == 0.0:
        raise NotApplicableError("no layer has random weights")
    return Measured(value=math.inf, said=f"KL {found:.4g} though no layer has random weights")


def _from_forms(found: float, closed: float, weights: int) -> float:
    """Relative distance from the sum, or from the mean over weights, whichever is nearer."""
    forms = (closed, closed / weights)
    return least(abs(found - form) / max(abs(form), 1e-12) for form in forms)


def _times(in_loss: float, found: float) -> float:
    """How often a KL term stands in a loss; one of 0 that changes nothing stands in it once."""
    if found:
        return in_loss / found
    return 1.0 if in_loss == 0.0 else math.inf


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


def _in_loss(subject: Subject, model: Any) -> float | None:
    """The KL contribution the loss reports, or None where it reports none."""
    if subject.hooks.loss is not None or not callable(getattr(model, "compute_loss", None)):
        return None
    x = tensor_of(model(*make_batch(subject.sizes, 2).inputs)).detach()
    parts = model.compute_loss(x, x, lambda a, b: (a - b).square().mean(), return_components=True)
    return float(parts["kl_contribution"]) if isinstance(parts, dict) else None


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
        losses = _losses(subject, model, (output, batch.truth), (0.0, 1.0))
        wanted = float(kl_of(subject, model)) * getattr(model, "kl_share", 1.0)
    change = losses[1] - losses[0]
    said = f"the loss changes by {change:.4g} for a KL of {wanted:.4g}"
    return Measured(value=abs(change - wanted) / max(abs(wanted), 1e-12), said=said)


def _losses(
    subject: Subject, model: Any, pair: tuple[Tensor, Tensor], weights: tuple[float, ...]
) -> list[float]:
    """The loss of one forecast at several KL weights; the last one stays."""
    found = []
    for weight in weights:
        model.kl_weight = weight
        found.append(float(training_loss(subject, model, *pair)))
    return found
