"""The quantiles behind the last forecast in training, until its loss is taken."""

from __future__ import annotations

from typing import Any

from torch import Tensor


class Remembered:
    """Holds one tensor; copies and pickles are empty, because a graph cannot be copied."""

    def __init__(self) -> None:
        self.quantiles: Tensor | None = None

    def take(self) -> Tensor | None:
        """Give the tensor away."""
        found, self.quantiles = self.quantiles, None
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return Remembered, ()
