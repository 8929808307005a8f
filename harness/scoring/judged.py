"""What a metric is given, and what is known of a metric.

Shapes: W windows, H steps, Q levels of the common grid, M samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harness.forecast import LEVELS
from harness.window import Array

Part = Literal["quantiles", "naive_square"]
_AT = {round(level * 1000): index for index, level in enumerate(LEVELS.tolist())}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A forecast beside what came, laid out for scoring.

    Attributes
    ----------
    truth, point : [W, H]
    naive_scale : [W]
        Mean absolute one-session change before the origin.
    naive_square : [W], optional
        Mean squared one-session change before the origin.
    quantiles : [Q, W, H], optional
        On `LEVELS`, not decreasing along the first axis.
    samples : [W, H, M], optional
        Increasing along the last axis; CRPS is taken from them when they are there.
    deviation : [W, H], optional
        Of a normal distribution around the point path; CRPS and PIT are exact when it is there.
    """

    truth: Array
    point: Array
    naive_scale: Array
    naive_square: Array | None = None
    quantiles: Array | None = None
    samples: Array | None = None
    deviation: Array | None = None

    def quantile(self, per_mille: int) -> Array:
        """One quantile [W, H]; the level in thousandths."""
        assert self.quantiles is not None
        row: Array = self.quantiles[_AT[per_mille]]
        return row

    def interval(self, level: int) -> tuple[Array, Array]:
        """Both ends [W, H] of the central interval of `level` per cent."""
        return self.quantile(500 - level * 5), self.quantile(500 + level * 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric and what to know of it.

    Attributes
    ----------
    unit
        ``target`` is the unit of the data.
    lower_is_better
        None where neither end is better (a signed error, a coverage).
    needs
        Parts of `Judged` without which it has no scores.
    function
        `Judged` to [W, H].
    """

    name: str
    unit: str
    lower_is_better: bool | None
    needs: tuple[Part, ...]
    function: Callable[[Judged], Array]

    @property
    def distribution(self) -> bool:
        """Whether it needs more than a point path."""
        return "quantiles" in self.needs

    def scores(self, judged: Judged) -> bool:
        """Whether what it needs is there."""
        return all(getattr(judged, part) is not None for part in self.needs)
