"""Waivers: findings that do not bind for a while, with an owner, a reason and an end date.

A waiver is a row that stays visible until it ends. It never waives an INVALID: where no
conclusion is allowed there is nothing to look away from.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from harness.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """One waiver of a policy.

    Attributes
    ----------
    finding
        Id of the findings it speaks of, such as ``GOLD:mape:guardrail``; ``*`` is allowed.
    owner, reason
        Who answers for it, and why.
    until
        ISO date of the last day on which it holds.
    """

    finding: str
    owner: str
    reason: str
    until: str

    def __post_init__(self) -> None:
        for name in ("finding", "owner", "reason"):
            if not getattr(self, name).strip():
                raise ConfigError(f"[[policy.waivers]] {name} is empty")
        as_date(self.until, "[[policy.waivers]] until")

    def matches(self, finding: str) -> bool:
        """Whether it speaks of the finding of that id."""
        return fnmatch.fnmatchcase(finding, self.finding)

    def holds_on(self, day: str) -> bool:
        """Whether it has not ended on an ISO date."""
        return day <= self.until

    def __str__(self) -> str:
        return f"{self.finding} until {self.until}, by {self.owner}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiverState:
    """What a waiver did in one verdict.

    Attributes
    ----------
    waiver
        As written.
    active
        It had not ended on the day of the verdict.
    waived
        Ids of findings that would otherwise have bound.
    """

    waiver: Waiver
    active: bool
    waived: tuple[str, ...]


def states(
    waivers: Sequence[Waiver], *, today: str | None, open_findings: Sequence[str]
) -> tuple[WaiverState, ...]:
    """Say what each waiver does.

    Parameters
    ----------
    today
        ISO date of the verdict; without one nothing is waived.
    open_findings
        Ids of the findings that stand against the candidate: broken or undecided.
    """
    found = []
    for each in waivers:
        active = today is not None and each.holds_on(today)
        waived = tuple(name for name in open_findings if active and each.matches(name))
        found.append(WaiverState(waiver=each, active=active, waived=waived))
    return tuple(found)


def idle(waivers: Iterable[Waiver], findings: Sequence[str]) -> list[Waiver]:
    """Waivers that match no finding at all."""
    return [each for each in waivers if not any(map(each.matches, findings))]


def as_date(text: str, where: str) -> str:
    """Check an ISO date.

    Raises
    ------
    ConfigError
        When it is none.
    """
    try:
        found = date.fromisoformat(text).isoformat()
    except ValueError:
        found = ""
    if not found or found != text:  # 20301231 is one too, and is not in order among the others
        raise ConfigError(f"{where} = '{text}': expected a date such as 2030-12-31")
    return found
