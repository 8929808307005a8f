"""What must be known with the answer: each caution in a sentence, and in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from harness.judging.fact import FactCode
from harness.judging.verdict import Verdict
from reports.words.facts import say
from reports.words.numbers import listing, plural
from reports.words.phrases import Phrase, filled


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """A whole sentence, and what it comes to in half a line."""

    code: FactCode
    said: str
    brief: str


def cautions(verdict: Verdict) -> list[Caution]:
    """What must be known with the answer, the gravest first, each once."""
    beside = verdict.safeguards
    told = [
        each.because
        for each in verdict.reasons
        if each.code is FactCode.CAUTION and each.because is not None
    ]
    grave = {code: place for place, code in enumerate(_GRAVE)}
    told.sort(key=lambda each: grave.get(each.code, len(grave)))
    found: dict[str, Caution] = {}
    for each in (*beside.first, *beside.holds, *told):
        rows = each.values.get("rows")
        values = dict(each.values)
        if isinstance(rows, tuple):  # the first loss of each dataset; the others are reasons
            listed = [row for row in rows if isinstance(row, tuple)]
            first = {row[0]: row for row in reversed(listed)}
            values["rows"] = tuple(row for row in listed if first[row[0]] is row)
        said = say(replace(each, values=values))
        said = said if said.endswith((".", "!", "?")) else f"{said}."
        phrase = _BRIEFS.get(each.code)
        brief = said if phrase is None else filled(phrase, each.values)
        found[said] = Caution(code=each.code, said=said, brief=brief)
    return list(found.values())


_GRAVE = (
    FactCode.STRAW_MAN,
    FactCode.CHANGED_SINCE,
    FactCode.TRIED_BEFORE,
    FactCode.ATTEMPTS_USED,
    FactCode.RECORDS_LOST,
    FactCode.NO_REFERENCE_ARM,
    FactCode.IMPLAUSIBLE,
    FactCode.CONTAMINATED,
    FactCode.NOT_TESTED,
    FactCode.BELOW_REFERENCE,
    FactCode.UNJUDGED,
    FactCode.WORSE_BESIDE,
    FactCode.COVERS_OTHERWISE,
)

_BRIEFS: Mapping[FactCode, Phrase] = {
    FactCode.STRAW_MAN: "{legacy} is shown worse than {reference}: replacing it proves little",
    FactCode.CHANGED_SINCE: "Changed after the first results were in: {what:and}",
    FactCode.TRIED_BEFORE: "Attempt {attempt} on origins judged before; changed: {what:and}",
    FactCode.ATTEMPTS_USED: "Earlier attempts used up the error rate of these origins",
    FactCode.RECORDS_LOST: "The store's records before {at} were lost: attempts unknown",
    FactCode.NO_REFERENCE_ARM: "No reference arm was run: a random walk might do as well",
    FactCode.IMPLAUSIBLE: "{arm} is implausibly good on {dataset}: look for a leak",
    FactCode.CONTAMINATED: "{arm} may have seen {share:share} of the origins on {dataset}",
    FactCode.NOT_TESTED: "{arm} was not shown to be blind to the future",
    FactCode.RECORDS_WORD: "That {arm} had not seen the outcome rests on its file's issue times",
    FactCode.BELOW_REFERENCE: lambda v: (
        f"{v['arm']} does no better than {v['reference']} on "
        f"{listing(dict.fromkeys(row[0] for row in v['rows']))}"
    ),
    FactCode.BEHIND_REFERENCE: "{arm} is shown worse than {reference} by more than the margin",
    FactCode.UNJUDGED: "No guardrail judges the losses on {datasets:and} as a whole",
    FactCode.WORSE_BESIDE: "{arm} is shown worse than {legacy} by losses that no rule names",
    FactCode.COVERS_OTHERWISE: "Intervals of {arm} do not cover what they promise; no rule asks",
    FactCode.PARTLY_COMPARED: lambda v: (
        f"{plural(v['windows'], 'failed window')} on {v['dataset']} "
        f"{'counts' if v['windows'] == 1 else 'count'} in no skill"
    ),
    FactCode.ONE_SEED: "{arm} was run with one seed",
    FactCode.PART_GIVEN_UP: "A damaged part of {_cell} was forecast again",
    FactCode.MAINTENANCE: "{_cell}: another installation since {day}",
    FactCode.SEEN_IN_TRAINING: "{origins} of {of} origins on {dataset} were seen in training",
    FactCode.HAND_PICKED_SEEDS: "Run with other seeds than the experiment declares",
    FactCode.FAR_FROM_PRICES: "The point path of {arm} on {dataset} is nowhere near the prices",
    FactCode.LONG_MEMORY: "Evidence on {_where} may be weaker than its bounds say",
    FactCode.NEARLY_BEYOND: "{_where}: the last {origins} origins are hardly within the limit",
    FactCode.MEMBERS_READ: "Samples of {arm} on {dataset} can be scored in two ways",
    FactCode.QUANTILES_CROSSED: "Quantiles of {arm} on {dataset} came out of order and were sorted",
    FactCode.FEW_ORIGINS_ASKED: "The policy asks for {asked} non-overlapping origins only",
    FactCode.PLACEBO_DOUBTS: "{arm} may know the data on {dataset}: less good on made-up ones",
    FactCode.WIDE_MARGINS: "The policy allows more than {most:share}",
    FactCode.LAX_ALPHA: "The policy's error rate is {alpha:share} a guardrail",
    FactCode.LAX_IMPLAUSIBLE: "The policy doubts a gain from {skill:share} on only",
    FactCode.BROAD_WAIVER: "The waiver of '{finding}' names no single finding",
    FactCode.LONG_WAIVER: "The waiver of {finding} holds for {days:,} more days",
    FactCode.DATE_PAST: "Waivers are held against {date}, a day that was past",
}
"""In half a line of the first screen; a code without one has a short sentence anyway."""
