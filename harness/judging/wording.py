"""Plain sentences, written from the numbers of a comparison."""

from __future__ import annotations

from harness.evidence.comparison import Comparison
from harness.evidence.estimand import Coverage, FailedAs
from harness.evidence.estimates import Estimate
from harness.experiments.rules import RuleRole


def sentence_of(found: Comparison, *, role: RuleRole, least: int) -> str:
    """Say what a comparison found and what follows, for a reader who is no statistician.

    Parameters
    ----------
    found
        The comparison.
    role
        Of the rule it answers.
    least
        Non-overlapping origins the policy asks for.
    """
    said = {"wins": _wins, "coverage": _coverage}.get(found.estimand.kind, _loss)(found, role)
    parts = [f"{found.dataset} {found.estimand.name}: {said}: {_ending(found, role, least)}."]
    failed = found.failed
    parts += _failed(found.candidate, failed.candidate, failed.candidate_as, "its worst")
    parts += _failed(found.legacy, failed.legacy, failed.legacy_as, "its best")
    return " ".join(parts)


def _failed(arm: str, count: int, way: FailedAs, before: str) -> list[str]:
    """What became of failed windows; `before` is what records without a `way` counted them as."""
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


def percent(share: float, *, signed: bool = False) -> str:
    """Write a share in per cent with one digit, two below 1 %."""
    shown = share * 100
    digits = 1 if abs(shown) >= 0.95 or abs(shown) < 0.005 else 2
    text = f"{shown:+.{digits}f}" if signed else f"{shown:.{digits}f}"
    return f"{text.replace('-0.0', '0.0') if float(text) == 0 else text} %"


def _loss(found: Comparison, role: RuleRole) -> str:
    asked = abs(found.question.bound_high)
    bound = f"asked gain {percent(asked)}" if role == "success" else f"margin +{percent(asked)}"
    if found.effect.value is None:
        return f"{found.candidate} cannot be set against {found.legacy}, {bound}"
    return f"{found.candidate} is {_better(found)} {found.legacy}{_interval(found)}, {bound}"


def _wins(found: Comparison, role: RuleRole) -> str:
    """The share of origins won, with its interval: what is judged is the share lost."""
    asked = found.question.bound_high * 100
    wanted = f"asked are more than {50 - asked:g} %" + (
        "" if role == "success" or not asked else f", margin {asked:g} points"
    )
    if found.effect.value is None:
        return f"{found.candidate} cannot be set against {found.legacy} origin by origin, {wanted}"
    test = _decisive(found)
    ends = " (the uncertainty has no bounds)"
    if test is not None and None not in (test.low, test.high, test.upper):
        low, high, least = (
            percent(min(1.0, max(0.0, 0.5 - (each or 0.0))))
            for each in (test.high, test.low, test.upper)
        )
        sure = percent(1 - found.question.alpha).replace(".0 %", " %")
        ends = f" ({sure} interval {low} to {high}; one-sided at least {least})"
    won = percent(0.5 - found.effect.value)
    return f"{found.candidate} has the lower loss on {won} of the origins{ends}, {wanted}"


def _better(found: Comparison) -> str:
    assert found.effect.value is not None
    if abs(found.effect.value) < 5e-5:
        return "as good as"
    return (
        f"{percent(abs(found.effect.value))} {'better' if found.effect.value < 0 else 'worse'} than"
    )


def _interval(found: Comparison) -> str:
    """Two-sided interval and the bound the decision rests on, by the t test."""
    test = _decisive(found)
    if test is None or test.low is None or test.high is None or test.upper is None:
        return " (the uncertainty has no bounds)"
    sure = percent(1 - found.question.alpha).replace(".0 %", " %")
    ends = f"{percent(test.low, signed=True)} to {percent(test.high, signed=True)}"
    return f" ({sure} interval {ends}; one-sided at most {percent(test.upper, signed=True)})"


def _coverage(found: Comparison, role: RuleRole) -> str:
    asked = found.estimand
    assert isinstance(asked, Coverage)
    level, nominal = asked.level, asked.nominal
    tolerance = f"tolerance {found.question.bound_high * 100:g} points"
    if found.effect.value is None:
        return f"the {level} % interval of {found.candidate} cannot be judged, {tolerance}"
    test = _decisive(found)
    ends = " (the uncertainty has no bounds)"
    if test is not None and test.low is not None and test.high is not None:
        sure = percent(1 - found.question.alpha).replace(".0 %", " %")
        low, high = max(0.0, nominal + test.low), min(1.0, nominal + test.high)
        ends = f" ({sure} interval {percent(low)} to {percent(high)}{_one_sided(test, nominal)})"
    covered = percent(nominal + found.effect.value)
    beside = (
        "" if found.effect.legacy is None else f", {found.legacy}'s {percent(found.effect.legacy)}"
    )
    return (
        f"the {level} % interval of {found.candidate} covers {covered}{ends}{beside}, {tolerance}"
    )


def _one_sided(test: Estimate, nominal: float) -> str:
    if test.lower is None or test.upper is None:
        return ""
    low, high = max(0.0, nominal + test.lower), min(1.0, nominal + test.upper)
    return f"; one-sided at least {percent(low)}, at most {percent(high)}"


def _decisive(found: Comparison) -> Estimate | None:
    """The t test, over seeds as well as origins where there are several: the wider one."""
    return found.estimate("seeds") or found.estimate("hac")


def _ending(found: Comparison, role: RuleRole, least: int) -> str:
    if found.sample.independent_n < least:
        have = f"{found.sample.independent_n} non-overlapping origins"
        return f"not decided, there are {have} and the policy asks for {least}{_more(found)}"
    if found.conclusion == "undecided":
        return f"not decided, {found.reason}{_more(found)}"
    return _CONCLUDED[found.estimand.kind == "coverage", role, found.conclusion]


_CONCLUDED = {
    (False, "guardrail", "within"): "shown non-inferior",
    (False, "guardrail", "beyond"): "shown worse than allowed",
    (False, "success", "within"): "gain shown",
    (False, "success", "beyond"): "shown not to gain that much",
    (True, "guardrail", "within"): "shown to cover what it promises",
    (True, "guardrail", "beyond"): "shown not to cover what it promises",
}


def _more(found: Comparison) -> str:
    planned = found.planning
    if found.silent and planned.more_origins is None:
        return f"; {found.silent}"
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
    return f"; about {planned.more_origins} more independent origins would decide{by}"
