"""QuantileBayesianAutoformer, a repaired build: no committed version of it ever ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from baselines.networks.bayesian import BayesianEnhancedAutoformer, Inputs
from baselines.networks.config import NetworkConfig, NetworkConfigError, Repairs

DEFAULT_LEVELS = (0.1, 0.5, 0.9)
BOUNDS = {"lower_bound": 0.1, "median": 0.5, "upper_bound": 0.9}


def pinball(quantiles: Tensor, target: Tensor, levels: Tensor) -> Tensor:
    """Mean pinball loss max(q e, (q - 1) e), e = target - quantile, without the factor 2.

    Parameters
    ----------
    quantiles : [B, P, nt, nq]
    target : [B, P, nt]
    levels : [nq]
    """
    error = target.unsqueeze(-1) - quantiles
    return torch.maximum(levels * error, (levels - 1.0) * error).mean()


class QuantileBayesianAutoformer(BayesianEnhancedAutoformer):
    """Quantile forecasts from a Bayesian head, built as documented (Q-01, Q-03 to Q-05 repaired).

    Parameters
    ----------
    config : NetworkConfig
        `c_out` is the number of targets; it is expanded in a copy, never in place (Q-02).
    quantiles
        Levels; the config's, or .1, .5, .9, if None.
    kl_weight
        Weight of the KL sum, between 0 and 1; the pinball loss has the rest.
    n_samples
        Passes of an uncertainty call.
    """

    label: ClassVar[str] = "QuantileBayesianAutoformer (repaired build; the original never ran)"

    levels: Tensor

    def __init__(
        self,
        config: NetworkConfig,
        repairs: Repairs | None = None,
        quantiles: Sequence[float] | None = None,
        kl_weight: float = 0.3,
        n_samples: int = 50,
    ) -> None:
        chosen = tuple(sorted(quantiles or config.quantile_levels or DEFAULT_LEVELS))
        if not 0.0 <= kl_weight <= 1.0:
            raise NetworkConfigError(f"kl_weight: found {kl_weight}, wanted between 0 and 1")
        wide = config.targets * len(chosen)
        if config.c_out not in (config.targets, wide):
            raise NetworkConfigError(
                f"c_out: found {config.c_out}, wanted {config.targets} targets or {wide} channels"
            )
        config = replace(config, c_out_evaluation=config.targets, c_out=wide)
        config = replace(config, quantile_levels=chosen)
        super().__init__(config, repairs, kl_weight=1.0, n_samples=n_samples)
        self.kl_share = kl_weight
        self.register_buffer("levels", torch.tensor(chosen), persistent=False)

    def forward(  # type: ignore[override]  # the fifth argument is a mask here, as documented
        self,
        x_enc: Tensor,
        x_mark_enc: Tensor | None,
        x_dec: Tensor,
        x_mark_dec: Tensor | None,
        enc_self_mask: Tensor | None = None,
        dec_self_mask: Tensor | None = None,
        dec_enc_mask: Tensor | None = None,
    ) -> Tensor:
        """Forecast [B, pred_len, nt * nq], target-major; the three masks are ignored."""
        forecast = super().forward(x_enc, x_mark_enc, x_dec, x_mark_dec)
        assert isinstance(forecast, Tensor)
        return forecast

    def quantile_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Pinball loss plus KL: prediction [B, P, nt * nq], target [B, P, nt]."""
        grouped = prediction.unflatten(-1, (-1, len(self.quantiles)))
        share = self.kl_share
        return (1.0 - share) * pinball(grouped, target, self.levels) + share * self.get_kl_loss()

    @torch.no_grad()
    def predict_quantiles(self, inputs: Inputs) -> dict[str, Tensor]:
        """Quantiles [B, P, nt, nq] in eval mode, and bounds and median where their level exists.

        The bounds are the levels .1 and .9, or the outermost where `outermost_bounds` is repaired.
        Leaves the network in eval mode, as documented (Q-08), unless `keeps_mode` is repaired.
        """
        modes = {name: module.training for name, module in self.named_modules()}
        try:
            self.eval()
            quantiles = self(*inputs).unflatten(-1, (-1, len(self.quantiles)))
        finally:
            if self.repairs.keeps_mode:
                for name, module in self.named_modules():
                    module.training = modes[name]
        found = {"quantiles": quantiles}
        for name, level in self._bounds().items():
            if level in self.quantiles:
                found[name] = quantiles[..., self.quantiles.index(level)]
        return found

    def _bounds(self) -> dict[str, float]:
        """The level of each bound (Q-09)."""
        if not self.repairs.outermost_bounds or len(self.quantiles) < 2:
            return BOUNDS
        return BOUNDS | {"lower_bound": self.quantiles[0], "upper_bound": self.quantiles[-1]}

    def get_uncertainty_metrics(self, inputs: Inputs) -> dict[str, Any]:
        """Widths between the two bounds: overall, per target [nt] and per step [P]."""
        found = self.predict_quantiles(inputs)
        if not {"lower_bound", "upper_bound"} <= found.keys():
            wanted = "two levels" if self.repairs.outermost_bounds else ".1 and .9 in them"
            raise NetworkConfigError(f"quantiles: found {self.quantiles}, wanted {wanted}")
        width = found["upper_bound"] - found["lower_bound"]
        return {
            "width": width,
            "overall": width.mean(),
            "per_target": width.mean((0, 1)),
            "per_step": width.mean((0, 2)),
        }
