"""Made-up inputs of the forward contract, and forecasts from them.

Shapes: B batch, S history, Λ label history, P horizon, C channels, m marks.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.checks.subject import CALENDAR_TOPS, NetworkSizes, Subject
from harness.network_answers import ANSWERS, prediction_in

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeBatch:
    """The four inputs of the forward contract, and what came after.

    Attributes
    ----------
    x_enc : [B, S, enc_in]
    x_mark_enc : [B, S, m]
    x_dec : [B, Λ + P, dec_in]
        Label history, then horizon rows: targets 0, covariates as they will be.
    x_mark_dec : [B, Λ + P, m]
    truth : [B, P, targets]
    """

    x_enc: Tensor
    x_mark_enc: Tensor
    x_dec: Tensor
    x_mark_dec: Tensor
    truth: Tensor

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the network is called with."""
        return self.x_enc, self.x_mark_enc, self.x_dec, self.x_mark_dec

    def rows(self, start: int, stop: int) -> ProbeBatch:
        """Some samples of the batch."""
        fields = (item.name for item in dataclasses.fields(self))
        return ProbeBatch(**{name: getattr(self, name)[start:stop] for name in fields})

    def with_values(
        self, *, x_enc: Tensor | None = None, x_dec: Tensor | None = None
    ) -> ProbeBatch:
        """The same batch with other values."""
        x_enc = self.x_enc if x_enc is None else x_enc
        return dataclasses.replace(self, x_enc=x_enc, x_dec=self.x_dec if x_dec is None else x_dec)


def make_batch(sizes: NetworkSizes, count: int, *, seed: int = 0) -> ProbeBatch:
    """Draw `count` samples: a wave of its own period in each channel, and noise."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    steps, channels = sizes.seq_len + sizes.pred_len, max(sizes.enc_in, sizes.dec_in)
    shape = (count, 1, channels)
    period = 6.0 + 30.0 * torch.rand(shape, generator=generator)
    phase = 2 * math.pi * torch.rand(shape, generator=generator)
    time = torch.arange(steps, dtype=torch.float32).view(1, -1, 1)
    waves = torch.sin(2 * math.pi * time / period + phase)
    values = waves + 0.7 * torch.randn(count, steps, channels, generator=generator)
    length = max(sizes.seq_len, sizes.label_len) + sizes.pred_len
    marks = torch.rand(count, length, sizes.marks, generator=generator)
    if sizes.whole_marks:
        marks = (marks * torch.tensor(CALENDAR_TOPS[: sizes.marks])).floor()
    else:
        marks -= 0.5
    return from_values(sizes, values, marks)


def from_values(sizes: NetworkSizes, values: Tensor, marks: Tensor) -> ProbeBatch:
    """Cut values [B, S + P, C] and marks [B, max(S, Λ) + P, m] into a batch."""
    import torch

    known, label, ahead = sizes.seq_len, sizes.label_len, sizes.pred_len
    past = values[:, :known, : sizes.dec_in]
    if label > known:
        missing = past.new_zeros(len(past), label - known, past.shape[2])
        past = torch.cat([missing, past], dim=1)
    horizon = values[:, known:, : sizes.dec_in].clone()
    horizon[..., : sizes.targets] = 0.0
    history = past[:, past.shape[1] - label :]
    return ProbeBatch(
        x_enc=values[:, :known, : sizes.enc_in].clone(),
        x_mark_enc=marks[:, -known - ahead : -ahead],
        x_dec=torch.cat([history, horizon], dim=1),
        x_mark_dec=marks[:, -label - ahead :],
        truth=values[:, known:, : sizes.targets],
    )


def constant_batch(sizes: NetworkSizes, level: float, channel: int) -> ProbeBatch:
    """One sample whose history is `level` on one channel and 0 elsewhere; marks are 0."""
    import torch

    values = torch.zeros(1, sizes.seq_len + sizes.pred_len, max(sizes.enc_in, sizes.dec_in))
    values[..., channel] = level
    longest = max(sizes.seq_len, sizes.label_len) + sizes.pred_len
    return from_values(sizes, values, torch.zeros(1, longest, sizes.marks))


def tensor_of(output: Any) -> Tensor:
    """The prediction in what a network returned: a tensor, a dict's `prediction`, a tuple's first.

    Raises
    ------
    TypeError
        When it is none of these; of a dict without one a `ForecastError`.
    """
    import torch

    found = prediction_in(output)
    if not isinstance(found, torch.Tensor):
        raise TypeError(f"the network returned {type(found).__name__}, expected {ANSWERS}")
    return found


def built(subject: Subject) -> Any:
    """Build the network for evaluation."""
    return subject.build().eval()


def forecast(model: Any, batch: ProbeBatch, *, seed: int = 0) -> Tensor:
    """Call the network without a graph, the global generator started at `seed`."""
    import torch

    torch.manual_seed(seed)
    with torch.no_grad():
        return tensor_of(model(*batch.inputs))


def calls_of(
    model: Any, batch: ProbeBatch, parts: Iterable[Any]
) -> list[tuple[Any, tuple[Any, ...]]]:
    """Calls of some modules inside that a forecast makes, in order, with what each was handed."""
    calls: list[tuple[Any, tuple[Any, ...]]] = []
    handles = [
        each.register_forward_pre_hook(lambda module, args: calls.append((module, args)))
        for each in parts
    ]
    try:
        forecast(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def largest(tensor: Tensor) -> float:
    """The largest absolute value; NaN where there is one."""
    return float(tensor.detach().abs().max()) if tensor.numel() else 0.0


def apart(first: Tensor, second: Tensor) -> float:
    """The largest difference, in units of the output's scale (at least 1)."""
    return largest(first - second) / max(1.0, largest(first))


def quiet(subject: Subject) -> Any:
    """Build a network whose dropout layers drop nothing."""
    from torch import nn

    if subject.varies and "dropout" in subject.config:
        subject = subject.changed(dropout=0.0)
    model = subject.build()
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
    return model
