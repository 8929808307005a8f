"""BayesianEnhancedAutoformer written plainly, to check and time the fast one against.

It reads the fast network's parameters, so both always hold the same weights, and draws as often.
"""

from __future__ import annotations

from naive_enhanced import NaiveEnhanced
from torch import Tensor, nn
from torch.nn import functional as F


class NaiveBayesian(nn.Module):
    """One plain stochastic pass over a fast network's parameters; any number of levels."""

    def __init__(self, fast: nn.Module) -> None:
        super().__init__()
        self.fast, self.base = fast, NaiveEnhanced(fast.base_model)
        self.drops = fast.uncertainty_method == "dropout"

    def forward(
        self, x_enc: Tensor, m_enc: Tensor | None, x_dec: Tensor, m_dec: Tensor | None
    ) -> Tensor:
        """Forecast [B, P, c_out]."""
        if self.drops:
            x_enc = F.dropout(x_enc, 0.1, training=True)
        out = self.base(x_enc, m_enc, x_dec, m_dec)
        if self.drops:
            out = F.dropout(out, 0.1, training=True)
        return self.fast.quantile_expansion(out) if len(self.fast.quantiles) > 1 else out
