"""Drop-in for the legacy models that answer a plain tensor and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from candidates.replacement.hf_bayesian import HFBayesianAutoformer, stored


class PlainAnswer(nn.Module):
    """What drop-ins share that answer with a tensor: an `HFBayesianAutoformer` behind them.

    Parameters
    ----------
    config, **options
        As for `HFBayesianAutoformer`.
    """

    def __init__(self, config: object, **options: Any) -> None:
        super().__init__()
        self.forecaster = HFBayesianAutoformer(config, **options)
        self.quantiles = self.forecaster.quantiles

    @property
    def reads_covariates(self) -> bool:
        """Whether channels that are no targets, and the calendar, are read at all."""
        return self.forecaster.reads_covariates

    @property
    def reads_tokens(self) -> bool:
        """Whether the history is rounded to tokens."""
        return self.forecaster.reads_tokens

    def forward(
        self,
        x_enc: Tensor,
        x_mark_enc: Tensor | None,
        x_dec: Tensor | None,
        x_mark_dec: Tensor | None,
        *_attention: Tensor | None,
    ) -> Tensor:
        """Forecast [B, pred_len, c_out]; up to three attention masks have no use, as there."""
        found = self.forecaster(x_enc, x_mark_enc, x_dec, x_mark_dec)
        assert isinstance(found, Tensor)
        return found

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the backbone, as a Chronos checkpoint of its own, and this network's fields."""
        self.forecaster.save_pretrained(folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> Self:
        """Read what `save_pretrained` wrote; options replace the stored ones."""
        config, kept = stored(Path(folder))
        return cls(config, **{**kept, **options, "backbone": str(folder)})


class HFHierarchicalAutoformer(PlainAnswer):
    """Forecasts [B, P, c_out], for HierarchicalEnhancedAutoformer, EnhancedAutoformer, Autoformer.

    Parameters
    ----------
    config
        As for `HFBayesianAutoformer`; with `quantile_levels` and `c_out` of targets times levels
        the last axis is target-major quantiles.
    **options
        See `candidates.replacement.options.Options`.
    """


Model = HFHierarchicalAutoformer
