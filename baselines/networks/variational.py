"""A linear map with random weights, and its distance from the prior."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks.twins import apart, keep_apart

INITIAL_LOG_VARIANCE = -5.0
INITIAL_SPREAD = 0.1


class BayesianLinear(nn.Module):
    """Linear map whose weights and biases are normal, one draw to a call; the prior is N(0, 1).

    Parameters
    ----------
    linear
        The map it replaces; its values are thrown away unless `inherit`.
    mean_in_eval
        Use the posterior mean, not a draw, outside training.
    """

    def __init__(self, linear: nn.Linear, *, inherit: bool, mean_in_eval: bool) -> None:
        super().__init__()
        keep_apart(type(self))
        shape, width = linear.weight.shape, linear.out_features
        self.weight_mean = nn.Parameter(torch.randn(shape) * INITIAL_SPREAD)
        self.weight_logvar = nn.Parameter(torch.full(shape, INITIAL_LOG_VARIANCE))
        self.bias_mean = nn.Parameter(torch.randn(width) * INITIAL_SPREAD)
        self.bias_logvar = nn.Parameter(torch.full((width,), INITIAL_LOG_VARIANCE))
        if inherit:
            self.weight_mean.data.copy_(linear.weight.data)
            self.bias_mean.data.copy_(linear.bias.data)
        self.mean_in_eval = mean_in_eval

    def forward(self, x: Tensor) -> Tensor:
        """Map [.., in] to [.., out] with one draw, or with the mean where that is asked for."""
        if self.mean_in_eval and not self.training:
            return functional.linear(x, self.weight_mean, self.bias_mean)
        return self.sampled(x)

    @apart
    def sampled(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map [.., in] to [.., out] with one draw from `generator` (torch's own if None)."""
        weight = _draw(self.weight_mean, self.weight_logvar, generator)
        return functional.linear(x, weight, _draw(self.bias_mean, self.bias_logvar, generator))

    @apart
    def sampled_often(
        self, x: Tensor, passes: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Map [.., in] to [passes, .., out], the draws being those of as many single calls."""
        parameters = (self.weight_mean, self.weight_logvar), (self.bias_mean, self.bias_logvar)
        draws = [[_draw(*pair, generator) for pair in parameters] for _ in range(passes)]
        weights, biases = (torch.cat(part) for part in zip(*draws, strict=True))
        mapped: Tensor = functional.linear(x, weights, biases).unflatten(-1, (passes, -1))
        return mapped.movedim(-2, 0)

    def kl(self) -> Tensor:
        """KL divergence of the posterior from the prior, summed over weights and biases."""
        pairs = ((self.weight_mean, self.weight_logvar), (self.bias_mean, self.bias_logvar))
        parts = [(mean.square() + logvar.exp() - logvar - 1.0).sum() for mean, logvar in pairs]
        return 0.5 * (parts[0] + parts[1])

    def weights(self) -> int:
        """How many numbers are random."""
        return self.weight_mean.numel() + self.bias_mean.numel()


def _draw(mean: Tensor, logvar: Tensor, generator: torch.Generator | None) -> Tensor:
    """One normal draw of a parameter."""
    if generator is None:
        noise = torch.randn_like(mean)
    else:
        noise = torch.randn(mean.shape, generator=generator).to(mean)
    return mean + torch.exp(0.5 * logvar) * noise
