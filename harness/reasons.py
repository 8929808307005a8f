"""Reasons: why there is no number, no pair or no conclusion, as a code and plain values.

Below judging nobody makes sentences either: `reports.words.facts` says a reason in words, and no
record holds a phrase.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Plain = str | bool | int | float | tuple[str | int, ...]


class ReasonCode(StrEnum):
    """Every reason there can be; the values of each stand beside it."""

    # Why a comparison has no conclusion.
    ONE_ORIGIN = "one_origin"  # origins
    NO_NUMBER = "no_number"  # arm, missing, losses
    CONSTANT = "constant"
    NO_BOUNDS = "no_bounds"
    CROSSES = "crosses"
    METHODS_DISAGREE = "methods_disagree"  # test, bootstrap: conclusions
    SEEDS_DISAGREE = "seeds_disagree"  # said: a conclusion
    MAY_CLUSTER = "may_cluster"

    # Why two sides cannot be paired.
    NO_SCORES = "no_scores"
    NO_SCORES_OF = "no_scores_of"  # arm, dataset
    NO_METRIC = "no_metric"  # arm, dataset, seed, loss
    OTHER_DATASETS = "other_datasets"  # sides, datasets
    ORIGIN_TWICE = "origin_twice"  # this and the next four: sides, dataset, arm (the second one)
    OTHER_ORIGINS = "other_origins"
    OTHER_DATES = "other_dates"
    OTHER_STEPS = "other_steps"
    OTHER_ACTUALS = "other_actuals"
    NO_REFERENCE_ARM = "no_reference_arm"
    NO_QUANTILES = "no_quantiles"  # arm, dataset

    # Why a part cannot be cut out.
    NO_SLICE = "no_slice"  # slice, known, first, last
    SMALL_SLICE = "small_slice"  # slice, windows
    NO_STEPS = "no_steps"  # steps, slice

    # Why a diagnostic has no number.
    LOSSES_MISSING = "losses_missing"
    WINDOWS_MISSING = "windows_missing"  # windows, of
    FEW_ORIGINS = "few_origins"
    FEW_KNOWN = "few_known"  # least
    FEW_FOR_OVERLAP = "few_for_overlap"
    FEW_APART = "few_apart"  # origins

    # Why a cost has no ratio, or its figure is no evidence.
    NO_SESSION = "no_session"
    SESSION_UNREADABLE = "session_unreadable"  # said: an exception
    SESSION_FAILED = "session_failed"  # said: an exception
    NOT_IN_SESSION = "not_in_session"
    NOTHING_OF_KIND = "nothing_of_kind"  # cost, sides
    NO_PEAKS = "no_peaks"  # said: of the system
    NOTHING_TIMED = "nothing_timed"  # arm
    TIMED_OTHERWISE = "timed_otherwise"  # arm, mode, by, unit, elsewhere
    REMEMBERS_INPUTS = "remembers_inputs"  # arm, share
    MACHINE_BUSY = "machine_busy"  # when, others, cores, most
    HOST_BUSY = "host_busy"  # when, taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason, with its numbers and names."""

    code: ReasonCode
    values: Mapping[str, Plain] = field(default_factory=dict)

    def __str__(self) -> str:
        said = ", ".join(f"{name} {value}" for name, value in self.values.items())
        return self.code.value.replace("_", " ") + (f" ({said})" if said else "")


def reason(code: ReasonCode, /, **values: Plain) -> Reason:
    """Make a reason with its values by name."""
    return Reason(code=code, values=values)
