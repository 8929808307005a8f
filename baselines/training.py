"""The legacy training loop: Adam, halving learning rate, early stopping with patience.

Shapes: N sessions, C channels, m marks, B batch, S input, L label, P predicted sessions.

What the legacy pipeline did wrong is not repeated here: the target is the column it is named by,
a NaN validation loss is never an improvement, no loss is computed on the test span, and
validation windows may look back into the training span.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from harness.arm import Epoch, Training

Loss = Callable[[Tensor, Tensor], Tensor]
Precision = Literal["float32", "bf16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Lengths of one training window, in sessions.

    Attributes
    ----------
    outputs
        Leading channels of the network's answer that the loss is told.
    first_truth, truths
        Channels that were to be forecast: from which, and how many.
    """

    seq_len: int
    label_len: int
    pred_len: int
    outputs: int = 1
    first_truth: int = 0
    truths: int = 1

    @property
    def span(self) -> int:
        """Sessions from the first input to the last predicted one."""
        return self.seq_len + self.pred_len


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast to learn.

    Attributes
    ----------
    stride
        Sessions between training windows.
    precision
        Of the linear maps, forward and backward; weights, transforms and losses are float32.
    """

    epochs: int = 10
    patience: int = 3
    batch_size: int = 32
    learning_rate: float = 1e-4
    stride: int = 1
    precision: Precision = "float32"

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, from 1: the legacy `type1` runs two epochs, then halves."""
        return self.learning_rate * 0.5 ** max(0, epoch - 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Scaled channels and marks of one history.

    Attributes
    ----------
    values : [N, C]
        Target first.
    marks : [N, m]
    train_rows
        Rows that training may touch; the rest is the validation span.
    """

    values: Tensor
    marks: Tensor
    train_rows: int


@dataclass(slots=True)
class _Best:
    """The best weights so far; only a finite, lower validation loss replaces them."""

    loss: float = math.inf
    epoch: int | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)

    def offer(self, loss: float, epoch: int, model: nn.Module) -> bool:
        if not loss < self.loss:
            return False
        self.loss, self.epoch = loss, epoch
        self.weights = {name: value.clone() for name, value in model.state_dict().items()}
        return True


def train(
    model: nn.Module,
    material: Material,
    *,
    sizes: Sizes,
    schedule: Schedule,
    seed: int,
    loss: Loss = nn.functional.mse_loss,
) -> Training:
    """Train a model with the legacy forward contract in place; it ends with its best weights.

    Raises
    ------
    ValueError
        When the training or the validation span holds no window.
    """
    train_starts, validation_starts = _window_starts(material, sizes, schedule.stride)
    optimizer = _adam(model, schedule.learning_rate)
    shuffle = torch.Generator().manual_seed(seed)
    best, curve, waited = _Best(), list[Epoch](), 0
    for number in range(1, schedule.epochs + 1):
        order = train_starts[torch.randperm(len(train_starts), generator=shuffle)]
        rate = optimizer.param_groups[0]["lr"] = schedule.rate(number)  # one group of all weights
        learned, norm = _one_epoch(model, optimizer, material, order, sizes, schedule, loss)
        with working_in(schedule.precision, material.values.device):
            found = evaluate(model, material, validation_starts, sizes=sizes, loss=loss)
        losses = {"train_loss": learned, "validation_loss": found}
        curve.append(Epoch(epoch=number, learning_rate=rate, gradient_norm=norm, **losses))
        if not math.isfinite(learned):
            break
        waited = 0 if best.offer(found, number, model) else waited + 1
        if waited >= schedule.patience:
            break
    if best.weights:
        model.load_state_dict(best.weights)
    diverged = any(not math.isfinite(e.train_loss + e.validation_loss) for e in curve)
    return Training(curve=tuple(curve), best_epoch=best.epoch, diverged=diverged)


def _adam(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Adam in one pass over the weights, where torch has that for all of them (none complex)."""
    weights = list(model.parameters())
    fused = all(w.is_floating_point() and w.device.type in ("cpu", "cuda") for w in weights)
    return torch.optim.Adam(weights, lr=rate, fused=fused)


def working_in(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """Let linear maps work in a precision for a while.

    Raises
    ------
    ValueError
        When the device has no such arithmetic.
    """
    if precision == "float32":
        return nullcontext()
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        name = torch.cuda.get_device_name(device)
        raise ValueError(f"precision = 'bf16': {name} has no bf16; expected float32")
    return torch.autocast(device.type, dtype=torch.bfloat16)


def evaluate(
    model: nn.Module, material: Material, starts: Tensor, *, sizes: Sizes, loss: Loss
) -> float:
    """Mean loss over windows, in eval mode; the mode is put back."""
    was_training = model.training
    model.eval()
    total = 0.0
    with torch.no_grad():
        for part in starts.split(256):
            batch, truth = window_batch(material, part, sizes)
            total += float(loss(_predicted(model, batch, sizes), truth)) * len(part)
    model.train(was_training)
    return total / len(starts)


def window_batch(
    material: Material, starts: Tensor, sizes: Sizes
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Gather the four inputs and the truth [B, P, truths] of windows that start at rows [B].

    The decoder input holds the last L inputs and zeros: future channels are made of future
    prices, so there are none to give.
    """
    rows = starts[:, None] + torch.arange(sizes.span, device=starts.device)  # [B, S + P]
    values, marks = material.values[rows], material.marks[rows]
    known = sizes.seq_len
    x_enc, x_mark_enc = values[:, :known], marks[:, :known]
    x_dec, x_mark_dec = decoder_input(x_enc, marks, sizes)
    truth = values[:, known:, sizes.first_truth : sizes.first_truth + sizes.truths]
    return (x_enc, x_mark_enc, x_dec, x_mark_dec), truth


def decoder_input(x_enc: Tensor, marks: Tensor, sizes: Sizes) -> tuple[Tensor, Tensor]:
    """Last L inputs and P zero rows [B, L + P, C], with the marks of those sessions."""
    label = x_enc[:, sizes.seq_len - sizes.label_len :]
    zeros = x_enc.new_zeros(len(x_enc), sizes.pred_len, x_enc.shape[2])
    return torch.cat([label, zeros], dim=1), marks[:, sizes.seq_len - sizes.label_len :]


def _one_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    material: Material,
    order: Tensor,
    sizes: Sizes,
    schedule: Schedule,
    loss: Loss,
) -> tuple[float, float]:
    """One pass over the windows in order: mean training loss and mean gradient norm.

    The last partial batch is left out, as the legacy loader did, unless it is the only one.
    """
    model.train()
    batches = [b for b in order.split(schedule.batch_size) if len(b) == schedule.batch_size]
    losses, norms = list[Tensor](), list[Tensor]()
    for part in batches or [order]:
        batch, truth = window_batch(material, part, sizes)
        optimizer.zero_grad(set_to_none=True)
        with working_in(schedule.precision, truth.device):
            predicted = _predicted(model, batch, sizes)
        step_loss = loss(predicted, truth)
        step_loss.backward()
        gradients: Any = [p.grad for p in model.parameters() if p.grad is not None]
        each = torch._foreach_norm(gradients)  # one call for all tensors
        norms.append(torch.linalg.vector_norm(torch.stack(each)))
        optimizer.step()
        losses.append(step_loss.detach())
        if not torch.isfinite(losses[-1]):
            return math.nan, math.nan
    return float(torch.stack(losses).mean()), float(torch.stack(norms).mean())


def _predicted(model: nn.Module, batch: tuple[Tensor, ...], sizes: Sizes) -> Tensor:
    output: Tensor = model(*batch)
    return output[:, -sizes.pred_len :, : sizes.outputs].to(batch[0].dtype)


def _window_starts(material: Material, sizes: Sizes, stride: int) -> tuple[Tensor, Tensor]:
    """First rows of the training and of the validation windows."""
    rows, cut = len(material.values), material.train_rows
    last, first = rows - sizes.span + 1, max(0, cut - sizes.seq_len)
    training = torch.arange(0, max(0, cut - sizes.span + 1), stride)
    validation = torch.arange(first, max(first, last))
    if not len(training) or not len(validation):
        raise ValueError(
            f"a history of {rows} sessions with {rows - cut} for validation holds "
            f"{len(training)} training and {len(validation)} validation windows of "
            f"{sizes.seq_len} + {sizes.pred_len} sessions: expected a longer `history`, more data "
            "before the first origin, a shorter `validation` or a smaller seq_len"
        )
    return training, validation
