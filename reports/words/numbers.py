"""How numbers, metrics and outcomes are written."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping

from harness.evidence.estimand import ESTIMANDS, Coverage, RelativeCoverage, Wins
from harness.judging.fact import FactCode
from harness.judging.findings import Finding, Outcome, Unit
from harness.scoring.metrics import AGGREGATES
from harness.scoring.summary import MetricSummary

NONE = "n/a"

MEANINGS: dict[Outcome, str] = {
    Outcome.PROMOTE: "the change is supported",
    Outcome.REJECT: "shown to be worse than allowed",
    Outcome.HOLD: "not decided yet",
    Outcome.INVALID: "no conclusion may be drawn",
}
FINDING_WORDS: dict[Outcome, str] = {
    Outcome.PROMOTE: "shown",
    Outcome.REJECT: "worse",
    Outcome.HOLD: "undecided",
    Outcome.INVALID: "not judged",
}


def finding_word(finding: Finding) -> str:
    """Say in a word how a rule came out; with the day of an earlier look that showed it.

    A limit is kept, never shown.
    """
    if finding.found.code is FactCode.SHOWN_BEFORE:
        return f"shown {finding.found.values['since']}"
    if finding.role == "limit" and finding.outcome is Outcome.PROMOTE:
        return "kept"
    return FINDING_WORDS[finding.outcome]


def metric_name(metric: str) -> str:
    """Title of a metric as it declares it; of what is no metric, such as a count, its name."""
    estimand = ESTIMANDS.get(metric)
    if isinstance(estimand, RelativeCoverage):
        return f"{metric_name(estimand.metric)} error"
    if isinstance(estimand, Wins):
        return f"windows lost by {metric_name(estimand.metric)}"
    if isinstance(estimand, Coverage):
        return f"{estimand.level} % coverage"
    known = AGGREGATES.get(metric)
    return known.title if known else metric.replace("_", " ")


def is_number(value: float | None) -> bool:
    """Whether there is a finite number to show."""
    return value is not None and math.isfinite(value)


def number(value: float | None) -> str:
    """Four significant digits, thousands apart; 'n/a' without a number."""
    if value is None or not math.isfinite(value):
        return NONE
    size = abs(value)
    if size >= 1000:
        return _minus(f"{value:,.0f}")
    for limit, digits in ((100, 1), (10, 2), (1, 3), (0.1, 4)):
        if size >= limit:
            return _minus(f"{value:,.{digits}f}")
    return _minus(f"{value:.3g}")


def two_digits(value: float) -> str:
    """Write a size that is good for orders of magnitude only."""
    return f"{float(f'{value:.2g}'):,g}"


def percent(value: float | None, *, digits: int = 1, signed: bool = False) -> str:
    """Write a share as per cent."""
    if value is None or not math.isfinite(value):
        return NONE
    rounded = round(100 * value, digits) + 0.0  # no minus before a zero
    return _minus(f"{rounded:{'+' if signed else ''},.{digits}f}") + "\u202f%"


def in_sentence(share: float, *, signed: bool = False) -> str:
    """Write a share as per cent within a sentence: one digit, two below 1 %, plain characters."""
    shown = share * 100
    digits = 1 if abs(shown) >= 0.95 or abs(shown) < 0.005 else 2
    text = f"{shown:{'+' if signed else ''},.{digits}f}"
    return f"{'0.0' if text == '-0.0' else text} %"


def at_most(chance: float) -> str:
    """Write the most that a chance can be, in plain characters."""
    return "less than 1 %" if chance < 0.005 else f"at most {100 * chance:.0f} %"


MOST = 9.0
"""A bound of a loss ratio beyond ten times legacy's loss says no more than that."""


def lower_end(metric: str, share: float) -> float:
    """A bound of a loss ratio as it is shown: no loss falls by more than all of it.

    The interval of a ratio does not know that. A loss of a user's own, ``module:function``, may be
    negative, and is left alone.
    """
    return share if ":" in metric else max(share, -1.0)


def bound_in_sentence(share: float) -> str:
    """Write a bound of a loss ratio within a sentence."""
    return in_sentence(share, signed=True) if share <= MOST else f"over {100 * MOST:+.0f} %"


def plain_effect(unit: Unit, value: float) -> str:
    """Write an effect in plain characters: points for a share of windows, per cent for losses."""
    said = in_sentence(value, signed=True)
    return said.replace("%", "points") if unit == "points" else said


def points(value: float | None, *, digits: int = 1) -> str:
    """Write a difference of shares in percentage points, signed."""
    if value is None or not math.isfinite(value):
        return NONE
    return _minus(f"{round(100 * value, digits) + 0.0:+.{digits}f}") + " pts"


def effect(unit: Unit, value: float | None) -> str:
    """Write an effect: points for a share of windows or steps, a signed share for losses."""
    return points(value) if unit == "points" else percent(value, signed=True)


def effects(unit: Unit, low: float | None, high: float | None) -> str:
    """Write a range of effects with its unit once; what is no information is said in words."""
    if low is None and high is None:
        return NONE
    mark = " pts" if unit == "points" else "\u202f%"
    ends = ["not bounded" if end is None else effect(unit, end) for end in (low, high)]
    if unit == "share" and high is not None and high > MOST:
        ends[1] = f"over {percent(MOST, digits=0, signed=True)}"
        if low is not None and low > MOST:
            return ends[1]
    return f"{ends[0].removesuffix(mark)} to {ends[1]}" if high is not None else " to ".join(ends)


def found(finding: Finding, value: float | None) -> str:
    """Write what a rule found: the share covered itself, every other effect as it is."""
    if value is not None and isinstance(finding.estimand, Coverage):
        return percent(min(1.0, max(0.0, finding.estimand.nominal + value)))
    return effect(finding.unit, value)


def found_range(finding: Finding, low: float | None, high: float | None) -> str:
    """Write the bounds of what a rule found, as `found` writes it."""
    if low is None and high is None:
        return "not bounded"
    if isinstance(finding.estimand, Coverage) and low is not None and high is not None:
        least = found(finding, low).removesuffix("\u202f%")
        return f"{least} to {found(finding, high)}"
    if finding.unit == "share":
        ends = (None if end is None else lower_end(finding.metric, end) for end in (low, high))
        low, high = ends
    return effects(finding.unit, low, high)


def between(low: str, high: str) -> str:
    """Write a range; one number when both ends read the same."""
    return low if low == high else f"{low} to {high}"


def figure(row: MetricSummary, value: float | None) -> str:
    """Write a value of a summary in that summary's unit; shares of hits with one decimal."""
    if value is None or not math.isfinite(value):
        return NONE
    if isinstance(ESTIMANDS.get(row.metric), Coverage):
        return percent(value / 100 if row.unit == "%" else value)
    if row.unit == "share":
        return percent(value)
    return f"{number(value)}\u202f%" if row.unit == "%" else number(value)


def ratio(value: float) -> str:
    """Write a ratio with three digits, and never as a power of ten."""
    return f"{value:.3g}" if 1e-3 < abs(value) < 1000 or not value else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """Write a duration in seconds."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:,.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def identifier(name: str) -> str:
    """Write a name with letters, digits and hyphens alone, as ids of a page are."""
    return "".join(sign if sign.isalnum() and sign.isascii() else "-" for sign in name)


def wrapped(text: str, width: int, first: str = "", after: str = "") -> list[str]:
    """Cut a text into lines, at most `width` characters wide where its words allow.

    Parameters
    ----------
    first, after
        What the first line begins with, and each after it.
    """
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=after,
        break_on_hyphens=False,
        break_long_words=False,  # a path can be copied
    )


def plural(count: int, noun: str) -> str:
    """Count with its noun."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listing(items: Iterable[str]) -> str:
    """Join as 'a, b and c'."""
    found = list(items)
    if len(found) < 2:
        return "".join(found)
    return f"{', '.join(found[:-1])} and {found[-1]}"


def printable(text: object) -> str:
    r"""Outside text on one line; what steers a terminal or is unseen is written as ``\x1b``."""
    flat = " ".join(str(text).split())
    if flat.isprintable():
        return flat
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in flat
    )


def plain(value: object) -> str:
    """Write plain data (policy, options) on one line, as a reader would."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        nested = any(isinstance(each, Mapping) for each in value)
        return ("; " if nested else ", ").join(plain(each) for each in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not set" if value is None else printable(value)


def _minus(text: str) -> str:
    return text.replace("-", "\u2212")
