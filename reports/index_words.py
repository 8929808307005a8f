"""What the list of verdicts says of each of them."""

from __future__ import annotations

from dataclasses import dataclass

from harness.gate.history import Change
from reports import wording
from reports.index_inputs import Passed

_MOVED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """One verdict as the list shows it."""

    passed: Passed
    name: str
    changes: str


def what_changed(change: Change | None) -> str:
    """Say in words what changed since the last verdict on the same pair."""
    if change is None:
        return "the first on this pair"
    new = [f"{count:,} on {name}" for name, count in change.new_origins.items() if count]
    said = [f"new origins: {wording.listing(new)}" if new else "no new evidence"]
    if change.before != change.after:
        said.append(f"{change.before} became {change.after}")
    moved = [f"{name}: {was or 'none'} to {now or 'none'}" for name, (was, now) in _moved(change)]
    more = len(change.findings) - len(moved)
    said += moved + ([f"{more} more findings differ"] if more else [])
    if not change.same_meaning:
        said.append("policy, data, arms or code changed")
    return "; ".join(said)


def _moved(change: Change) -> list[tuple[str, tuple[str | None, str | None]]]:
    return list(change.findings.items())[:_MOVED]


def verdict_row(each: Passed) -> VerdictRow:
    """Word one verdict."""
    times = each.entry.confirmed
    again = f"; found again {wording.plural(times, 'time')}" if times else ""
    return VerdictRow(
        passed=each,
        name=f"{each.experiment} {each.entry.sequence}",
        changes=what_changed(each.change) + again,
    )
