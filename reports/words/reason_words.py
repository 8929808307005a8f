"""What each reason of evidence and costs is called in words."""

from __future__ import annotations

from collections.abc import Iterable

from harness.reasons import Reason, ReasonCode
from reports.words.phrases import Phrase, Values, filled


def why(found: Reason | None) -> str:
    """Say a reason; '' where there is none."""
    return "" if found is None else phrase(found.code.value, found.values)


def why_all(found: Iterable[Reason]) -> str:
    """Say several reasons in one line; '' where there is none."""
    return "; ".join(map(why, found))


def phrase(code: str, values: Values) -> str:
    """Say a reason by its code, as a fact of judging holds it."""
    return filled(REASONS[ReasonCode(code)], values)


def _paired(v: Values, said: str) -> str:
    first, other = v["sides"]
    return f"on {v['dataset']}: {first} and {other} {said}"


_SAID = {"within": "the bound kept", "beyond": "the bound broken", "undecided": "undecided"}
_KINDS = {
    "fit_time": "fit",
    "load_time": "weights to load",
    "checkpoint_bytes": "stored weights",
    "code_lines": "lines of its own",
}
"""What an arm may not have, so that a cost has no ratio."""

REASONS: dict[ReasonCode, Phrase] = {
    ReasonCode.ONE_ORIGIN: lambda v: (
        "1 origin allows no statement about uncertainty"
        if v["origins"] == 1
        else "no origin was compared, so nothing can be said about uncertainty"
    ),
    ReasonCode.NO_NUMBER: "{missing} of {losses} losses of {arm} have no number",
    ReasonCode.CONSTANT: "the losses are the same on every origin: no uncertainty",
    ReasonCode.NO_BOUNDS: (
        "legacy's loss is 0, or varies too much between origins, for a ratio to it to have bounds"
    ),
    ReasonCode.CROSSES: "the bounds reach across the limit",
    ReasonCode.METHODS_DISAGREE: lambda v: (
        f"the methods disagree: the t test says {_SAID[v['test']]}, the block bootstrap says "
        f"{_SAID[v['bootstrap']]}"
    ),
    ReasonCode.SEEDS_DISAGREE: lambda v: (
        f"the seeds that were run say {_SAID[v['said']]}, but they differ so much among "
        "themselves that other seeds may not"
    ),
    ReasonCode.MAY_CLUSTER: "hits may cluster for longer than the sample shows",
    ReasonCode.NO_SCORES: "one side has no scores: nothing to compare",
    ReasonCode.NO_SCORES_OF: "{dataset}: {arm} has no scores, so nothing is set against it",
    ReasonCode.NO_METRIC: "{arm} on {dataset}, seed {seed}, has no scores for {loss}",
    ReasonCode.OTHER_DATASETS: "{sides:and} were scored on {datasets:and}",
    ReasonCode.ORIGIN_TWICE: lambda v: (
        f"{_paired(v, 'cannot be paired')}: {v['arm']} holds the same origin twice"
    ),
    ReasonCode.OTHER_ORIGINS: lambda v: _paired(v, "were judged at different origins"),
    ReasonCode.OTHER_DATES: lambda v: _paired(v, "have different dates at the same origins"),
    ReasonCode.OTHER_STEPS: lambda v: _paired(v, "were judged at different steps"),
    ReasonCode.OTHER_ACTUALS: lambda v: _paired(v, "were judged against different actuals"),
    ReasonCode.NO_REFERENCE_ARM: "the experiment has no reference arm",
    ReasonCode.NO_QUANTILES: "{arm} has no quantiles on {dataset}",
    ReasonCode.NO_SLICE: (
        "no slice '{slice}'; there are {known:and} and any steps:FIRST-LAST within {first}-{last}"
    ),
    ReasonCode.SMALL_SLICE: "the slice {slice} selects {windows} windows, too few to judge",
    ReasonCode.NO_STEPS: lambda v: (
        f"not all of steps {list(v['steps'])} of '{v['slice'] or 'all'}' were judged"
    ),
    ReasonCode.LOSSES_MISSING: "there are losses without a number",
    ReasonCode.WINDOWS_MISSING: "{windows} of {of} windows have no number",
    ReasonCode.FEW_ORIGINS: "too few origins, or no variance",
    ReasonCode.FEW_KNOWN: (
        "fewer than {least} origins with a known loss before them, or no variance"
    ),
    ReasonCode.FEW_FOR_OVERLAP: "too few origins for the overlap, or no variance",
    ReasonCode.FEW_APART: "only {origins} origins that share no session",
    ReasonCode.NO_SESSION: "not measured; `abharness measure` takes it",
    ReasonCode.SESSION_UNREADABLE: "cannot be read: {said}",
    ReasonCode.SESSION_FAILED: lambda v: str(v["said"]),
    ReasonCode.NOT_IN_SESSION: "this session did not take it",
    ReasonCode.NOTHING_OF_KIND: lambda v: (
        f"{'the baseline has' if v['sides'] == 'baseline' else 'both arms have'} no "
        f"{_KINDS[v['cost']]}: there is no ratio"
    ),
    ReasonCode.NO_PEAKS: lambda v: str(v["said"]),
    ReasonCode.NOTHING_TIMED: "{arm} forecast no window of the plan while it was timed",
    ReasonCode.TIMED_OTHERWISE: lambda v: (
        f"{v['arm']}, timed {'one window at a time' if v['mode'] == 'single' else 'in batches'}, "
        f"does not forecast what its unit holds: {v['by']:.3g} "
        + (
            "standard errors of its draws apart on average"
            if v["unit"] == "errors"
            else "standard deviations of a session's change apart at most"
        )
        + (" (its unit was trained on another machine)" if v["elsewhere"] else "")
    ),
    ReasonCode.REMEMBERS_INPUTS: (
        "{arm} remembers inputs: one it has seen takes {share:.2f} of the time of a new one"
    ),
    ReasonCode.MACHINE_BUSY: (
        "the machine was busy {when:moment}: others kept {others:.2f} of {cores} cores, at most "
        "{most:.2f} are accepted"
    ),
    ReasonCode.HOST_BUSY: (
        "the machine was busy {when:moment}: its host took {taken:.2f} cores away"
    ),
}
