"""What replacing one arm by another costs or saves: ratios with intervals, and how to take them.

Every ratio here is candidate over baseline. The figures come from paired sessions in fresh
processes (`harness.measure`); this module only holds them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.reasons import Reason, ReasonCode, reason

CRITERIA = {
    "latency": "s",
    "throughput": "windows/s",
    "peak_memory": "bytes",
    "fit_time": "s",
    "load_time": "s",
    "checkpoint_bytes": "bytes",
    "code_lines": "lines",
}
"""Costs a criterion may name, with the unit of their absolute values."""

TIMED = ("latency", "throughput", "fit_time", "load_time")
"""Those that a loaded machine or an overlap makes worthless."""

HIGHER_IS_BETTER = ("throughput",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One cost of both arms, and their ratio.

    Attributes
    ----------
    criterion
        A key of `CRITERIA`.
    unit
        Of `baseline` and `candidate`, the absolute values: shown, never judged.
    ratio
        Candidate over baseline; None where there is none, and `reasons` say why.
    low, high
        Two-sided 95 % interval of the ratio; None with a single pair. A figure that does not
        vary (bytes of a file, lines) has ``low == ratio == high``.
    log_se, df
        Standard error and degrees of freedom of the logarithm of the ratio, for other levels.
    noise_floor
        How far from 1 two identical processes of the baseline may seem to be, as a share
        (0.02 is 2 %), found in the same session. None where nothing varies.
    n
        Pairs: of fresh processes, or of fits.
    valid
        Whether the figure is evidence. False on a loaded machine, after an overlap, for an arm
        that forecasts something else when timed or that remembers inputs; and without a ratio.
    reasons
        Why there is no ratio, or why it is no evidence; empty otherwise.
    """

    criterion: str
    unit: str
    baseline: float | None = None
    candidate: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    log_se: float | None = None
    df: float | None = None
    noise_floor: float | None = None
    n: int = 0
    valid: bool = False
    reasons: tuple[Reason, ...] = ()

    def __post_init__(self) -> None:
        if self.valid and self.ratio is None:
            raise ValueError(f"{self.criterion}: a cost without a ratio is no evidence")
        if not self.valid and not self.reasons:
            raise ValueError(f"{self.criterion}: what is no evidence needs a reason")

    @property
    def higher_is_better(self) -> bool:
        """Whether more of it is better: a rate, not a cost."""
        return self.criterion in HIGHER_IS_BETTER

    @property
    def exact(self) -> bool:
        """Whether the ratio does not vary: counted, not timed."""
        return self.log_se == 0

    def worst(self, alpha: float) -> float | None:
        """Bound of how much worse the candidate may be, one-sided at error rate `alpha`.

        A share of the baseline: 0.05 is at most 5 % slower (a rate: at most 5 % fewer), negative
        is better by at least so much. None where the ratio has no interval.
        """
        return self._worse_by(alpha, side=1)

    def best(self, alpha: float) -> float | None:
        """As `worst`, but the other bound: at least so much worse."""
        return self._worse_by(alpha, side=-1)

    @property
    def differs(self) -> bool:
        """Whether the arms are told apart: interval and noise floor both leave 1 out."""
        if self.ratio is None or self.low is None or self.high is None:
            return False
        beyond = (
            abs(math.log(self.ratio)) > math.log1p(self.noise_floor or 0.0) if self.ratio else True
        )
        return beyond and not self.low <= 1 <= self.high

    def _worse_by(self, alpha: float, *, side: int) -> float | None:
        if self.ratio is None or self.log_se is None:
            return None
        if self.ratio == 0:
            return math.inf if self.higher_is_better else -1.0
        from scipy.special import ndtri, stdtrit

        quantile = float(stdtrit(self.df, 1 - alpha) if self.df else ndtri(1 - alpha))
        towards = -side if self.higher_is_better else side
        bound = self.ratio * math.exp(towards * self.log_se * quantile)
        return 1 - bound if self.higher_is_better else bound - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """All costs of one pair of arms on one class of machine.

    Attributes
    ----------
    items
        One per key of `CRITERIA`, always all of them.
    machine
        Facts about the machine; empty when nothing was measured.
    machine_class
        Digest of those facts; the folder of the record.
    measured_at
        ISO time; empty when nothing was measured.
    record
        File of the session's record inside the store; empty when nothing was measured.
    unreadable
        What is wrong with a record that is there; empty otherwise.
    """

    baseline: str
    candidate: str
    dataset: str
    items: Mapping[str, Cost]
    machine: Mapping[str, str] = field(default_factory=dict)
    machine_class: str = ""
    measured_at: str = ""
    record: str = ""
    unreadable: str = ""

    def __getitem__(self, criterion: str) -> Cost:
        return self.items[criterion]

    @classmethod
    def missing(cls, baseline: str, candidate: str, dataset: str, *, unreadable: str = "") -> Costs:
        """No figure at all: there is no record, or it cannot be read for the reason given."""
        why = reason(ReasonCode.NO_SESSION)
        if unreadable:
            why = reason(ReasonCode.SESSION_UNREADABLE, said=unreadable)
        return cls(
            baseline=baseline,
            candidate=candidate,
            dataset=dataset,
            items={each.criterion: each for each in untaken(why)},
            unreadable=unreadable,
        )


def untaken(why: Reason) -> tuple[Cost, ...]:
    """Every cost without a figure, for one reason."""
    return tuple(Cost(criterion=name, unit=unit, reasons=(why,)) for name, unit in CRITERIA.items())
