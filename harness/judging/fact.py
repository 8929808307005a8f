"""Facts: what judging found, as a code from one closed list and plain values.

Judging and the gate make no sentences. A fact says what was found; `reports.words` says it in
words. So a phrase may be reworded without touching a record, and nobody reads a phrase to learn
what was found.

Schema numbers of the records that hold facts (verdicts, what they were judged from, nights): 1, the
first; 2, causes of long memory and of late breaks, and steps of what to do next; 3, hits that
cluster; 4, arms that do not repeat themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from harness.errors import StoreError

SCHEMA = 4

Scalar = str | int | float | bool | None
Value = Scalar | tuple[Scalar, ...] | tuple[tuple[Scalar, ...], ...]
"""A number, a name, a list of names, or a list of such lists (cells, rules)."""


class FactCode(StrEnum):
    """Everything that judging and the gate can say; the values of each stand beside it."""

    # What a rule found. The values of those that were compared are in the finding's comparison.
    WITHIN = "within"
    BEYOND = "beyond"
    UNDECIDED = "undecided"
    FEW_ORIGINS = "few_origins"  # asked
    DEPENDS_ON_FAILED = "depends_on_failed"  # arm
    BEYOND_ALONE = "beyond_alone"  # adjusted, rules
    RECENTLY_BEYOND = "recently_beyond"
    NO_LOOK = "no_look"
    NOT_BEYOND_YET = "not_beyond_yet"  # level (None: no look), p
    SHOWN_BEFORE = "shown_before"  # since
    NOT_COMPARED = "not_compared"  # dataset, metric, part; code (problem) and values of a reason
    ALL_WINDOWS_FAILED = "all_windows_failed"  # dataset, metric, part, arm
    NO_LOSS_TO_SHARE = "no_loss_to_share"  # dataset, metric, part, arm, most
    NO_REFERENCE = "no_reference"  # dataset, metric, part
    FAILURES = "failures"  # dataset, side, arm, failed, windows, limit, kept
    COST_KEPT = "cost_kept"  # each of a cost: criterion, bound, ratio, low, high, noise
    COST_BROKEN = "cost_broken"
    COST_OPEN = "cost_open"
    COST_NOT_MEASURED = "cost_not_measured"  # command
    COST_WITHOUT_INTERVAL = "cost_without_interval"  # pairs, command
    COST_NOT_TAKEN = "cost_not_taken"  # problem, and its values
    COST_NO_EVIDENCE = "cost_no_evidence"  # problem, and its values

    # Why no conclusion is allowed.
    NOTHING_COMPARED = "nothing_compared"
    GRID_EMPTY = "grid_empty"
    GRID_WITHOUT_ARM = "grid_without_arm"  # arm, dataset
    CELLS_MISSING = "cells_missing"  # cells, declared
    CELL_TWICE = "cell_twice"  # arm, dataset, seed, times
    CELL_NOT_DECLARED = "cell_not_declared"  # arm, dataset, seed
    EVIDENCE_NOT_THERE = "evidence_not_there"  # dataset
    FEW_SEEDS = "few_seeds"  # asked, found
    FEWER_ORIGINS = "fewer_origins"  # dataset, asked, found
    OTHER_ACTUALS = "other_actuals"  # dataset
    OFF_STRIDE = "off_stride"  # arm, dataset, seed, stride
    READS_AHEAD = "reads_ahead"  # arm; because: the test that showed it
    FAILED_T10 = "failed_t10"  # arm
    ASKED_OTHERWISE = "asked_otherwise"  # arm, way, dataset, seed, at, apart
    NOT_REPEATABLE = "not_repeatable"  # arm, way, dataset, seed, at, apart
    UNIT_UNREADABLE = "unit_unreadable"  # arm, dataset, seed, problem
    SCORES_CONFLICT = "scores_conflict"  # arm, dataset, seed, verdicts
    SELF_TEST_FAILED = "self_test_failed"  # part; because: what it found

    # What allows a conclusion and must be known with it.
    IMPLAUSIBLE = "implausible"  # dataset, arm, reference, metric, skill, most, first (step)
    CONTAMINATED = "contaminated"  # dataset, arm, share, said
    PARTLY_COMPARED = "partly_compared"  # dataset, arm, reference, windows
    ONE_SEED = "one_seed"  # arm
    SEEN_IN_TRAINING = "seen_in_training"  # dataset, arm, until, origins, of, metric, effect
    ALL_SEEN_IN_TRAINING = "all_seen_in_training"  # dataset, arm, until, of
    HAND_PICKED_SEEDS = "hand_picked_seeds"  # ran, declared
    PART_GIVEN_UP = "part_given_up"  # arm, dataset, seed, why
    BELOW_REFERENCE = "below_reference"  # arm, reference, rows (see below)
    FAR_FROM_PRICES = "far_from_prices"  # dataset, arm, seed, middle, last
    LONG_MEMORY = "long_memory"  # where; memory, error, wider, done, stands, clusters, others
    NEARLY_BEYOND = "nearly_beyond"  # where; origins, since, effect, error, bound, others
    MEMBERS_READ = "members_read"  # dataset, arm, members, drawn, gap
    QUANTILES_CROSSED = "quantiles_crossed"  # dataset, arm, share
    FEW_ORIGINS_ASKED = "few_origins_asked"  # asked, sound
    NO_REFERENCE_ARM = "no_reference_arm"  # candidate, legacy
    CHANGED_SINCE = "changed_since"  # at, what, dropped, others (rule, before, now)
    STRAW_MAN = "straw_man"  # candidate, legacy, reference, rows
    WORSE_BESIDE = "worse_beside"  # arm, legacy, rows: by losses that no rule names
    COVERS_OTHERWISE = "covers_otherwise"  # arm; rows with the share covered, not a skill
    UNJUDGED = "unjudged"  # datasets
    PLACEBO_DOUBTS = "placebo_doubts"  # arm, dataset, reference, skill, placebo
    NOT_TESTED = "not_tested"  # arm, tests
    RECORDS_WORD = "records_word"  # arm
    WIDE_MARGINS = "wide_margins"  # rules (name, margin), most
    LAX_ALPHA = "lax_alpha"  # alpha, most
    LAX_IMPLAUSIBLE = "lax_implausible"  # skill, most
    BROAD_WAIVER = "broad_waiver"  # finding, waived
    LONG_WAIVER = "long_waiver"  # finding, until, days, most
    DATE_PAST = "date_past"  # date
    TRIED_BEFORE = "tried_before"  # attempt, since, what, share
    ATTEMPTS_USED = "attempts_used"  # attempt, since, origins: prospective ones that count
    RECORDS_LOST = "records_lost"  # at, why

    # What happened on the way.
    MAINTENANCE = "maintenance"  # arm, dataset, seed, day, changed, origins, equal, apart

    # What keeps a PROMOTE at HOLD though every rule holds. Rows are of dataset, metric, and skill
    # with its interval.
    BEHIND_REFERENCE = "behind_reference"  # arm, reference, rules (dataset, metric, part)
    UNJUDGED_WORSE = "unjudged_worse"  # arm, legacy, rows
    ALL_WAIVED = "all_waived"

    # The answer. All name candidate and legacy.
    NO_CONCLUSION = "no_conclusion"  # because: the first problem
    BROKEN = "broken"  # rules
    GUARDRAILS_OPEN = "guardrails_open"  # open, guardrails
    RULES_OPEN = "rules_open"  # rules
    NO_GAIN_YET = "no_gain_yet"
    HELD_BACK = "held_back"  # because: what holds it back
    ALL_HOLD = "all_hold"  # guardrails, gain, waived

    # What led to it.
    FINDING = "finding"  # id
    WAIVER = "waiver"  # place among the waivers of the verdict
    CAUTION = "caution"  # because: what to be cautious of

    # What to do now. All name candidate, legacy and (but for the ended plan) the experiment.
    REPLACE = "replace"
    KEEP = "keep"  # rules
    FILL = "fill"
    REPAIR = "repair"
    MEASURE = "measure"  # rules
    RETRY_FAILED = "retry_failed"  # arm
    SETTLE_FIRST = "settle_first"  # because: what holds a PROMOTE back
    PLAN_ENDED = "plan_ended"  # origins
    # More evidence. All have alpha (of a guardrail), now (independent origins), ended (datasets),
    # unmeasured (costs), better (a reference that is shown better than legacy),
    # hardly (a larger plan that would decide none: name, tighter, least and most chance), and
    # settled: rows of dataset, metric, part, unit, bound and what would be shown today. Plans also
    # have then (independent origins), likely, unlikely (dataset, metric, part, chance), chance.
    LARGER_PLAN = "larger_plan"  # larger, seeds, tighter: limits
    RAISE_ORIGINS = "raise_origins"  # origins by dataset, every: of all datasets, refit
    NEXT_LOOK = "next_look"  # most
    WAIT_FOR_ORIGINS = "wait_for_origins"  # rules, rest: open ones beside them, more, until
    KEEP_UNDECIDED = "keep_undecided"  # nearest (origins, dataset, metric, part), held, silent

    # What is new, the first line of everything that is written.
    FIRST_VERDICT = "first_verdict"  # outcome, attempt
    NOTHING_NEW = "nothing_new"  # outcome, since, wait (sessions; None: no origin will come)
    STILL = "still"  # outcome, origins
    BECAME = "became"  # before, outcome, origins
    BECAME_OTHERWISE = "became_otherwise"  # before, outcome
    NO_VERDICT = "no_verdict"  # outcome, before
    NOT_UPDATED = "not_updated"  # dataset, why
    DATA_OLD = "data_old"  # dataset, last, lacking

    # What the gate found when it judged itself; `findings` are ids.
    NOTHING_TO_TEST = "nothing_to_test"
    EVIDENCE_UNSOUND = "evidence_unsound"  # because: the problem
    FINDING_UNSOUND = "finding_unsound"  # because: what the finding says
    NO_LOSS_TO_PLANT = "no_loss_to_plant"
    ITSELF_REJECTED = "itself_rejected"  # findings
    TOO_MANY_ALARMS = "too_many_alarms"  # dataset, metric, alarms, exchanges, alpha
    ITSELF_TIES = "itself_ties"  # findings, exchanges, alarms, allowed
    WORSE_PROMOTED = "worse_promoted"  # findings
    MUCH_WORSE_NOT_REJECTED = "much_worse_not_rejected"  # findings
    NONE_ABLE_TO_REJECT = "none_able_to_reject"
    MUCH_WORSE_NO_REJECT = "much_worse_no_reject"
    WORSE_HELD_BACK = "worse_held_back"  # guardrails, able
    GAIN_NOT_PROMOTED = "gain_not_promoted"  # findings
    GAIN_PARTLY_PROMOTED = "gain_partly_promoted"  # able, findings
    NONE_ABLE_TO_PROMOTE = "none_able_to_promote"
    GAIN_NO_PROMOTE = "gain_no_promote"
    GAIN_PROMOTED = "gain_promoted"  # findings
    STILL_CONCLUDED = "still_concluded"  # arm, outcome
    REFUSED_WITHOUT_CELL = "refused_without_cell"  # arms
    NOT_MIRRORED = "not_mirrored"  # dataset, metric, effect, back
    MIRRORED = "mirrored"  # findings
    NO_BOUNDS_TO_MIRROR = "no_bounds_to_mirror"
    SAME_BYTES = "same_bytes"
    OTHER_BYTES = "other_bytes"

    # Planning: where variances come from, and why there is no prediction.
    NO_PREDICTION = "no_prediction"  # origins, least
    TIED = "tied"
    STORED_SCORES = "stored_scores"  # candidate, legacy
    STAND_INS = "stand_ins"  # arms

    # What differs when a verdict is judged again.
    INPUTS_EDITED = "inputs_edited"
    POLICY_EDITED = "policy_edited"
    MEANING_EDITED = "meaning_edited"
    FILE_DIFFERS = "file_differs"  # name, places
    SCORES_GONE = "scores_gone"  # arm, dataset, seed, problem
    SCORES_DIFFER = "scores_differ"  # arm, dataset, seed
    VALUE_DIFFERS = "value_differs"  # place, recorded, again
    LAYOUT_DIFFERS = "layout_differs"
    OTHER_CODE = "other_code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that was found.

    Attributes
    ----------
    code
        What kind of thing.
    values
        Its numbers and names; texts of users and of exceptions are values too.
    because
        The fact it rests on.
    """

    code: FactCode
    values: Mapping[str, Value] = field(default_factory=dict)
    because: Fact | None = None

    def resting_on(self, other: Fact) -> Fact:
        """The same fact with what it rests on."""
        return replace(self, because=other)


def fact(code: FactCode, /, **values: Value) -> Fact:
    """Make a fact with its values by name."""
    return Fact(code=code, values=values)


def expect_schema(record: Mapping[str, Any], *, where: str) -> None:
    """Refuse a record that holds facts of another form than today's.

    Raises
    ------
    StoreError
        Says whether an older or a newer version wrote it, and what to do.
    """
    found = record.get("schema")
    if not isinstance(found, int):
        raise StoreError(f"{where}: it has no schema number")
    if found != SCHEMA:
        wrote = f"was written by {'an older' if found < SCHEMA else 'a newer'} abharness"
        judge = "; `abharness gate` judges again" if found < SCHEMA else ""
        raise StoreError(f"{where}: {wrote}: schema {found}, this one reads {SCHEMA}{judge}")
