"""Chronos-T5: a distribution over tokens, drawn path by path.

Every window is drawn with the same uniform numbers [M, P] of a private generator, so a forecast
depends neither on what else is in the batch nor on the global random state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from candidates.replacement.backbone_input import History
from candidates.replacement.levels import draws_for
from harness.errors import ArmError

CACHE_BYTES = 1 << 27
"""What the decoder may keep of the encoded histories at once."""

SCORES = 1 << 24
"""How many scores of tokens are held at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Encoded histories of N series, and what turns tokens back into values."""

    states: Tensor
    mask: Tensor
    scale: Tensor

    def rows(self, index: Tensor) -> Encoded:
        """Some series, each as often as it is named."""
        return Encoded(states=self.states[index], mask=self.mask[index], scale=self.scale[index])


class T5(nn.Module):
    """A Chronos-T5 pipeline, with gradients.

    Attributes
    ----------
    samples
        Least paths of a forecast.
    """

    reads_covariates = False
    reads_tokens = draws_tokens = True
    levels: tuple[float, ...] = ()

    def __init__(self, pipeline: Any, *, samples: int, seed: int) -> None:
        super().__init__()
        config = pipeline.model.config
        if config.model_type != "seq2seq":
            raise ArmError(f"a Chronos of type '{config.model_type}': expected 'seq2seq'")
        self.model: Any = pipeline.inner_model
        self.samples, self.seed = samples, seed
        self._tokenizer, self._config = pipeline.tokenizer, config
        self._block: int = config.prediction_length

    def head(self) -> nn.Module:
        """The output layer."""
        return self.model.lm_head  # type: ignore[no-any-return]  # a module

    def quantiles(self, history: History, levels: Sequence[float]) -> Tensor:
        """Quantiles [B, P, nt, Q] in order, of the mean of the paths' distributions at each step.

        Gradients go through the distributions, not through the choice of the paths.
        """
        count = max(self.samples, draws_for(levels))
        size = max(1, self._rows_at_once(history.rows.shape[1]) // count)
        parts = []  # [N, P, Q] of a few series each
        for series in history.rows.split(size):
            blocks, at_steps = list[Tensor](), list[Tensor]()
            for steps, uniforms, context in self._blocks(series, history.horizon, count, blocks):
                encoded = self._encode(context)
                with torch.no_grad():
                    tokens = self._draw(encoded, steps, uniforms)
                    blocks.append(self._values(tokens, encoded.scale).to(series.device))
                chances = self._chances(encoded, tokens)  # [N, P, bins]
                at_steps.append(self._invert(chances, levels) * encoded.scale[:, None, None])
            parts.append(torch.cat(at_steps, dim=1).to(series.device))
        found: Tensor = torch.cat(parts).unflatten(0, history.targets.shape[:2])
        return found.transpose(1, 2)

    @torch.no_grad()
    def paths(self, series: Tensor, horizon: int, count: int) -> Tensor:
        """Sample paths [N, M, P] of series [N, T]."""
        size = max(1, self._rows_at_once(series.shape[1]) // count)
        found = []
        for part in series.split(size):
            blocks: list[Tensor] = []
            for steps, uniforms, context in self._blocks(part, horizon, count, blocks):
                encoded = self._encode(context)
                tokens = self._draw(encoded, steps, uniforms)
                blocks.append(self._values(tokens, encoded.scale).to(series.device))
            found.append(torch.cat(blocks, dim=-1))
        return torch.cat(found)

    def loss(self, context: Tensor, truth: Tensor) -> Tensor:
        """Mean cross-entropy of the true tokens, of [N, T] and [N, H]; NaN is left out."""
        tokens, mask, scale = self._tokenizer.context_input_transform(context.cpu())
        steps = min(truth.shape[1], self._block)
        missing = truth.new_full((len(truth), self._block - steps), torch.nan)
        padded = torch.cat([truth[:, :steps], missing], dim=1).cpu()
        labels, known = self._tokenizer.label_input_transform(padded, scale)
        labels = labels.masked_fill(~known, -100)[:, :steps].contiguous()  # without the end
        device = self.model.device
        found: Tensor = self.model(
            input_ids=tokens.to(device), attention_mask=mask.to(device), labels=labels.to(device)
        ).loss
        return found

    def _blocks(self, series: Tensor, horizon: int, count: int, drawn: list[Tensor]) -> Any:
        """Steps, uniform numbers [M, P] and context of each block of at most its own reach.

        A further block follows the median of the paths so far, as in the library's pipeline.
        """
        generator = torch.Generator().manual_seed(self.seed)
        uniforms = torch.rand(horizon, count, generator=generator, dtype=torch.float64).T
        context = series
        for start in range(0, horizon, self._block):
            if drawn:
                context = torch.cat([context, drawn[-1].median(dim=1).values], dim=-1)
            stop = min(start + self._block, horizon)
            yield stop - start, uniforms[:, start:stop], context

    def _encode(self, context: Tensor) -> Encoded:
        tokens, mask, scale = self._tokenizer.context_input_transform(context.float().cpu())
        device = self.model.device
        tokens, mask = tokens.to(device), mask.to(device)
        states = self.model.get_encoder()(input_ids=tokens, attention_mask=mask).last_hidden_state
        return Encoded(states=states, mask=mask, scale=scale.to(device))

    def _draw(self, encoded: Encoded, steps: int, uniforms: Tensor) -> Tensor:
        """Tokens [N, M, P], by inverting the distribution of each step at its uniform number."""
        series, count = len(encoded.states), len(uniforms)
        index = torch.arange(series, device=encoded.states.device).repeat_interleave(count)
        given = uniforms.repeat(series, 1).to(encoded.states.device)  # [N * M, P]
        size = self._rows_at_once(encoded.states.shape[1])
        parts = [
            self._draw_rows(encoded.rows(rows), steps, chosen)
            for rows, chosen in zip(index.split(size), given.split(size), strict=True)
        ]
        tokens: Tensor = torch.cat(parts).unflatten(0, (series, count))
        return tokens

    def _draw_rows(self, encoded: Encoded, steps: int, uniforms: Tensor) -> Tensor:
        from transformers.modeling_outputs import BaseModelOutput

        states = BaseModelOutput(last_hidden_state=encoded.states)
        start = self.model.config.decoder_start_token_id
        tokens, cache = [torch.full((len(uniforms), 1), start, device=uniforms.device)], None
        for step in range(steps):
            answer = self.model(
                encoder_outputs=states,
                attention_mask=encoded.mask,
                decoder_input_ids=tokens[-1],
                past_key_values=cache,
                use_cache=True,
            )
            cache = answer.past_key_values
            whole = self._warped(answer.logits[:, -1]).double().cumsum(-1)  # [rows, V]
            wanted = uniforms[:, step : step + 1] * whole[:, -1:]
            tokens.append(
                torch.searchsorted(whole, wanted, right=True).clamp_max(whole.shape[1] - 1)
            )
        return torch.cat(tokens[1:], dim=1)

    def _chances(self, encoded: Encoded, tokens: Tensor) -> Tensor:
        """Mean over the paths of each step's distribution over bins, [N, P, bins]."""
        from transformers.modeling_outputs import BaseModelOutput

        series, count, steps = tokens.shape
        size = max(1, SCORES // (series * steps * self._config.n_tokens))
        total: Any = 0.0
        for part in tokens.split(size, dim=1):  # [N, some, P]
            index = torch.arange(series, device=tokens.device).repeat_interleave(part.shape[1])
            rows = encoded.rows(index)
            start = part.new_full((len(index), 1), self.model.config.decoder_start_token_id)
            logits = self.model(
                encoder_outputs=BaseModelOutput(last_hidden_state=rows.states),
                attention_mask=rows.mask,
                decoder_input_ids=torch.cat([start, part.flatten(0, 1)[:, :-1]], dim=1),
                use_cache=False,
            ).logits
            total = total + self._warped(logits).unflatten(0, (series, -1)).sum(dim=1)
        bins: Tensor = total.new_zeros(series, steps, len(self._tokenizer.centers))
        place = torch.arange(total.shape[-1], device=total.device) - self._config.n_special_tokens
        # special tokens count for the lowest bin, as in the library
        place = (place - 1).clamp(0, len(self._tokenizer.centers) - 1)
        return bins.index_add(2, place, total / count)

    def _warped(self, logits: Tensor) -> Tensor:
        """Chances of the tokens under the checkpoint's temperature, top k and top p.

        A path never ends early, so its end is never drawn.
        """
        config = self._config
        scores = logits.float() / config.temperature
        end = torch.arange(scores.shape[-1], device=scores.device) == config.eos_token_id
        scores = scores.masked_fill(end, -torch.inf)
        if config.top_k:
            least = scores.topk(min(config.top_k, scores.shape[-1]), dim=-1).values[..., -1:]
            scores = scores.masked_fill(scores < least, -torch.inf)
        if config.top_p < 1.0:
            rising, order = scores.sort(dim=-1)
            outside = rising.softmax(-1).cumsum(-1) <= 1.0 - config.top_p
            outside[..., -1] = False
            scores = scores.masked_fill(outside.gather(-1, order.argsort(-1)), -torch.inf)
        chances: Tensor = scores.softmax(-1)
        return chances

    def _values(self, tokens: Tensor, scale: Tensor) -> Tensor:
        """Values of tokens [N, M, P]."""
        centers = self._tokenizer.centers.to(tokens.device)
        last = len(centers) - 1
        found: Tensor = centers[(tokens - self._config.n_special_tokens - 1).clamp(0, last)]
        return found * scale[:, None, None]

    def _invert(self, chances: Tensor, levels: Sequence[float]) -> Tensor:
        """Quantiles [N, P, Q] of distributions over bins, even inside each bin."""
        centers = self._tokenizer.centers.to(chances.device)
        inner = (centers[1:] + centers[:-1]) / 2
        edges = torch.cat([2 * centers[:1] - inner[:1], inner, 2 * centers[-1:] - inner[-1:]])
        whole = chances.cumsum(-1)
        whole = whole / whole[..., -1:]
        wanted = torch.tensor(levels, dtype=whole.dtype, device=whole.device)
        wanted = wanted.expand(*whole.shape[:-1], -1).contiguous()
        place = torch.searchsorted(whole.detach(), wanted).clamp_max(len(centers) - 1)
        upper = whole.gather(-1, place)
        lower = torch.where(place > 0, whole.gather(-1, (place - 1).clamp_min(0)), 0.0)
        share = ((wanted - lower) / (upper - lower).clamp_min(1e-12)).clamp(0.0, 1.0)
        return edges[place] + share * (edges[place + 1] - edges[place])

    def _rows_at_once(self, length: int) -> int:
        """Paths whose decoder may keep its keys and values of the history at once."""
        config = self.model.config
        layers = config.num_decoder_layers or config.num_layers
        each = 2 * 4 * layers * config.num_heads * config.d_kv * (length + 1)
        return int(max(1, CACHE_BYTES // each))
