"""What a predicate is and what it says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from harness import errors
from harness.arm import Role
from harness.arm_ref import user_code

CheckOutcome = Literal["pass", "fail", "not applicable", "error"]
Kind = Literal["network", "arm"]
Limit = Literal["at most", "at least"]


class NotApplicableError(Exception):
    """A predicate does not apply to the subject; the message is the reason, one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a predicate found.

    Attributes
    ----------
    value
        The number that is judged. NaN never passes.
    said
        One line on what it is a number of.
    more
        Further numbers worth seeing, by name.
    """

    value: float
    said: str
    more: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicate:
    """A statement about a subject that one number decides.

    Attributes
    ----------
    code
        ``T1`` to ``T34``.
    title
        The statement, in words.
    on
        What it is asked of: a network, or an arm. A code may have one predicate for each.
    white_box
        It looks at parts of the network, not at its forecasts alone.
    needs
        What the subject must offer; empty for nothing special.
    limit, threshold, unit
        It passes when the measured value is at most, or at least, so much.
    draws
        Draws of weights it is asked on: more than one where the answer depends on them.
    function
        Measures a subject; raises `NotApplicableError` with the reason.
    """

    code: str
    title: str
    on: Kind
    white_box: bool
    needs: str
    limit: Limit
    threshold: float
    unit: str
    draws: int
    function: Callable[[Any], Measured]

    def judge(self, value: float) -> CheckOutcome:
        """Compare a measured value with the threshold."""
        fine = value <= self.threshold if self.limit == "at most" else value >= self.threshold
        return "pass" if fine else "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one predicate said about one subject.

    Attributes
    ----------
    measured
        The judged number first, under the name ``value``; empty where nothing was measured.
    limit, threshold, unit
        Of the predicate.
    draws
        The outcome on each draw of weights that it was asked on; the gravest is the outcome.
    reason
        One line: what was measured, why it does not apply, or what went wrong.
    seconds
        Wall-clock time it took.
    """

    code: str
    title: str
    outcome: CheckOutcome
    measured: Mapping[str, float]
    limit: Limit
    threshold: float
    unit: str
    draws: tuple[CheckOutcome, ...]
    reason: str
    seconds: float

    @property
    def wanted(self) -> str:
        """Limit, threshold and unit, such as ``at most 1e-05 of the output's scale``."""
        return f"{self.limit} {self.threshold:g} {self.unit}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRecord:
    """What a battery said about one subject.

    Attributes
    ----------
    target
        As on the command line: a name or ``module:Class``.
    kind
        Whether it was tried as a network or as an arm.
    role
        The side it is on; None where nobody said.
    use
        Where its code is.
    options
        It was built with.
    key
        Digest of all of these.
    source
        Digest of the subject's package, the battery and the libraries when it was tried.
    weights
        Digest of the files an arm named as its own, also of the network it builds; '' of any
        other network.
    current
        They are the same today. Results of other code say nothing about this one.
    results
        One per predicate tried, by number.
    """

    target: str
    kind: Kind
    role: Role | None
    use: str
    options: Mapping[str, Any]
    key: str
    source: str
    weights: str
    current: bool
    results: tuple[CheckResult, ...]

    def result(self, code: str) -> CheckResult | None:
        """What one predicate said, if it was tried."""
        return next((each for each in self.results if each.code == code), None)

    @property
    def failing(self) -> tuple[str, ...]:
        """Codes that failed or could not be answered."""
        return tuple(r.code for r in self.results if r.outcome in ("fail", "error"))


def worst(values: Iterable[float]) -> float:
    """The largest of some numbers; NaN where one is, which `max` may lose."""
    found = list(values)
    return math.nan if any(map(math.isnan, found)) else max(found)


def least(values: Iterable[float]) -> float:
    """The smallest of some numbers; NaN where one is, which `min` may lose."""
    return -worst(-value for value in values)


def number_of(code: str) -> int:
    """The number in a code such as ``T12``."""
    return int(code[1:])


def attempt(
    work: Callable[[], Any], *, passing: tuple[type[Exception], ...] = ()
) -> tuple[Any, str]:
    """Do a subject's work: its result and '', or None and what it raised in one line.

    Raises
    ------
    NotApplicableError
        It is the predicate's own word, not the subject's; as are those of `passing`.
    """
    let_through: tuple[type[Exception], ...] = (NotApplicableError, *passing)
    try:
        with user_code():
            return work(), ""
    except let_through:
        raise
    except Exception as problem:  # noqa: BLE001  # a subject may fail in any way; it is a result
        return None, one_line(problem)


def one_line(problem: BaseException) -> str:
    """An exception in one short line; never empty."""
    text = errors.one_line(str(problem))
    return f"{type(problem).__name__}: {text[:160]}" if text else type(problem).__name__


_Function = TypeVar("_Function", bound=Callable[[Any], Measured])

SEVERAL = 3
"""Draws of weights that a predicate is asked on whose answer depends on them."""

REGISTERED: dict[tuple[Kind, str], Predicate] = {}


def predicate(
    code: str,
    title: str,
    *,
    limit: Limit = "at most",
    threshold: float = 0.0,
    unit: str = "",
    on: Kind = "network",
    white_box: bool = False,
    needs: str = "",
    draws: int = 1,
) -> Callable[[_Function], _Function]:
    """List a function as the predicate `code`.

    Raises
    ------
    ValueError
        When the code is taken.
    """

    def listed(function: _Function) -> _Function:
        if (on, code) in REGISTERED:
            raise ValueError(f"{code} on a {on} is defined twice")
        REGISTERED[on, code] = Predicate(
            code=code,
            title=title,
            on=on,
            white_box=white_box,
            needs=needs,
            limit=limit,
            threshold=threshold,
            unit=unit,
            draws=draws,
            function=function,
        )
        return function

    return listed
