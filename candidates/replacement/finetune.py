"""Fine-tuning before an origin: a loop for Chronos-Bolt and Chronos-T5, its own fit for Chronos-2.

Shapes: N sessions, B windows, T steps of history, H steps ahead.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from candidates.replacement.plan import FineTuning, Spans
from candidates.replacement.sampling import T5
from candidates.replacement.univariate import Bolt
from harness.arm import Epoch, Training

LARGEST_GRADIENT = 1.0
EVALUATED = 64


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
        self.weights = copy.deepcopy(model.state_dict())
        return True


def tune(
    backbone: Bolt | T5,
    series: Tensor,
    spans: Spans,
    plan: FineTuning,
    *,
    length: int,
    horizon: int,
    seed: int,
) -> Training:
    """Fine-tune in place on random windows; it ends with its best weights, in eval mode.

    Adam at a constant rate, gradients clipped to a norm of 1. Row 0 of the curve is the weights
    as they came: training that does not lower the validation loss changes nothing. The global
    random state is put back.

    Parameters
    ----------
    series : [N]
    length
        Most sessions of a window's history.
    """
    draw = np.random.default_rng(seed)
    learning = [p for p in backbone.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=plan.lr)

    def batch() -> tuple[Tensor, Tensor]:
        return windows(series, draw.choice(spans.train, plan.batch_size), length, horizon)

    def judged() -> float:
        return _evaluated(backbone, series, spans.validation, length, horizon)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _Loop(backbone, optimizer, plan, batch, judged).run()


@dataclass(slots=True)
class _Loop:
    """One fine-tuning."""

    backbone: Bolt | T5
    optimizer: torch.optim.Optimizer
    plan: FineTuning
    batch: Callable[[], tuple[Tensor, Tensor]]
    judged: Callable[[], float]
    best: _Best = field(default_factory=_Best)
    curve: list[Epoch] = field(default_factory=list)

    def run(self) -> Training:
        """Go on until the steps, or the patience, are used up."""
        self._start()
        waited, rows = 0, math.ceil(self.plan.steps / self.plan.every)
        for row in range(1, rows + 1):
            done = (row - 1) * self.plan.every
            improved = self._row(row, min(self.plan.every, self.plan.steps - done))
            waited = 0 if improved else waited + 1
            if not math.isfinite(self.curve[-1].train_loss) or waited >= self.plan.patience:
                break
        if self.best.weights:
            self.backbone.load_state_dict(self.best.weights)
        self.backbone.eval()
        diverged = any(not math.isfinite(e.train_loss + e.validation_loss) for e in self.curve)
        return Training(curve=tuple(self.curve), best_epoch=self.best.epoch, diverged=diverged)

    def _start(self) -> None:
        self.backbone.eval()
        with torch.no_grad():
            first = float(self.backbone.loss(*self.batch()))
        self._record(0, first, norm=0.0, rate=0.0)

    def _row(self, row: int, steps: int) -> bool:
        self.backbone.train()
        losses, norms = list[float](), list[float]()
        for _ in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.backbone.loss(*self.batch())
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.backbone.parameters(), LARGEST_GRADIENT)
            losses.append(float(loss.detach()))
            norms.append(float(norm))
            if not math.isfinite(losses[-1] + norms[-1]):
                break
            self.optimizer.step()
        self.backbone.eval()
        return self._record(
            row, float(np.mean(losses)), norm=float(np.mean(norms)), rate=self.plan.lr
        )

    def _record(self, row: int, train_loss: float, *, norm: float, rate: float) -> bool:
        found = self.judged()
        self.curve.append(
            Epoch(
                epoch=row,
                train_loss=train_loss,
                validation_loss=found,
                learning_rate=rate,
                gradient_norm=norm,
            )
        )
        return self.best.offer(found, row, self.backbone)


def windows(series: Tensor, origins: Any, length: int, horizon: int) -> tuple[Tensor, Tensor]:
    """Histories [B, T] before origins, NaN in front of short ones, and what follows [B, H]."""
    padded = torch.cat([series.new_full((length,), torch.nan), series])
    at = torch.as_tensor(origins)[:, None]
    return padded[at + torch.arange(length)], series[at + torch.arange(horizon)]


@torch.no_grad()
def _evaluated(
    backbone: Bolt | T5, series: Tensor, origins: Any, length: int, horizon: int
) -> float:
    """Mean loss over windows."""
    total = 0.0
    for start in range(0, len(origins), EVALUATED):
        part = origins[start : start + EVALUATED]
        total += float(backbone.loss(*windows(series, part, length, horizon))) * len(part)
    return total / len(origins)
