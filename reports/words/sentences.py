"""A finding in a sentence, written from its numbers for a reader who is not a statistician."""

from __future__ import annotations

from collections.abc import Mapping

from harness.evidence.comparison import Comparison
from harness.evidence.estimand import Coverage, RelativeCoverage
from harness.evidence.pairing import FailedAs
from harness.experiments.rules import RuleRole
from harness.judging.fact import FactCode
from harness.judging.findings import Finding, no_prediction
from reports.words.facts import say
from reports.words.numbers import bound_in_sentence, in_sentence, lower_end
from reports.words.phrases import place_of
from reports.words.reason_words import why

_OPEN = (
    FactCode.FEW_ORIGINS,
    FactCode.UNDECIDED,
    FactCode.DEPENDS_ON_FAILED,
    FactCode.BEYOND_ALONE,
    FactCode.RECENTLY_BEYOND,
)
_AT_LOOKS = (FactCode.NO_LOOK, FactCode.NOT_BEYOND_YET, FactCode.SHOWN_BEFORE)
_COMPARED = (*_OPEN, *_AT_LOOKS, FactCode.WITHIN, FactCode.BEYOND)


def sentence_of(finding: Finding) -> str:
    """Say what a rule found and what follows."""
    found = finding.comparison
    if found is None or finding.found.code not in _COMPARED:
        return say(finding.found)
    role = asked_as(finding)
    said = {"wins": _wins, "coverage": _coverage, "relative_coverage": _relative}.get(
        found.estimand.kind, _loss
    )(found, role)
    code = finding.found.code
    if code is FactCode.FEW_ORIGINS:
        have, asked = found.sample.independent_n, finding.found.values["asked"]
        few = f"there are {have} non-overlapping origins and the policy asks for {asked}"
        ending = f"not decided, {few}{_more(found)}"
    elif code in _AT_LOOKS:
        ending = say(finding.found)
    elif code in _OPEN:
        last = code in (FactCode.BEYOND_ALONE, FactCode.RECENTLY_BEYOND)
        ending = f"not decided, {why_open(finding)}{'' if last else _more(found)}"
    else:
        ending = _CONCLUDED.get(found.estimand.kind, _OF_LOSSES)[role, code]
    place = place_of(finding.dataset, finding.metric, finding.part)
    parts = [f"{place}: {said}: {ending}."]
    failed = found.failed
    parts += _failed(found.candidate, failed.candidate, failed.candidate_as, "its worst")
    parts += _failed(found.legacy, failed.legacy, failed.legacy_as, "its best")
    for arm, count in (
        (found.candidate, failed.candidate_capped),
        (found.legacy, failed.legacy_capped),
    ):
        if count:
            windows = f"{count} absurd {'loss' if count == 1 else 'losses'} of {arm}"
            parts.append(
                f"{windows} counted as twice the largest loss that both arms had together."
            )
    return " ".join(parts)


def asked_as(finding: Finding) -> RuleRole:
    """Whether it asks for a gain: a success does, and a limit on skill that must be above 0."""
    gain = finding.role == "success" or (finding.role == "limit" and finding.bound < 0)
    return "success" if gain else "guardrail"


def why_open(finding: Finding) -> str:
    """Why a comparison decides nothing; '' where it does, or nothing was compared."""
    found = finding.comparison
    if finding.found.code is FactCode.DEPENDS_ON_FAILED:
        arm = finding.found.values["arm"]
        return f"it depends on how the failed windows of {arm} are counted"
    if finding.found.code in _AT_LOOKS:
        return say(finding.found)
    if finding.found.code is FactCode.BEYOND_ALONE:
        values = finding.found.values
        return (
            f"the bound is shown broken by itself, but not among {values['rules']} rules together "
            f"(Holm's p {values['adjusted']:.2g})"
        )
    if finding.found.code is FactCode.RECENTLY_BEYOND and found is not None:
        assert found.recent is not None
        assert found.recent.effect is not None
        lately = in_sentence(found.recent.effect, signed=True)
        return (
            f"the bound is kept over all origins, but not over the last {found.recent.n}, since "
            f"{found.recent.since}: {lately} there"
        )
    return why(found.reason) if found is not None else ""


def _failed(arm: str, count: int, way: FailedAs, before: str) -> list[str]:
    """What became of failed windows; `before` is what they count as where no `way` says it."""
    if not count:
        return []
    windows = "window" if count == 1 else "windows"
    was = "was" if count == 1 else "were"
    return [f"{count} failed {windows} of {arm} {was} {_COUNTED.get(way, f'counted as {before}')}."]


_COUNTED = {
    "worst": "counted as twice the worst loss",
    "missed": "counted as missed",
    "covered": "counted as covered",
    "lost": "counted as lost",
    "out": "left out",
}


def _loss(found: Comparison, role: RuleRole) -> str:
    asked = abs(found.question.bound_high)
    bound = (
        f"asked gain {in_sentence(asked)}" if role == "success" else f"margin +{in_sentence(asked)}"
    )
    if found.effect.value is None:
        return f"{found.candidate} cannot be set against {found.legacy}, {bound}"
    penalty = ""
    if found.failed.candidate_as == "worst":  # else a penalty of ours would read as measured
        penalty = "with failed windows counted as twice the worst loss, "
    low, high = found.bounds
    ends = _bounds(
        None if low is None else bound_in_sentence(lower_end(found.question.estimand.metric, low)),
        None if high is None else bound_in_sentence(high),
    )
    size = in_sentence(abs(found.effect.value))
    change = f"{size} {'lower' if found.effect.value < 0 else 'higher'} than"
    change = "the same as" if abs(found.effect.value) < 5e-5 else change
    said = f"the loss of {found.candidate} is {change} {found.legacy}'s{ends}"
    return f"{penalty}{said}, {bound}"


def _wins(found: Comparison, role: RuleRole) -> str:
    """The share of origins won, with its interval: what is judged is the share lost."""
    asked = found.question.bound_high * 100
    wanted = f"asked are more than {50 - asked:g} %" + (
        "" if role == "success" or not asked else f", margin {asked:g} points"
    )
    if found.effect.value is None:
        return f"{found.candidate} cannot be set against {found.legacy} origin by origin, {wanted}"
    lower, upper = found.bounds
    ends = _bounds(*(None if end is None else _share(0.5 - end) for end in (upper, lower)))
    won = in_sentence(0.5 - found.effect.value)
    return f"{found.candidate} has the lower loss on {won} of the origins{ends}, {wanted}"


def _bounds(low: str | None, high: str | None) -> str:
    """The bounds the decision rests on, of all methods together, as tables show them."""
    if low is not None and high is not None:
        first = "" if low == high else f"{low.removesuffix(' %')} to "
        return f" (bounds {first}{high})"
    if low is not None:
        return f" (at least {low}, with no upper bound)"
    if high is not None:
        return f" (at most {high}, with no lower bound)"
    return " (the uncertainty has no bounds)"


def _coverage(found: Comparison, role: RuleRole) -> str:
    asked = found.estimand
    assert isinstance(asked, Coverage)
    level, nominal = asked.level, asked.nominal
    tolerance = f"tolerance {found.question.bound_high * 100:g} points"
    if found.effect.value is None:
        return f"the {level} % interval of {found.candidate} cannot be judged, {tolerance}"
    ends = _bounds(*(None if end is None else _share(nominal + end) for end in found.bounds))
    covered = in_sentence(nominal + found.effect.value)
    beside = ""
    if found.effect.legacy is not None:
        beside = f", {found.legacy}'s {in_sentence(found.effect.legacy)}"
    return (
        f"the {level} % interval of {found.candidate} covers {covered}{ends}{beside}, {tolerance}"
    )


def _relative(found: Comparison, role: RuleRole) -> str:
    """How much further the candidate's coverage lies from nominal than legacy's."""
    asked = found.estimand
    assert isinstance(asked, RelativeCoverage)
    tolerance = f"tolerance {found.question.bound_high * 100:g} points"
    effect, ours, theirs = found.effect.value, found.effect.candidate, found.effect.legacy
    if effect is None or ours is None or theirs is None:
        return f"the {asked.level} % intervals cannot be set against each other, {tolerance}"
    upper = found.bounds[1]
    ends = "" if upper is None else f" (at worst {_nearer(upper)})"
    return (
        f"the {asked.level} % interval of {found.candidate} covers {in_sentence(ours)}, "
        f"{found.legacy}'s {in_sentence(theirs)}: {_nearer(effect)} {asked.level} %{ends}, "
        f"{tolerance}"
    )


def _nearer(effect: float) -> str:
    """How much further from nominal than legacy's."""
    return f"{abs(100 * effect):.1f} points {'further from' if effect > 0 else 'nearer to'}"


def _share(end: float) -> str:
    """A bound of a share, which lies between none and all."""
    return in_sentence(min(1.0, max(0.0, end)))


_OF_LOSSES: Mapping[tuple[RuleRole, FactCode], str] = {
    ("guardrail", FactCode.WITHIN): "shown to stay within it",
    ("guardrail", FactCode.BEYOND): "shown worse than allowed",
    ("success", FactCode.WITHIN): "gain shown",
    ("success", FactCode.BEYOND): "shown not to gain that much",
}
_CONCLUDED: Mapping[str, Mapping[tuple[RuleRole, FactCode], str]] = {
    "coverage": {
        ("guardrail", FactCode.WITHIN): "shown to cover what it promises",
        ("guardrail", FactCode.BEYOND): "shown not to cover what it promises",
    },
    "relative_coverage": {
        ("guardrail", FactCode.WITHIN): "shown to cover as well as legacy's",
        ("guardrail", FactCode.BEYOND): "shown to cover worse than legacy's",
    },
}


def _more(found: Comparison) -> str:
    planned = found.planning
    if found.silent and planned.more_origins is None:
        return f"; {say(no_prediction(found.sample.independent_n))}"
    if planned.more_origins is None and planned.seeds_needed is not None:
        return (
            "; no feasible number of origins would decide if the effect stays, but about "
            f"{planned.seeds_needed} seeds a side would"
        )
    if planned.more_origins is None:
        return (
            "; no feasible number of origins would decide if the effect stays"
            if (found.effect.value is not None)
            else ""
        )
    by = f", there by {planned.decided_by}" if planned.decided_by else ""
    sure = f"{100 * found.question.power:.0f} %"
    return (
        f"; about {planned.more_origins:,} more independent origins would decide it with a chance "
        f"of {sure}{by}"
    )
