"""The batch of each step, a pure function of recipe, seed and step.

Nothing random is carried from step to step, so a run that goes on from a checkpoint sees exactly
the series it would have seen. Shapes: B series, T context values, H steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from candidates.pretraining.mixture import draw_pool
from candidates.pretraining.recipe import Recipe

TARGET_LIMIT = 30.0
"""Targets are cut at so many standard deviations of their context."""

_POOLS, _SHORTENING = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Series cut in two.

    Attributes
    ----------
    context : [B, T]
        NaN in front where it was shortened.
    target : [B, H]
    """

    context: Tensor
    target: Tensor


@dataclass(slots=True, kw_only=True)
class Batches:
    """Makes batches; keeps the pool it is reading, which it can draw again."""

    recipe: Recipe
    device: str = "cpu"
    _pool: Tensor | None = field(default=None, init=False, repr=False)
    _number: int = field(default=-1, init=False, repr=False)

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""
        settings = self.recipe.training
        number, place = divmod(step, settings.pool // settings.batch)
        pool = self._pool_of(number)
        rows = pool[place * settings.batch : (place + 1) * settings.batch]
        size = self.recipe.network.context
        context = self._shortened(rows[:, :size].clone(), step)
        return Batch(context=context, target=within_reach(context, rows[:, size:]))

    def _pool_of(self, number: int) -> Tensor:
        if self._pool is None or number != self._number:
            self._pool = None  # two at a time need twice the memory
            self._pool = draw_pool(
                self._generator(_POOLS, number, self.device),
                self.recipe.training.pool,
                length=self.recipe.length,
                mixture=self.recipe.mixture,
            )
            self._number = number
        return self._pool

    def _shortened(self, context: Tensor, step: int) -> Tensor:
        """Hide the front of the whole batch, for a share of the steps."""
        settings, size = self.recipe.training, self.recipe.network.context
        rng = self._generator(_SHORTENING, step, "cpu")
        if torch.rand((), generator=rng).item() >= settings.shortened:
            return context
        length = int(torch.randint(settings.least, size + 1, (), generator=rng).item())
        context[:, : size - length] = float("nan")
        return context

    def _generator(self, kind: int, number: int, device: str) -> Generator:
        """A generator of its own for each pool and step."""
        import numpy as np

        words = np.random.SeedSequence([self.recipe.training.seed, kind, number])
        state = int(words.generate_state(1, np.uint64)[0]) >> 1  # torch takes 63 bits on a GPU
        return Generator(device=device).manual_seed(state)


def scale_of(context: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a context [B, T] as Chronos-Bolt takes them, [B, 1] each."""
    mean = torch.nanmean(context, dim=1, keepdim=True)
    deviation = ((context - mean) ** 2).nanmean(dim=1, keepdim=True).sqrt()
    return mean, torch.where(deviation == 0, 1e-5, deviation)


def within_reach(context: Tensor, target: Tensor) -> Tensor:
    """Cut targets [B, H] at 30 standard deviations of the context around its mean."""
    mean, deviation = scale_of(context)
    standard = (target - mean) / deviation
    return standard.clamp(-TARGET_LIMIT, TARGET_LIMIT) * deviation + mean
