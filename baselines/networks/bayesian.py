"""BayesianEnhancedAutoformer: an Enhanced network under a random last layer or dropout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks.config import NetworkConfig, NetworkConfigError, Repairs
from baselines.networks.enhanced import EnhancedAutoformer, require_fit
from baselines.networks.spread import Draws, details, report
from baselines.networks.twins import apart, keep_apart

INITIAL_LOG_VARIANCE, INITIAL_SPREAD = -5.0, 0.1  # of random weights, and of their means
DEFAULT_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
INPUT_DROPOUT = OUTPUT_DROPOUT = 0.1
DRAW_SEED = 0  # of the private generator, where draws are repaired to be private
PASSES_AT_ONCE = 4  # of an uncertainty call; what it holds at a time does not depend on n_samples

Inputs = tuple[Tensor, Tensor | None, Tensor, Tensor | None]
Criterion = Callable[[Tensor, Tensor], Tensor]


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


class BayesianEnhancedAutoformer(nn.Module):
    """BayesianEnhancedAutoformer, faithful to the fork unless a repair says otherwise.

    Parameters
    ----------
    config : NetworkConfig
        `c_out` is the number of targets times that of levels where there are several levels, and
        not read otherwise.
    uncertainty_method
        "bayesian": the decoder's last linear map is random, in train and eval alike;
        "dropout": inputs and outputs are dropped at random, in train and eval alike.
    n_samples
        Passes of an uncertainty call.
    bayesian_layers
        ("projection",), or nothing for no random layer.
    kl_weight
        Factor on the summed KL divergence.
    use_quantiles, quantile_levels
        Levels: the argument, else the config's, else five default ones if `use_quantiles`.

    Raises
    ------
    NetworkConfigError
        The sizes or options do not fit together; the message names the fields.
    """

    def __init__(
        self,
        config: NetworkConfig,
        repairs: Repairs | None = None,
        uncertainty_method: Literal["bayesian", "dropout"] = "bayesian",
        n_samples: int = 50,
        bayesian_layers: Sequence[str] = ("projection",),
        kl_weight: float = 1e-5,
        use_quantiles: bool = False,
        quantile_levels: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        repairs = repairs or Repairs()
        if uncertainty_method not in ("bayesian", "dropout"):
            raise NetworkConfigError(
                f"uncertainty_method: found {uncertainty_method!r}, wanted bayesian or dropout"
            )
        if not isinstance(n_samples, int) or n_samples < 1:
            raise NetworkConfigError(f"n_samples: found {n_samples!r}, wanted at least 1")
        if isinstance(bayesian_layers, str) or set(bayesian_layers) - {"projection"}:
            raise NetworkConfigError(
                f"bayesian_layers: found {bayesian_layers!r}, wanted ['projection'] or []"
            )
        levels = tuple(quantile_levels or config.quantile_levels)
        levels = levels or (DEFAULT_LEVELS if use_quantiles else ())
        width = config.c_out if len(levels) > 1 else config.targets  # else c_out is not read
        config = replace(config, quantile_levels=tuple(sorted(levels)), c_out=width)
        require_fit(config, repairs)
        self.config, self.repairs = config, repairs
        self.quantiles = config.quantile_levels
        self.uncertainty_method, self.n_samples = uncertainty_method, n_samples
        self.kl_weight = kl_weight
        base = replace(config, quantile_levels=(), c_out=config.targets)
        self.base_model = EnhancedAutoformer(base, repairs)
        if len(levels) > 1:
            self.quantile_expansion = nn.Linear(config.targets, config.c_out)
            if repairs.free_quantiles:
                self.quantile_features = nn.Linear(config.d_model, config.c_out, bias=False)
        elif repairs.observation_noise:
            self.observation_logvar = nn.Parameter(torch.zeros(config.c_out))
        if uncertainty_method == "bayesian" and bayesian_layers:
            self._randomise_head(repairs)

    def _randomise_head(self, repairs: Repairs) -> None:
        head = self.base_model.decoder.projection
        assert isinstance(head, nn.Linear)
        self.base_model.decoder.projection = BayesianLinear(
            head, inherit=repairs.inherited_head, mean_in_eval=repairs.mean_in_eval
        )

    def forward(
        self,
        x_enc: Tensor,
        x_mark_enc: Tensor | None,
        x_dec: Tensor,
        x_mark_dec: Tensor | None,
        return_uncertainty: bool = False,
        detailed_uncertainty: bool = False,
    ) -> Tensor | dict[str, Any]:
        """Forecast the horizon, or describe repeated forecasts.

        Parameters
        ----------
        x_enc, x_mark_enc, x_dec, x_mark_dec
            As for `EnhancedAutoformer`.
        return_uncertainty
            The fifth positional argument; a mask there raises, as in the original (B-30), or is
            ignored where that is repaired.
        detailed_uncertainty
            Adds the samples and a split of the variance.

        Returns
        -------
        [B, pred_len, c_out], or a dict of such tensors and of dicts of them.
        """
        inputs = (x_enc, x_mark_enc, x_dec, x_mark_dec)
        masked = self.repairs.mask_in_fifth_place and isinstance(return_uncertainty, Tensor)
        if not masked and return_uncertainty:
            return self.describe(inputs, detailed=detailed_uncertainty)
        random = self.training or not self.repairs.mean_in_eval
        generator = self._generator() if random and not self.training else None
        return self._finish(*self._features(inputs, random), random, generator)

    def describe(self, inputs: Inputs, *, detailed: bool = False) -> dict[str, Any]:
        """Repeat the forecast `n_samples` times and describe the spread; see `spread.report`.

        In eval, where gradients are plain and the noise is learned, only running moments are
        kept, so memory does not grow with `n_samples`. `detailed` asks for the samples
        themselves, and so does the original, whose intervals are their quantiles: those grow.
        """
        repairs = self.repairs
        quiet = repairs.plain_gradients and not self.training
        with torch.no_grad() if quiet else nullcontext():
            with self._dropping() if self.uncertainty_method == "dropout" else nullcontext():
                if quiet and repairs.observation_noise and not detailed:
                    draws = Draws.streamed(self._parts(inputs), repairs)
                else:
                    draws = Draws.kept(torch.cat(list(self._parts(inputs))), repairs)
            noise = self._noise()
            found = report(draws, self.quantiles, noise, repairs)
            return found | (details(draws, noise, repairs) if detailed else {})

    def _noise(self) -> Tensor | None:
        """Variance of an observation [c_out]; 0 where quantiles already describe it."""
        if not self.repairs.observation_noise:
            return None
        if len(self.quantiles) > 1:
            return self.quantile_expansion.weight.new_zeros(self.config.c_out)
        return self.observation_logvar.exp()

    def _generator(self) -> torch.Generator | None:
        """A generator of its own where draws are private, else None: torch's global one."""
        private = self.repairs.private_draws
        return torch.Generator().manual_seed(DRAW_SEED) if private else None

    def _features(self, inputs: Inputs, random: bool) -> tuple[Tensor, Tensor]:
        """Everything before the last layer: features [B, P, d] and trend [B, P, nt]."""
        x_enc, x_mark_enc, x_dec, x_mark_dec = inputs
        if self.uncertainty_method == "dropout" and random:
            x_enc = functional.dropout(x_enc, INPUT_DROPOUT, training=True)
        return self.base_model.features(x_enc, x_mark_enc, x_dec, x_mark_dec)

    def _finish(
        self, features: Tensor, trend: Tensor, random: bool, generator: torch.Generator | None
    ) -> Tensor:
        """Last layer, output dropout, quantiles: [B, P, c_out]."""
        head = self.base_model.decoder.projection
        if isinstance(head, BayesianLinear) and random:
            output: Tensor = trend + head.sampled(features, generator)
        else:
            output = self.base_model.project(features, trend)
        method, clean = self.uncertainty_method, self.repairs.clean_outputs
        if method == "dropout" and random and not clean:
            output = functional.dropout(output, OUTPUT_DROPOUT, training=True)
        return self._in_levels(output, features)

    def _in_levels(self, output: Tensor, features: Tensor) -> Tensor:
        """The targets [.., nt] spread over their quantiles [.., c_out], where there are several.

        `features` [B, P, d] are what the last layer was given.
        """
        if len(self.quantiles) < 2:
            return output
        output = self.quantile_expansion(output)
        if self.repairs.free_quantiles:
            output = output + self.quantile_features(features)
        if self.repairs.ordered_quantiles:
            grouped = output.unflatten(-1, (-1, len(self.quantiles)))
            output = grouped.sort(dim=-1).values.flatten(-2)
        return output

    def _parts(self, inputs: Inputs) -> Iterator[Tensor]:
        """All passes of an uncertainty call, some at a time: [k, B, P, C]."""
        if self.uncertainty_method != "dropout":
            yield from self._weight_parts(inputs)
            return
        for _ in range(self.n_samples):
            yield self._finish(*self._features(inputs, random=True), True, None).unsqueeze(0)

    def _weight_parts(self, inputs: Inputs) -> Iterator[Tensor]:
        """Passes over draws of the weights; features alike in every pass are computed once.

        In the original the first pass records a graph whatever the caller said, the others
        never do.
        """
        plain, generator, shared = self.repairs.plain_gradients, self._generator(), None
        alike = not any(isinstance(m, nn.Dropout) and m.training and m.p for m in self.modules())
        for index, size in enumerate(self._part_sizes(alike)):
            with nullcontext() if plain else torch.set_grad_enabled(index == 0):
                if shared is None or not alike:
                    shared = self._features(inputs, random=True)
                part = self._drawn(*shared, size, generator)
            yield part

    def _part_sizes(self, alike: bool) -> list[int]:
        """How many passes are made at once; the first stands alone, for its graph."""
        if not alike:
            return [1] * self.n_samples
        whole, left = divmod(self.n_samples - 1, PASSES_AT_ONCE)
        return [1] + [PASSES_AT_ONCE] * whole + [left] * (left > 0)

    def _drawn(
        self, features: Tensor, trend: Tensor, passes: int, generator: torch.Generator | None
    ) -> Tensor:
        """As many draws of the last layer on the same features: [passes, B, P, c_out]."""
        head = self.base_model.decoder.projection
        if isinstance(head, BayesianLinear):
            output = trend + head.sampled_often(features, passes, generator)
        else:
            output = self.base_model.project(features, trend).expand(passes, -1, -1, -1)
        return self._in_levels(output, features)

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        """Train mode for the passes of the dropout method, then eval or what was before."""
        modes = {name: module.training for name, module in self.named_modules()}
        ambient = torch.is_grad_enabled() and self.repairs.plain_gradients
        try:
            self.train()
            with self._private(), torch.set_grad_enabled(ambient):
                yield
        finally:
            self.eval()
            if self.repairs.keeps_mode:
                for name, module in self.named_modules():
                    module.training = modes[name]

    @contextmanager
    def _private(self) -> Iterator[None]:
        """Draws that leave the global generators of all devices in use alone, where repaired."""
        devices = [p.device for p in self.parameters() if p.device.type == "cuda"][:1]
        with torch.random.fork_rng(devices=devices, enabled=self.repairs.private_draws):
            if self.repairs.private_draws:
                torch.manual_seed(DRAW_SEED)
            yield

    def random_layers(self) -> list[BayesianLinear]:
        """The layers with random weights."""
        return [module for module in self.modules() if isinstance(module, BayesianLinear)]

    def get_kl_loss(self) -> Tensor:
        """KL divergence times `kl_weight`; a tensor, 0 where no layer is random."""
        layers = self.random_layers()
        total = sum((layer.kl() for layer in layers), start=torch.zeros(()))
        if self.repairs.scaled_kl and layers:
            total = total / sum(layer.weights() for layer in layers)
        return total * self.kl_weight

    def compute_loss(
        self,
        prediction: Tensor,
        target: Tensor,
        criterion: Criterion,
        return_components: bool = False,
    ) -> Tensor | dict[str, Tensor]:
        """Criterion plus weighted KL; with components data_loss, kl_contribution, total_loss.

        Where observation noise is repaired, its likelihood is added; it moves the noise only.
        """
        data, kl = criterion(prediction, target), self.get_kl_loss()
        total = data + kl
        if self.repairs.observation_noise and len(self.quantiles) < 2:
            logvar, error = self.observation_logvar, (target - prediction).detach()
            total = total + 0.5 * (logvar + error.square() * torch.exp(-logvar)).mean()
        if return_components:
            return {"data_loss": data, "kl_contribution": kl, "total_loss": total}
        return total

    def configure_optimizer_loss(self, criterion: Criterion) -> Callable[[Tensor, Tensor], Any]:
        """The criterion with the KL term added, for a training loop that knows none."""
        return lambda prediction, target: self.compute_loss(prediction, target, criterion)
