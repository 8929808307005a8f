"""A rule judged: its numbers and one plain sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from harness.comparison import Comparison

FindingRole = Literal["guardrail", "success", "limit"]


class Outcome(StrEnum):
    """What may be concluded, gravest first."""

    INVALID = "INVALID"
    REJECT = "REJECT"
    HOLD = "HOLD"
    PROMOTE = "PROMOTE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule on one dataset, judged.

    Attributes
    ----------
    id
        ``dataset:metric:role``, unique in a verdict; ``dataset:failures:limit`` for a limit.
    metric, dataset, role
        What was judged.
    outcome
        Guardrail: PROMOTE (shown within its margin), REJECT (shown beyond), HOLD or INVALID.
        Success: PROMOTE (gain shown) or HOLD. Limit: PROMOTE, REJECT or INVALID.
    bound
        The number the rule compares with: margin or tolerance as a signed share, or the limit.
    value
        The number found: the effect as a share, or a count.
    comparison
        All numbers; None for a limit, and where nothing could be compared.
    sentence
        What was found, written from the numbers.
    """

    id: str
    metric: str
    dataset: str
    role: FindingRole
    outcome: Outcome
    bound: float
    value: float | None
    comparison: Comparison | None
    sentence: str
