"""The parts a network may expose, and how they are recognised: all of it in this module.

A part is an attribute by one of these names; `Hooks` of a subject come first where given.

==========================  ===================================================================
on the network
``forward(return_           an uncertainty call: a mapping with `prediction`, and where offered
uncertainty=True)``         `confidence_intervals` {'68%': {lower, upper}} and quantiles,
                            `quantile_specific` or `quantiles` {'q10': ..}; all the forms that
                            `harness.answers` reads. The plain call may return such a mapping
``quantiles``               levels of the last axis, which is target-major
``predict_quantiles``       four inputs in a tuple to a mapping with `quantiles` [B, P, nt, nq]
``n_samples``               passes of an uncertainty call
``get_kl_loss()``           the KL term times ``kl_weight``
``compute_loss``            prediction, truth, criterion, ``return_components=`` to the loss
``quantile_loss``           prediction, truth to the loss of a quantile network
``kl_share``                factor on the KL term in ``quantile_loss``
``save_pretrained``         a folder; with `from_pretrained`, which loads it again
``forward(.. mask ..)``     arguments with `mask` in their name
``reads_covariates``        False says that no covariate is read: T7 does not apply
``reads_tokens``            True says that its input is rounded to tokens: T12 does not apply
``draws_tokens``            True says that passes are drawn token by token: T17 does not apply
on any module inside
``encoder``, ``decoder``    the two stacks, for their gradients
``dec_embedding``           is called with the decoder's values [B, Λ + P, dec_in] first
``decomp``, ``decomp1`` ..  splits [B, L, C] into a pair of tensors
``decomposer``              splits [B, L, C] into several series, differentiably
``weight_mean`` ..          a layer with normal weights: ``weight_mean``, ``weight_logvar``,
                            ``bias_mean``, ``bias_logvar``; the prior is N(0, 1)
``query_projection`` ..     auto-correlation: ``query_``, ``key_``, ``value_``,
                            ``out_projection``; called with (x, source), or with (queries,
                            keys, values, mask) giving a tuple. Its ``inner_correlation`` may
                            have ``scales`` and ``scale_weights``
a name ending in            cross-attention: called with the decoder's rows, then the
``cross_attention``         encoder's, as tensors
``mask_flag``               whether attention is causal
==========================  ===================================================================
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness.battery.nouns import NotApplicableError
from harness.battery.probe import Batch
from harness.battery.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

VARIATIONAL = ("weight_mean", "weight_logvar", "bias_mean", "bias_logvar")
STATEMENTS: Mapping[str, tuple[bool, str]] = MappingProxyType(
    {
        "reads_covariates": (False, "reads no covariates"),
        "reads_tokens": (True, "rounds its input to tokens"),
        "draws_tokens": (True, "draws its passes token by token"),
    }
)
"""What a network may say of itself: the attribute, the value that counts, and what it means."""

PROJECTIONS = ("query_projection", "key_projection", "value_projection", "out_projection")


def offers_uncertainty(subject: Subject, model: Any) -> bool:
    """Whether the network has an uncertainty call."""
    called = inspect.signature(model.forward).parameters
    return subject.hooks.uncertainty is not None or "return_uncertainty" in called


def uncertain(subject: Subject, model: Any, batch: Batch) -> Mapping[str, Any]:
    """Make an uncertainty call.

    Raises
    ------
    NotApplicableError
        When there is none.
    """
    if subject.hooks.uncertainty is not None:
        return subject.hooks.uncertainty(model, batch.inputs)
    if not offers_uncertainty(subject, model):
        raise NotApplicableError("it has no uncertainty call")
    found = model(*batch.inputs, return_uncertainty=True)
    if not isinstance(found, Mapping) or "prediction" not in found:
        raise TypeError("the uncertainty call returned no mapping with 'prediction'")
    return found


def levels_of(subject: Subject, model: Any) -> tuple[float, ...]:
    """Quantile levels of the output: the network's own, else those of the configuration."""
    own = getattr(model, "quantiles", None)
    return subject.sizes.levels if own is None else tuple(float(level) for level in own)


def width_of(subject: Subject, model: Any) -> int:
    """Output channels the contract asks for: `c_out`, unless the network names its levels."""
    levels = getattr(model, "quantiles", None)
    return subject.sizes.targets * len(levels) if levels else subject.sizes.c_out


def take_its_word(model: Any, name: str) -> None:
    """Leave a predicate out where the network says of itself that it makes no sense.

    Raises
    ------
    NotApplicableError
        When the network makes the statement `name` of `STATEMENTS`; the reason says whose it is.
    """
    value, meaning = STATEMENTS[name]
    if getattr(model, name, None) is value:
        raise NotApplicableError(f"it says itself that it {meaning} ({name})")


def part(model: Any, name: str) -> Any:
    """The first module inside whose own name is `name`; None where there is none."""
    named = model.named_modules()
    return next((each for path, each in named if path.rsplit(".", 1)[-1] == name), None)


def kl_of(subject: Subject, model: Any) -> Any:
    """The weighted KL term.

    Raises
    ------
    NotApplicableError
        When there is none.
    """
    if subject.hooks.kl is not None:
        return subject.hooks.kl(model)
    if not callable(getattr(model, "get_kl_loss", None)):
        raise NotApplicableError("it has no KL term")
    return model.get_kl_loss()


def training_loss(subject: Subject, model: Any, prediction: Tensor, truth: Tensor) -> Tensor:
    """The loss the subject would train on: its own, else squared error or quantile loss."""
    if subject.hooks.loss is not None:
        found: Tensor = subject.hooks.loss(model, prediction, truth)
        return found
    if callable(getattr(model, "quantile_loss", None)):
        return model.quantile_loss(prediction, truth)  # type: ignore[no-any-return]  # a tensor
    plain = _criterion(levels_of(subject, model))
    if callable(getattr(model, "compute_loss", None)):
        return model.compute_loss(prediction, truth, plain)  # type: ignore[no-any-return]
    judged: Tensor = plain(prediction, truth)
    return judged


def _criterion(levels: tuple[float, ...]) -> Any:
    import torch

    def squared(prediction: Tensor, truth: Tensor) -> Tensor:
        return (prediction - truth).square().mean()

    def pinball(prediction: Tensor, truth: Tensor) -> Tensor:
        error = truth.unsqueeze(-1) - prediction.unflatten(-1, (-1, len(levels)))
        share = torch.tensor(levels)
        return torch.maximum(share * error, (share - 1.0) * error).mean()

    return pinball if levels else squared


def variational_layers(model: Any) -> list[Any]:
    """Layers with normal weights."""
    return [m for m in model.modules() if all(hasattr(m, name) for name in VARIATIONAL)]


def attentions(model: Any) -> list[tuple[str, Any]]:
    """Auto-correlation modules by name."""
    named = model.named_modules()
    return [(n, m) for n, m in named if all(hasattr(m, part) for part in PROJECTIONS)]


def attend(module: Any, x: Tensor, source: Tensor) -> Tensor:
    """Call an auto-correlation module in the way it takes."""
    from harness.battery.probe import tensor_of

    taken = inspect.signature(module.forward).parameters.values()
    wide = sum(each.default is inspect.Parameter.empty for each in taken) > 2
    return tensor_of(module(x, source, source, None) if wide else module(x, source))


def cross_attentions(model: Any) -> list[tuple[str, Any]]:
    """Cross-attention modules by name."""
    return [(n, m) for n, m in model.named_modules() if n.rsplit(".", 1)[-1] == "cross_attention"]


def mask_arguments(model: Any) -> list[str]:
    """Arguments of the forward pass that are masks."""
    return [name for name in inspect.signature(model.forward).parameters if "mask" in name]


def flags(model: Any) -> dict[str, bool]:
    """Training flag of every module inside."""
    return {name: module.training for name, module in model.named_modules()}


def tensors_in(report: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors in a report, with the path to each."""
    import torch

    if isinstance(report, torch.Tensor):
        yield name, report
    elif isinstance(report, Mapping):
        for key, value in report.items():
            yield from tensors_in(value, f"{name}.{key}" if name else str(key))
