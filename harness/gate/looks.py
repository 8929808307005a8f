"""Looks and attempts of a store: how often the same evidence was read, and how often asked anew.

Records: ``look`` (one reading of an attempt) and ``tried`` (what was judged on which origins); what
was asked before the first fit is recorded by `harness.gate.registration`. A *meaning* is a pair
with its options, its plans and the rules; another meaning on origins that share a session with
these, or the same one with other numbers, is another attempt, whoever made it and by whatever verb.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.errors import StoreError
from harness.gate.dossier import Dossier
from harness.judging.declared import Look
from harness.judging.fact import Fact, FactCode, Value, fact
from harness.judging.findings import Outcome
from harness.judging.sequential import grown, latches, look_at
from harness.judging.verdict import Verdict, plain
from harness.parsing import parse_record
from harness.running.cells import issued_in_time
from harness.running.grid import Grid
from harness.running.sources import digest
from harness.running.store_folder import Store
from harness.scoring.scores import UnitScores, in_time_order, non_overlapping, reach_of

LOOK, TRIED = "look", "tried"
CLOSE = 1e-6
"""Means that differ by less, as a share, are the same numbers: sums round with the machine."""
Means = dict[str, dict[str, float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What was judged on some origins.

    Attributes
    ----------
    name
        Of the attempt.
    meaning
        Digest of what was asked.
    what
        Digests of its parts by name: pair, options, plans, rules.
    seeds
        Of both sides.
    spans
        Dataset to the ISO dates of the first and the last origin, and of the last session judged.
    means
        Cell of the pair to its mean scores on these origins.
    at
        ISO date.
    """

    name: str
    meaning: str
    what: Mapping[str, str]
    seeds: tuple[int, ...]
    spans: Mapping[str, tuple[str, str, str]]
    means: Mapping[str, Mapping[str, float | None]]
    at: str = field(default="", compare=False)

    @property
    def until(self) -> str:
        """The last session judged, of any dataset."""
        return max((span[2] for span in self.spans.values()), default="")

    def goes_on(self, now: Attempt, scores: Sequence[UnitScores]) -> bool:
        """Whether another asks the same of the same numbers; origins and seeds may be added.

        Parameters
        ----------
        scores
            Those that the other one is asked of.
        """
        if self.meaning != now.meaning or not set(self.seeds) <= set(now.seeds):
            return False
        both = self.spans.keys() & now.spans.keys()
        if any(self.spans[name][0] != now.spans[name][0] for name in both):
            return False
        again: Mapping[str, Mapping[str, float | None]] = now.means
        if self.spans != now.spans:
            again = _means_of(up_to([u for u in scores if _cell_of(u) in self.means], self.spans))
        for cell, known in self.means.items():
            for name, mean in known.items():
                other = again.get(cell, {}).get(name, math.nan)
                if mean is None or other is None:  # a mean of nothing equals no number
                    if mean is not other:
                        return False
                elif not abs(other - mean) <= CLOSE * abs(mean) + CLOSE**2:
                    return False
        return True

    def other_than(self, before: Attempt) -> tuple[str, ...]:
        """Which parts of what is asked are other than in an attempt before, by name."""
        other = [name for name, value in self.what.items() if before.what.get(name) != value]
        other += ["seeds"] if before.seeds != self.seeds else []
        return tuple(other or ["numbers"])

    def meets(self, now: Attempt) -> bool:
        """Whether both were judged on a dataset's same sessions."""
        return any(
            name in self.spans and self.spans[name][0] <= span[2] and span[0] <= self.spans[name][2]
            for name, span in now.spans.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PastLook:
    """A look that was taken.

    Attributes
    ----------
    outcome, verdict
        What it said, and the name of its verdict.
    outcomes
        Finding id to outcome.
    latched
        Findings shown to hold up to and at this look, with the date of theirs.
    """

    look: Look
    outcome: Outcome
    verdict: str
    outcomes: Mapping[str, str]
    latched: Mapping[str, str]

    @property
    def ended(self) -> bool:
        """Whether no look comes after it: decided, or all that was planned has come."""
        return self.outcome in (Outcome.PROMOTE, Outcome.REJECT) or self.look.last


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceReading:
    """How evidence is to be read now.

    Attributes
    ----------
    tried
        The attempt it belongs to.
    attempt
        Its number on these origins, from 1.
    facts
        What must be said of it.
    look
        The look to take; None where all is looked at once.
    standing
        The look that stands, where nothing has come since or nothing comes any more.
    before
        The look before.
    """

    tried: Attempt
    attempt: int
    facts: tuple[Fact, ...] = ()
    look: Look | None = None
    standing: PastLook | None = None
    before: PastLook | None = None


def independent_of(scores: Sequence[UnitScores]) -> dict[str, int]:
    """Non-overlapping origins by dataset, of scores that share a plan."""
    first = {unit.dataset: unit for unit in reversed(scores)}
    return {
        name: len(non_overlapping(unit.origin, reach_of(unit)))
        for name, unit in sorted(first.items())
    }


def up_to(
    scores: Sequence[UnitScores], spans: Mapping[str, tuple[str, str, str]]
) -> list[UnitScores]:
    """The scores of the origins of some spans."""
    found = []
    for unit in map(in_time_order, scores):
        first, last, _ = spans.get(unit.dataset, ("9999-12-31", "", ""))
        days = np.datetime_as_string(unit.origin_date.astype("datetime64[D]"), "D")
        found.append(unit.at((days >= first) & (days <= last)))
    return found


def read_now(asked: Dossier, scores: Sequence[UnitScores]) -> EvidenceReading:
    """Say how the scores of a grid are to be read: at which look, as which attempt.

    Parameters
    ----------
    scores
        Of every cell of the grid.
    """
    store, policy = asked.store, asked.policy
    now = tried_now(asked, scores)
    known = all_tried(store)
    mine = next((each.name for each in reversed(known) if each.goes_on(now, scores)), now.name)
    now = dataclasses.replace(now, name=mine)
    names = list(dict.fromkeys(each.name for each in known))
    earlier = names[: names.index(mine)] if mine in names else names
    met = {each.name: each for each in known if each.name in earlier and each.meets(now)}
    others = [met[name] for name in earlier if name in met]
    attempt = len(others) + 1
    share = None if policy.looks is None else policy.looks.share(attempt)
    facts: tuple[Fact, ...] = ()
    if others:
        told: dict[str, Value] = {"since": others[0].at, "what": now.other_than(others[-1])}
        facts = (fact(FactCode.TRIED_BEFORE, attempt=attempt, **told, share=share),)
    facts += tuple(
        fact(FactCode.RECORDS_LOST, at=row.at[:10], why=str(body["why"]))
        for row, body in store.journal.all("adopt")
        if row.key == asked.name
    )
    if policy.looks is None:
        return EvidenceReading(tried=now, attempt=attempt, facts=facts)
    only: dict[str, tuple[str, ...]] = {}
    if not share:
        since = next((each.at for each in known if each.name == mine), "")
        only = _prospective(asked, since) if since else {}
        scores = at_look_only(scores, only)
        used = sum(map(len, only.values()))
        facts = (*facts, fact(FactCode.ATTEMPTS_USED, attempt=attempt, since=since, origins=used))
    taken, origins = looks_taken(store, now.name), independent_of(scores)
    last = taken[-1] if taken else None
    alike = last if last is not None and bool(last.look.prospective) == bool(only) else None
    decided = last is not None and last.outcome in (Outcome.PROMOTE, Outcome.REJECT)
    if decided or (alike is not None and (alike.ended or not grown(origins, alike.look))):
        return EvidenceReading(tried=now, attempt=attempt, facts=facts, standing=last, before=last)
    look = look_at(
        policy,
        origins,
        until=now.until,
        earlier=[each.look for each in taken],
        latched=alike.latched if alike else None,
        attempt=attempt,
        prospective=only,
    )
    return EvidenceReading(tried=now, attempt=attempt, facts=facts, look=look, before=last)


def _prospective(asked: Dossier, since: str) -> dict[str, tuple[str, ...]]:
    """Dates of the origins whose outcome came after a day, by dataset, and nobody could know.

    Every forecast of the pair was issued in time there. Empty where a dataset has fewer than it
    takes to compare anything.
    """
    found = {}
    for name, split in asked.grid.splits.items():
        cells = [cell for cell in asked.cells if cell.dataset == name]
        in_time = set.intersection(*(set(issued_in_time(asked.store, [cell])) for cell in cells))
        dates, gap = split.dataset.series.dates, split.plan.gap
        later = [row for row in sorted(in_time) if str(dates[row + gap]) > since]
        found[name] = tuple(str(dates[row]) for row in later)
    enough = min(map(len, found.values()), default=0) >= asked.policy.evidence.origins
    return found if enough else {}


def at_look_only(
    scores: Sequence[UnitScores], only: Mapping[str, Sequence[str]]
) -> list[UnitScores]:
    """The scores of the origins that alone count; all of them where no dataset names any."""
    if not only:
        return list(scores)
    return [
        unit.at(np.isin(unit.origin_date, np.array(only.get(unit.dataset, ()), "datetime64[D]")))
        for unit in scores
    ]


def tried_now(asked: Dossier, scores: Sequence[UnitScores]) -> Attempt:
    """What is asked, and the numbers it is asked of."""
    grid, policy = asked.grid, asked.policy
    pair = (policy.candidate, policy.baseline)
    rules = {
        k: v for k, v in plain(policy).items() if k not in (*_NOT_RULES, "baseline", "candidate")
    }
    refs = [grid.experiment.arm(name) for name in pair]
    plans = {name: plain(split.plan) for name, split in grid.splits.items()}
    for plan in plans.values():
        plan.pop("origins", None)
    what = {
        "pair": digest([ref.use for ref in refs]),
        "options": digest([dict(ref.options) for ref in refs]),
        "plans": digest(plans),
        "rules": digest(rules),
    }
    spans = {}
    for name, split in grid.splits.items():
        dates, windows = split.dataset.series.dates, split.windows
        first, last = (str(dates[int(windows.origin[place])]) for place in (0, -1))
        spans[name] = (first, last, str(dates[int(windows.judged.max())]))
    means = _means_of([unit for unit in scores if unit.arm in pair])
    meaning = digest(what)
    return Attempt(
        name=digest([meaning, means])[:16],
        meaning=meaning,
        what=what,
        seeds=tuple(sorted({unit.seed for unit in scores if unit.arm in pair})),
        spans=spans,
        means=means,
    )


_NOT_RULES = ("waivers", "hold_as", "looks", "power")
"""Settings of a policy that change nothing of what is shown."""


def _means_of(scores: Sequence[UnitScores]) -> Means:
    """Mean of every score of each cell; None where it has none."""
    return {
        _cell_of(unit): {
            name: float(fine.mean()) if (fine := cells[np.isfinite(cells)]).size else None
            for name, cells in sorted(unit.values.items())
        }
        for unit in scores
    }


def _cell_of(unit: UnitScores) -> str:
    return f"{unit.arm}/{unit.dataset}/{unit.seed}"


def all_tried(store: Store) -> list[Attempt]:
    """What was judged in a store, in order."""
    return [
        parse_record(Attempt, {**body, "at": row.at[:10]}, where=f"{TRIED} {row.key}")
        for row, body in store.journal.all(TRIED)
    ]


def looks_taken(store: Store, name: str) -> list[PastLook]:
    """Every look of an attempt, in order."""
    return [
        parse_record(PastLook, store.journal.body(row), where=f"{LOOK} {name}")
        for row in store.journal.records(LOOK)
        if row.key == name
    ]


def looks_of(store: Store, verdict: str) -> list[PastLook]:
    """Every look of the attempt that a verdict belongs to, up to that one; empty for none."""
    for row in store.journal.records(LOOK):
        if store.journal.body(row)["verdict"] == verdict:
            taken = looks_taken(store, row.key)
            return taken[: [each.verdict for each in taken].index(verdict) + 1]
    return []


def record_reading(store: Store, reading: EvidenceReading, verdict: Verdict, name: str) -> None:
    """Write that something was judged, and the look that was taken; an INVALID one is none."""
    if store.journal.read_only or verdict.outcome is Outcome.INVALID:
        return
    body = {key: value for key, value in plain(reading.tried).items() if key != "at"}
    with store.journal.writing():
        store.journal.append_new(TRIED, reading.tried.name, body)
        if reading.look is None:
            return
        if len(looks_taken(store, reading.tried.name)) != reading.look.number - 1:
            raise StoreError(
                f"{store.root}: another job took look {reading.look.number} in the meantime; "
                "run the command again to see what stands"
            )
        taken = PastLook(
            look=reading.look,
            outcome=verdict.outcome,
            verdict=name,
            outcomes={each.id: each.outcome.value for each in verdict.findings},
            latched=latches(verdict.findings, reading.look),
        )
        store.journal.append(LOOK, reading.tried.name, plain(taken))


def sessions_to_next(grid: Grid, scores: Sequence[UnitScores]) -> int | None:
    """Sessions until the next non-overlapping origin can be judged, on the dataset it is first on.

    None where no plan grows, or the data have ended.
    """
    waits = []
    for unit in {unit.dataset: unit for unit in scores if len(unit)}.values():
        split = grid.splits[unit.dataset]
        if split.dataset.manifest.ended or not split.plan.grows:
            continue
        reach, stride = reach_of(unit), split.plan.stride
        last = int(unit.origin[non_overlapping(unit.origin, reach)[-1]])
        following = last + -(-reach // stride) * stride
        waits.append(max(1, following + reach - len(split.dataset)))
    return min(waits, default=None)


def news_of(
    reading: EvidenceReading,
    verdict: Verdict,
    earlier: tuple[Outcome, int] | None,
    *,
    wait: int | None,
) -> Fact:
    """What is new, in one fact.

    Parameters
    ----------
    earlier
        Outcome of the verdict before on the pair, and the non-overlapping origins that came since,
        of the dataset with most of them; None for the first.
    wait
        Sessions until the next of them.
    """
    outcome = verdict.outcome.value
    if earlier is None:
        return fact(FactCode.FIRST_VERDICT, outcome=outcome, attempt=reading.attempt)
    before, new = earlier
    if before is not verdict.outcome and new:
        return fact(FactCode.BECAME, before=before.value, outcome=outcome, origins=new)
    if before is not verdict.outcome:
        return fact(FactCode.BECAME_OTHERWISE, before=before.value, outcome=outcome)
    if new:
        return fact(FactCode.STILL, outcome=outcome, origins=new)
    return fact(FactCode.NOTHING_NEW, outcome=outcome, since=reading.tried.until, wait=wait)
