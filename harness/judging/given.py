"""What a verdict rests on besides scores and policy, handed in by whoever judges.

All of it is recorded in the verdict, so that judging again needs neither the clock nor the arms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.costs import Cost

Fact = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The caller's part of a verdict.

    Attributes
    ----------
    stride
        Sessions between origins per dataset, held against the origins scored.
    room
        Independent origins per dataset that the data hold beyond those of the plan.
    costs
        Measured ratios candidate / legacy by criterion; empty where nothing was measured.
    cards
        What each arm says of itself: title and text.
    blind
        Whether an arm passed the check that later sessions change no forecast; an arm that was
        not checked is not in it.
    doubts
        What the caller found that must be known, though it forbids nothing.
    problems
        What the caller found that allows no conclusion: units that cannot be read, the same
        meaning with other scores.
    today
        ISO date on which the verdict is passed; only waivers depend on it.
    measure
        The command that measures costs.
    facts, fingerprints
        Shown with the verdict.
    """

    stride: Mapping[str, int] = field(default_factory=dict)
    room: Mapping[str, int] = field(default_factory=dict)
    costs: Mapping[str, Cost] = field(default_factory=dict)
    cards: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    blind: Mapping[str, bool] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    today: str | None = None
    measure: str = "abharness measure"
    facts: Mapping[str, Fact] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
