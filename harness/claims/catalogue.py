"""Every claim of the migration summary with the rule that decides it here.

The claims are told in our words, in the summary's order; `offered` is all the evidence it gave.
A figure in a rule is the claim's own. What was measured comes from the records alone.
"""

from __future__ import annotations

from harness.claims.by_checks import (
    defects_gone,
    each_fails,
    legacy_fails,
    legacy_has,
    passes,
    saved_and_loaded,
)
from harness.claims.by_costs import (
    cheaper,
    code_at_least,
    less_code,
    levels_offered,
    no_crossings,
    no_failures,
    own_distribution,
    unmeasured,
)
from harness.claims.by_scores import (
    better,
    covers,
    judged,
    nearer_coverage,
    scored_by_level,
    spread_follows_error,
)
from harness.claims.claim import Claim, Requirement
from harness.judging.findings import Outcome

FASTER = cheaper("latency", "a forecast of the candidate takes less time than the baseline's")
SMALLER = cheaper("peak_memory", "the candidate's peak memory is below the baseline's")
EIGHTY = 0.75
"""A share that still rounds to 80 % when rounded to the nearest ten."""
STATEMENT, NUMBER, TRANSCRIPT = "a statement", "a bare number", "a transcript"


def _summary(
    number: int, name: str, text: str, offered: str, *rules: Requirement, untestable: str = ""
) -> Claim:
    return Claim(
        id=name,
        group="summary",
        number=str(number),
        text=text,
        offered=offered,
        requirements=rules,
        untestable=untestable,
    )


SUMMARY = (
    _summary(
        1,
        "analysed",
        "The three advanced legacy models were analysed and found faulty.",
        STATEMENT,
        each_fails(),
    ),
    _summary(
        2,
        "twenty-defects",
        "More than twenty critical defects were found in the legacy models.",
        NUMBER,
        legacy_fails(21),
    ),
    _summary(
        3,
        "legacy-risk",
        "The legacy models are a risk to reliability and upkeep.",
        STATEMENT,
        legacy_fails(1),
    ),
    _summary(
        4,
        "production-ready",
        "A production-ready Bayesian replacement exists.",
        TRANSCRIPT,
        passes("candidate", "T31"),
        no_failures(),
    ),
    _summary(
        5,
        "drop-in",
        "The replacement can take the Bayesian model's place without other changes.",
        STATEMENT,
        passes("candidate", "T27", "T29", "T31", on="network"),
    ),
    _summary(
        6,
        "tests-pass",
        "All tests pass, with the right shapes and sound uncertainty bounds.",
        TRANSCRIPT,
        passes("candidate", "T31", "T20", on="network"),
        covers(),
    ),
    _summary(
        7,
        "probabilistic",
        "It forecasts distributions natively.",
        STATEMENT,
        own_distribution(),
        better("crps", "reference"),
    ),
    _summary(
        8,
        "error-handling",
        "It handles errors soundly.",
        STATEMENT,
        passes("candidate", "T5", "T14", "T29", on="network"),
    ),
    _summary(
        9,
        "stability",
        "It is stable in production, resting on a maintained pretrained model.",
        STATEMENT,
        passes("candidate", "T1", "T18", "T21", on="arm"),
        no_failures(),
    ),
    _summary(
        10,
        "guide",
        "The migration guide is complete.",
        "the guide itself",
        untestable="the guide's commands belong to another code base and are not run here",
    ),
    _summary(
        11,
        "validated",
        "Scripts validate compatibility and performance.",
        "scripts whose legacy side returns constants",
        judged(Outcome.PROMOTE, Outcome.REJECT, against=(Outcome.INVALID,)),
    ),
    _summary(
        12,
        "backward-compatible",
        "Old configurations and checkpoints keep working.",
        STATEMENT,
        passes("candidate", "T27", on="network"),
        unmeasured(
            "loading a legacy checkpoint into the replacement",
            tried="tried are the call and the configuration (T27), and that the replacement's own "
            "weights come back (T26, claim 18); not tried is a state dict of a legacy network",
        ),
    ),
    _summary(
        13,
        "output-shape",
        "The output has the right shape.",
        TRANSCRIPT,
        passes("candidate", "T31", "T34"),
    ),
    _summary(
        14,
        "uncertainty-sound",
        "Its uncertainty is never negative.",
        TRANSCRIPT,
        no_crossings(),
        spread_follows_error(),
    ),
    _summary(
        15,
        "intervals-ordered",
        "Its 68 % and 95 % intervals are properly ordered.",
        "a transcript of the 68 % one",
        no_crossings(),
        covers(),
    ),
    _summary(
        16,
        "quantiles",
        "Quantiles from 0.1 to 0.9 are available.",
        "a list of names",
        levels_offered(0.1, 0.9),
        no_crossings(),
        passes("candidate", "T22", on="network"),
        scored_by_level(10, 90),
    ),
    _summary(
        17,
        "gradient-defect",
        "The gradient defect of the sampling loop is gone.",
        STATEMENT,
        legacy_has("T15", "T16", "T17"),
        passes("candidate", "T15", "T16", "T17", on="network"),
    ),
    _summary(
        18,
        "layer-swaps",
        "Unsafe changes of layers are resolved.",
        STATEMENT,
        passes("candidate", "T26", on="network"),
    ),
    _summary(
        19,
        "config-mutation",
        "The caller's configuration is no longer changed.",
        STATEMENT,
        passes("candidate", "T29"),
    ),
    _summary(
        20,
        "memory",
        "Memory problems are dealt with.",
        STATEMENT,
        passes("candidate", "T15", on="network"),
        SMALLER,
    ),
    _summary(
        21,
        "calibration",
        "Its forecasts are better calibrated.",
        STATEMENT,
        nearer_coverage(),
    ),
    _summary(22, "inference", "Its inference is optimised: faster.", STATEMENT, FASTER),
    _summary(
        23,
        "less-code",
        "It needs about 80 % less custom code.",
        NUMBER,
        less_code(EIGHTY),
    ),
    _summary(
        24,
        "ecosystem",
        "It fits the Hugging Face ecosystem.",
        STATEMENT,
        saved_and_loaded(),
    ),
    _summary(
        25,
        "observability",
        "It is easier to observe.",
        STATEMENT,
        untestable="nothing measurable is named",
    ),
    _summary(
        26,
        "defects-gone",
        "All of the more than twenty defects are gone.",
        STATEMENT,
        defects_gone(),
    ),
    _summary(
        27,
        "uncertainty-better",
        "Its uncertainty quantification is superior.",
        STATEMENT,
        better("crps", "baseline"),
        nearer_coverage(),
    ),
    _summary(
        28,
        "upkeep",
        "It needs 80 % less upkeep.",
        STATEMENT,
        untestable="upkeep is hours of people; the source lines are measured for claim 23",
    ),
    _summary(
        29,
        "complete-suite",
        "A complete suite of replacements exists, in more than 1500 lines.",
        "a count of lines",
        code_at_least(1500),
        passes("candidate", "T34"),
    ),
    _summary(
        30,
        "low-risk",
        "The migration is low-risk.",
        "a timeline",
        judged(Outcome.PROMOTE, against=(Outcome.REJECT,)),
    ),
)

BESIDE = (
    Claim(
        id="benchmarked",
        group="beside",
        number="a",
        text="Performance benchmarks are completed, and the replacement is faster.",
        offered=STATEMENT,
        requirements=(FASTER,),
    ),
    Claim(
        id="memory-validated",
        group="beside",
        number="b",
        text="Memory usage is validated.",
        offered=STATEMENT,
        requirements=(SMALLER,),
    ),
    Claim(
        id="no-crossings",
        group="beside",
        number="c",
        text="No quantiles cross.",
        offered="counts taken after sorting",
        requirements=(no_crossings(), passes("candidate", "T23")),
    ),
    Claim(
        id="legacy-size",
        group="beside",
        number="d",
        text="The legacy models have about 3 to 12 million parameters.",
        offered=NUMBER,
        requirements=(unmeasured("parameters of every legacy model at its full width"),),
    ),
)

PIPELINE = (
    Claim(
        id="right-column",
        group="pipeline",
        number="X-01",
        text="Not reproduced: forecasting and scoring the wrong column. The target's own column "
        "is forecast.",
        offered="a deliberate departure from the original pipeline",
        requirements=(passes("baseline", "T32", on="arm"),),
    ),
    Claim(
        id="nan-never-best",
        group="pipeline",
        number="X-08",
        text="Not reproduced: a validation loss of NaN taken as an improvement. No epoch whose "
        "loss is NaN is kept.",
        offered="a deliberate departure from the original pipeline",
        requirements=(passes("baseline", "T33", on="arm"),),
    ),
    Claim(
        id="test-unread",
        group="pipeline",
        number="9.4",
        text="Not reproduced: reading the test loss while training. Later sessions change no "
        "forecast.",
        offered="a deliberate departure from the original pipeline",
        requirements=(passes("baseline", "T10", on="arm"),),
    ),
)

CLAIMS: tuple[Claim, ...] = (*SUMMARY, *BESIDE, *PIPELINE)
