"""What the gate found when it judged itself: a record, made in `selftest`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["passed", "failed", "not run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestPart:
    """One of the six parts.

    Attributes
    ----------
    code
        ``a`` to ``f``.
    title
        What must be true.
    state
        ``not run`` says why in `said` and is no pass.
    said
        What was found, in one sentence.
    """

    code: str
    title: str
    state: State
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """All parts."""

    parts: tuple[SelfTestPart, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence for each part that failed."""
        return tuple(
            f"The gate's self-test failed, part {each.code} ({each.title}): {each.said}"
            for each in self.parts
            if each.state == "failed"
        )

    @property
    def passed(self) -> int:
        """How many parts passed."""
        return sum(each.state == "passed" for each in self.parts)
