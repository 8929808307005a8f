"""Drop-in for QuantileBayesianAutoformer: quantiles in its target-major layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from candidates.replacement.hf_bayesian import Inputs
from candidates.replacement.hf_hierarchical import PlainAnswer
from candidates.replacement.levels import pinball
from candidates.replacement.options import ReplacementConfigError, fields_of, read_levels

DEFAULT_LEVELS = (0.1, 0.5, 0.9)
BOUNDS = {"lower_bound": 0.1, "median": 0.5, "upper_bound": 0.9}


class HFQuantileAutoformer(PlainAnswer):
    """Quantile forecasts [B, P, nt * nq], channel t * nq + q, in order and without a KL term.

    Parameters
    ----------
    config
        As for `HFBayesianAutoformer`; `c_out` is the number of targets, or that times the levels.
    quantiles
        Levels; the config's, or .1, .5, .9, if None.
    **options
        See `candidates.replacement.options.Options`.
    """

    def __init__(
        self, config: object, quantiles: Sequence[float] | None = None, **options: Any
    ) -> None:
        values = fields_of(config)
        chosen = quantiles or values.get("quantile_levels") or DEFAULT_LEVELS
        levels = read_levels(list(chosen))
        if len(levels) < 2:
            raise ReplacementConfigError(f"quantiles: found {levels}, wanted two or more")
        width, targets = values.get("c_out"), values.get("c_out_evaluation")
        if targets is None and isinstance(width, int) and isinstance(values.get("enc_in"), int):
            targets = width if width <= values["enc_in"] else width // len(levels)
        if isinstance(targets, int) and width == targets:
            width = targets * len(levels)
        fields = values | {"quantile_levels": levels, "c_out": width, "c_out_evaluation": targets}
        super().__init__(fields, **options)
        self.quantiles = levels

    def quantile_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Pinball loss of a prediction [B, P, nt * nq], without the factor 2; target [B, P, nt]."""
        grouped = prediction.unflatten(-1, (-1, len(self.quantiles)))
        return pinball(grouped, target, self.quantiles)

    @torch.no_grad()
    def predict_quantiles(self, inputs: Inputs) -> dict[str, Tensor]:
        """Quantiles [B, P, nt, nq] as in evaluation, and bounds and median where level exists.

        The mode of every part is put back.
        """
        modes = [(part, part.training) for part in self.modules()]
        self.eval()
        try:
            quantiles = self(*inputs).unflatten(-1, (-1, len(self.quantiles)))
        finally:
            for part, training in modes:
                part.training = training
        found = {"quantiles": quantiles}
        for name, level in BOUNDS.items():
            if level in self.quantiles:
                found[name] = quantiles[..., self.quantiles.index(level)]
        return found

    def get_uncertainty_metrics(self, inputs: Inputs) -> dict[str, Any]:
        """Widths between the levels .9 and .1: overall, per target [nt] and per step [P].

        Raises
        ------
        ReplacementConfigError
            When one of the two is not a level of this network.
        """
        found = self.predict_quantiles(inputs)
        if not {"lower_bound", "upper_bound"} <= found.keys():
            raise ReplacementConfigError(
                f"quantiles: found {self.quantiles}, wanted .1 and .9 in them"
            )
        width = found["upper_bound"] - found["lower_bound"]
        return {
            "width": width,
            "overall": width.mean(),
            "per_target": width.mean((0, 1)),
            "per_step": width.mean((0, 2)),
        }


Model = HFQuantileAutoformer
