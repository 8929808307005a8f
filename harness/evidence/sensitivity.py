"""Sensitivity: whether a conclusion changes when what should not matter is changed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.evidence.estimates import Conclusion, Question, Sides, agreed, deciding
from harness.window import Rows

INFLUENTIAL = 0.05
"""Share of the windows that is left out: those that pull hardest, either way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """The same question answered another way.

    Attributes
    ----------
    name
        ``without_influential``, ``half_lengths`` or ``double_lengths`` (of lag and block).
    n
        Origins used.
    effect, lower, upper
        As in the first estimate; None where it has none.
    conclusion
        What the methods agree on.
    """

    name: str
    n: int
    effect: float | None
    lower: float | None
    upper: float | None
    conclusion: Conclusion


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """How a conclusion fares under variations; it is shown and decides nothing.

    Attributes
    ----------
    variations
        Each answer.
    changed
        Names of those whose conclusion is another one.
    """

    variations: tuple[Variation, ...]
    changed: tuple[str, ...]


def vary(
    sides: Sides, question: Question, *, lag: int, block: int, conclusion: Conclusion
) -> Sensitivity:
    """Answer again without the most influential windows, and with other lags and blocks.

    Parameters
    ----------
    lag, block, conclusion
        Of the answer itself.
    """
    count = sides.above.shape[1]
    kept = sides.at(least_influential(sides))
    made = (
        _variation("without_influential", kept, question),
        _variation("half_lengths", sides, question, lag=lag // 2, block=max(1, block // 2)),
        _variation(
            "double_lengths",
            sides,
            question,
            lag=min(count - 1, 2 * lag),
            block=max(1, min(count // 2, 2 * block)),
        ),
    )
    return Sensitivity(
        variations=made,
        changed=tuple(each.name for each in made if each.conclusion != conclusion),
    )


def least_influential(sides: Sides) -> Rows:
    """Rows of all windows but the `INFLUENTIAL` share that pull the effect hardest.

    The pull of a window is the size of ``candidate - ratio * legacy`` there, to which the change
    of the ratio without it is proportional. At least two windows stay.
    """
    pull = np.abs(sides.difference)
    out = min(math.ceil(INFLUENTIAL * len(pull)), len(pull) - 2)
    kept: Rows = np.sort(np.argsort(-pull, kind="stable")[max(0, out) :])
    return kept


def _variation(
    name: str,
    sides: Sides,
    question: Question,
    *,
    lag: int | None = None,
    block: int | None = None,
) -> Variation:
    estimates = deciding(sides, question, lag=lag, block=block)
    first = estimates[0]
    return Variation(
        name=name,
        n=first.n,
        effect=first.effect,
        lower=first.lower,
        upper=first.upper,
        conclusion=agreed(estimates)[0],
    )
