"""Failed windows: how they are counted, so that a failure never helps the arm that failed.

The candidate's count as twice the largest loss seen, or are left out: the graver finding stands.
Legacy's are left out, so that nothing is shown by losses that nobody saw; a REJECT must also hold
where they count as twice the largest loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.evidence.comparison import Comparison, FailedAs
from harness.evidence.estimand import Question
from harness.evidence.pairing import Pair, counted, worst_of
from harness.scoring.scores import Flags

Ask = Callable[[Pair, Question], Comparison]
"""What puts a question to a pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A pair whose failed windows are counted in one way.

    Attributes
    ----------
    whole
        As it was paired, for the number of failures.
    pair
        What is compared.
    candidate, legacy
        What the failed windows of each side were counted as.
    """

    whole: Pair
    pair: Pair
    candidate: FailedAs
    legacy: FailedAs

    def asked(self, question: Question, ask: Ask) -> Comparison:
        """Put a question to it."""
        return dataclasses.replace(
            ask(self.pair, question),
            candidate_failed=int((~self.whole.candidate_ok).sum()),
            legacy_failed=int((~self.whole.legacy_ok).sum()),
            candidate_failed_as=self.candidate,
            legacy_failed_as=self.legacy,
        )


def readings(both: Pair, question: Question, *, legacy: FailedAs = "out") -> list[Reading]:
    """Count failed windows in every way that is asked for, the first one first among equals.

    Parameters
    ----------
    legacy
        What legacy's failed windows are counted as: ``out`` or ``worst``. A coverage is the
        candidate's alone, whatever legacy failed.
    """
    if question.scale == "share" and not question.wins:
        legacy = ""
    theirs = legacy if not both.legacy_ok.all() else ""
    return [
        _reading(both, question, ours, theirs)
        for ours in (_ways(question) if not both.candidate_ok.all() else ("",))
    ]


def _ways(question: Question) -> tuple[FailedAs, ...]:
    if question.wins:
        return ("lost", "out")
    return ("missed", "covered", "out") if question.scale == "share" else ("worst", "out")


def _reading(both: Pair, question: Question, ours: FailedAs, theirs: FailedAs) -> Reading:
    worst = worst_of(both)
    values: dict[FailedAs, float | None] = {"worst": worst, "missed": 0.0, "covered": 1.0}
    left: Flags = np.zeros(len(both.origin), dtype=bool)
    for way, fine in ((ours, both.candidate_ok), (theirs, both.legacy_ok)):
        if way == "out":
            left |= ~fine.all(axis=0)
    made = counted(both, candidate=values.get(ours), legacy=values.get(theirs), out=left)
    return Reading(whole=both, pair=made, candidate=ours, legacy=theirs)
