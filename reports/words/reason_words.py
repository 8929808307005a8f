"""What each reason below judging is called in words: one phrase a code, no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.reasons import Reason, ReasonCode
from reports.words import numbers

Values = Mapping[str, Any]
_SAID = {"within": "the bound kept", "beyond": "the bound broken", "undecided": "undecided"}


def why(found: Reason | None) -> str:
    """Say a reason; '' where there is none."""
    return "" if found is None else phrase(found.code.value, found.values)


def phrase(code: str, values: Values) -> str:
    """Say a reason by its code, as a fact of judging holds it."""
    return _PHRASES[ReasonCode(code)](values)


def _paired(v: Values, said: str) -> str:
    first, other = v["sides"]
    return f"on {v['dataset']}: {first} and {other} {said}"


_PHRASES: dict[ReasonCode, Callable[[Values], str]] = {
    ReasonCode.ONE_ORIGIN: lambda v: f"{v['origins']} origin allows no statement about uncertainty",
    ReasonCode.NO_NUMBER: lambda v: (
        f"{v['missing']} of {v['losses']} losses of {v['arm']} have no number"
    ),
    ReasonCode.CONSTANT: lambda v: "the losses are the same on every origin: no uncertainty",
    ReasonCode.NO_BOUNDS: lambda v: (
        "legacy's loss cannot be told apart from 0, so a ratio has no bounds"
    ),
    ReasonCode.CROSSES: lambda v: "the interval reaches across the bound",
    ReasonCode.METHODS_DISAGREE: lambda v: (
        f"the methods disagree: the t test says {_SAID[v['test']]}, the block bootstrap says "
        f"{_SAID[v['bootstrap']]}"
    ),
    ReasonCode.SEEDS_DISAGREE: lambda v: (
        f"the seeds that were run say {_SAID[v['said']]}, but they differ so much among "
        "themselves that other seeds may not"
    ),
    ReasonCode.MAY_CLUSTER: lambda v: "hits may cluster for longer than the sample shows",
    ReasonCode.NO_SCORES: lambda v: "one side has no scores: nothing to compare",
    ReasonCode.NO_SCORES_OF: lambda v: (
        f"{v['dataset']}: {v['arm']} has no scores, so nothing is set against it"
    ),
    ReasonCode.NO_METRIC: lambda v: (
        f"{v['arm']} on {v['dataset']}, seed {v['seed']}, has no scores for {v['loss']}"
    ),
    ReasonCode.OTHER_DATASETS: lambda v: (
        f"{' and '.join(v['sides'])} were scored on {' and '.join(v['datasets'])}"
    ),
    ReasonCode.ORIGIN_TWICE: lambda v: (
        f"{_paired(v, 'cannot be paired')}: {v['arm']} holds the same origin twice"
    ),
    ReasonCode.OTHER_ORIGINS: lambda v: _paired(v, "were judged at different origins"),
    ReasonCode.OTHER_DATES: lambda v: _paired(v, "have different dates at the same origins"),
    ReasonCode.OTHER_STEPS: lambda v: _paired(v, "were judged at different steps"),
    ReasonCode.OTHER_ACTUALS: lambda v: _paired(v, "were judged against different actuals"),
    ReasonCode.NO_REFERENCE_ARM: lambda v: "the experiment has no reference arm",
    ReasonCode.NO_QUANTILES: lambda v: f"{v['arm']} has no quantiles on {v['dataset']}",
    ReasonCode.NO_SLICE: lambda v: (
        f"no slice '{v['slice']}'; there are {numbers.listing(v['known'])} and any "
        f"steps:FIRST-LAST within {v['first']}-{v['last']}"
    ),
    ReasonCode.SMALL_SLICE: lambda v: (
        f"the slice {v['slice']} selects {v['windows']} windows, too few to judge"
    ),
    ReasonCode.NO_STEPS: lambda v: (
        f"not all of steps {list(v['steps'])} of '{v['slice'] or 'all'}' were judged"
    ),
    ReasonCode.LOSSES_MISSING: lambda v: "there are losses without a number",
    ReasonCode.WINDOWS_MISSING: lambda v: f"{v['windows']} of {v['of']} windows have no number",
    ReasonCode.FEW_ORIGINS: lambda v: "too few origins, or no variance",
    ReasonCode.FEW_KNOWN: lambda v: (
        f"fewer than {v['least']} origins with a known loss before them, or no variance"
    ),
    ReasonCode.FEW_FOR_OVERLAP: lambda v: "too few origins for the overlap, or no variance",
    ReasonCode.FEW_APART: lambda v: f"only {v['origins']} origins that share no session",
}
