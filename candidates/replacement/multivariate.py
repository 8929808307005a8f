"""Chronos-2: several targets of a window at once, with covariates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from candidates.replacement.history import History, informative
from candidates.replacement.levels import read_at
from harness.errors import ForecastError

ROWS = 128
"""Series at once, covariates counted: its attention between series grows with their square."""


class Chronos2(nn.Module):
    """A Chronos-2 pipeline, with gradients.

    Attributes
    ----------
    levels
        The levels it was trained on.
    """

    reads_covariates = True
    reads_tokens = draws_tokens = False

    def __init__(self, pipeline: Any) -> None:
        super().__init__()
        self.model: nn.Module = pipeline.inner_model
        self.levels = tuple(float(level) for level in pipeline.quantiles)
        self._patch: int = pipeline.model_output_patch_size
        self._most: int = pipeline.model_prediction_length
        self._reach: int = pipeline.model_context_length

    def head(self) -> nn.Module:
        """The output layer."""
        return self.model.output_patch_embedding  # type: ignore[return-value]  # a module

    def quantiles(self, history: History, levels: Sequence[float]) -> Tensor:
        """Quantiles [B, P, nt, Q] in order.

        Raises
        ------
        ForecastError
            When more steps are asked for than it forecasts in one go.
        """
        if history.horizon > self._most:
            raise ForecastError(
                f"pred_len = {history.horizon}: this Chronos-2 forecasts at most {self._most}"
            )
        group = history.targets.shape[1] + history.covariates.shape[1]
        size = max(1, ROWS // group)
        parts = [
            self._own(history.part(start, start + size))
            for start in range(0, len(history.targets), size)
        ]
        return read_at(torch.cat(parts), self.levels, levels)

    def _own(self, history: History) -> Tensor:
        """Quantiles [B, P, nt, q] at its own levels; the series of a window are one group."""
        device = next(self.model.parameters()).device
        values = torch.cat([history.targets, history.covariates], dim=1).float()
        ahead = informative(history.covariates, history.ahead).float()
        unknown = torch.full_like(ahead[:, :1], torch.nan)
        targets = history.targets.shape[1]
        if not ahead.shape[1]:
            unknown = ahead.new_full((len(values), 1, history.horizon), torch.nan)
        future = torch.cat([unknown.expand(-1, targets, -1), ahead], dim=1)
        windows, group = values.shape[:2]
        answer: Tensor = self.model(
            context=values.flatten(0, 1)[:, -self._reach :].to(device),
            group_ids=torch.arange(windows, device=device).repeat_interleave(group),
            future_covariates=future.flatten(0, 1).to(device),
            num_output_patches=-(-history.horizon // self._patch),
        ).quantile_preds
        found: Tensor = answer[..., : history.horizon].unflatten(0, (windows, group))[:, :targets]
        return found.permute(0, 3, 1, 2).to(history.targets.device)  # [B, P, nt, q]
