"""Backbones that answer with quantiles: Chronos-Bolt, one series at a time; Chronos-2, several.

Chronos-Bolt forecasts from patches of one series' own history. Chronos-2 forecasts all targets of
a window together and reads covariates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from candidates.replacement.backbone_input import History, informative
from candidates.replacement.levels import read_at
from harness.errors import ForecastError

ROWS = 64
"""Series forecast at once: on a CPU faster than more, and small."""


class Bolt(nn.Module):
    """A Chronos-Bolt pipeline, with gradients.

    Attributes
    ----------
    levels
        The levels it was trained on.
    """

    reads_covariates = reads_tokens = draws_tokens = False

    def __init__(self, pipeline: Any) -> None:
        super().__init__()
        self.model: nn.Module = pipeline.inner_model
        self.levels = tuple(float(level) for level in pipeline.quantiles)
        self._block: int = pipeline.model_prediction_length
        self._reach: int = pipeline.model_context_length

    def head(self) -> nn.Module:
        """The output layer."""
        return self.model.output_patch_embedding  # type: ignore[return-value]  # a module

    def quantiles(self, history: History, levels: Sequence[float]) -> Tensor:
        """Quantiles [B, P, nt, Q] in order."""
        blocks = [self._own(rows, history.horizon) for rows in history.rows.float().split(ROWS)]
        read = read_at(torch.cat(blocks), self.levels, levels)  # [B * nt, P, Q]
        found: Tensor = read.unflatten(0, history.targets.shape[:2])
        return found.transpose(1, 2)

    def loss(self, context: Tensor, truth: Tensor) -> Tensor:
        """The loss it was trained by, of [N, T] and [N, H]; steps beyond its reach are left out."""
        clipped = truth[:, : self._block].clone().to(self._device)  # the library writes into it
        known = context[:, -self._reach :].to(self._device)
        found: Tensor = self.model(context=known, target=clipped).loss
        return found

    def _own(self, series: Tensor, horizon: int) -> Tensor:
        """Quantiles [N, P, q] at its own levels.

        Beyond its reach each quantile path is continued and the q * q answers are reduced to
        their quantiles, as in the library's pipeline.
        """
        context = series[:, -self._reach :].to(self._device)
        block = self._step(context)  # [N, q, block]
        blocks, paths = [block], context.unsqueeze(1).expand(-1, len(self.levels), -1)
        for _ in range(1, -(-horizon // self._block)):
            paths = torch.cat([paths, block], dim=-1)[..., -self._reach :]
            further = self._step(paths.flatten(0, 1)).unflatten(0, paths.shape[:2])
            share = torch.tensor(self.levels, device=further.device)
            block = further.flatten(1, 2).quantile(share, dim=1).transpose(0, 1)
            blocks.append(block)
        found = torch.cat(blocks, dim=-1)[..., :horizon]
        return found.transpose(1, 2).to(series.device)

    def _step(self, context: Tensor) -> Tensor:
        found: Tensor = self.model(context=context).quantile_preds
        return found

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


CHRONOS2_ROWS = 128
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
        size = max(1, CHRONOS2_ROWS // group)
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
