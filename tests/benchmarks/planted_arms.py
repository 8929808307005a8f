"""An arm whose work is counted, for the experiment with a planted slow-down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.forecast import Forecast
from harness.window import Contexts


@dataclass(slots=True, kw_only=True)
class Counted:
    """Multiplies matrices `work` times per window, then answers the last value.

    `label` changes nothing; it keeps apart two arms that are the same.
    """

    work: int = 200
    label: str = ""
    context_length = 30

    def forecast(self, contexts: Contexts) -> Forecast:
        """Forecast the last value with quantiles a fixed share around it."""
        values = np.full((64, 64), 0.5)
        for _ in range(self.work * len(contexts)):
            values = np.tanh(values @ values * 0.01)
        last = np.repeat(contexts.last[:, None], contexts.horizon, axis=1)
        spread = np.linspace(0.9, 1.1, len(contexts.levels))
        return Forecast.of_quantiles(last[:, :, None] * spread, contexts.levels)
