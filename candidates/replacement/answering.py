"""An arm's contexts to a backbone's own answer, some windows at a time.

Shapes: W windows, H steps, q levels of the backbone, M sample paths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from candidates.replacement.loading import family_of
from candidates.replacement.reading import history_of, prepared, single
from candidates.replacement.sampling import T5
from harness.forecast import Forecast
from harness.window import Array, Contexts


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """A pipeline and how it is asked."""

    pipeline: Any
    samples: int
    covariates: bool
    seed: int
    windows: int

    def forecast(self, contexts: Contexts) -> Forecast:
        """Quantiles in order, or sample paths with their median as the point path."""
        family = family_of(self.pipeline)
        if family == "Chronos-T5":
            return self._sampled(contexts)
        values = self._bolt(contexts) if family == "Chronos-Bolt" else self._chronos2(contexts)
        ordered = np.sort(values.astype(np.float64), axis=-1)
        return Forecast.of_quantiles(ordered, np.array(self.pipeline.quantiles))

    def _bolt(self, contexts: Contexts) -> Array:
        """Quantiles [W, H, q]."""
        parts = [
            self.pipeline.predict(part, prediction_length=contexts.horizon)
            for part in single(contexts.target).split(self.windows)
        ]
        return torch.cat(parts).numpy().transpose(0, 2, 1)

    def _chronos2(self, contexts: Contexts) -> Array:
        """Quantiles [W, H, q]."""
        history = history_of(contexts, covariates=self.covariates)
        group = 1 + history.covariates.shape[1]
        with torch.random.fork_rng(devices=[]):  # its data loader draws a seed
            answers = self.pipeline.predict(
                prepared(history),
                prediction_length=contexts.horizon,
                batch_size=max(group, self.windows // group * group),
            )
        return torch.cat(answers).numpy().transpose(0, 2, 1)

    def _sampled(self, contexts: Contexts) -> Forecast:
        backbone = T5(self.pipeline, samples=self.samples, seed=self.seed)
        paths = backbone.paths(single(contexts.target), contexts.horizon, self.samples)
        values = paths.cpu().numpy().astype(np.float64)  # [W, M, H]
        return Forecast.of_samples(values, np.median(values, axis=1))
