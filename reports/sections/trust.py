"""What the verdict rests on, in short and at length: checks, power, self-test, failures."""

from __future__ import annotations

from collections.abc import Iterator

from harness.judging.fact import FactCode
from harness.judging.findings import RulePower, chances_of_all
from harness.judging.validity import Mark, Validity
from reports.page_input import PageInput
from reports.section import (
    Basis,
    BasisList,
    Block,
    Command,
    Details,
    Lines,
    Placement,
    Row,
    Section,
    Table,
    TableCell,
    Text,
    table_of,
    there,
)
from reports.words import numbers, verdicts
from reports.words.facts import say

_ORIGIN_WORDS = ("checkpoint", "origin", "contamin", "pretrain", "trained on", "weights")


def strip(page: PageInput) -> list[Basis]:
    """Say in a few words each what the verdict rests on."""
    seen, tested = page.verdict.validity, page.verdict.self_test
    same = seen.pairing == "holds"
    windows = "one set of origins and actuals" if same else "not shown to be the same windows"
    noted = "" if any(unit.failures for unit in seen.units) else ", none failed"
    cells = f"{seen.present} of {seen.declared} cells{noted}{completeness_noted(seen)}"
    judged: Mark = "note"
    gate = f"not run: {page.beside.command('gate')}"
    if tested is not None:
        bad = [part.code for part in tested.parts if part.state == "failed"]
        failed = f"; failed: {', '.join(bad)}" if bad else ""
        gate = f"{verdicts.parts_passed(tested)}{failed}"
        judged = tested.mark
    return [
        Basis(label="Same windows", mark=seen.pairing, text=windows),
        Basis(label="Completeness", mark=seen.completeness, text=cells),
        *_known_before(page),
        _above_reference(page),
        Basis(label="Gate self-test", mark=judged, text=gate),
        _new_evidence(page),
    ]


def _known_before(page: PageInput) -> Iterator[Basis]:
    """What the arms may know of the judged span: by looking ahead, or from their pretraining."""
    seen = page.verdict.validity
    text = "no later session used"
    if seen.future_blindness == "broken":
        arms = numbers.listing(each.arm for each in seen.blindness if each.state == "failed")
        text = f"{arms} reads past its origin"
    elif seen.future_blindness == "note":
        untested = [each.arm for each in seen.blindness if each.state == "not tested"]
        text = f"{untested[0]} not tested" if len(untested) == 1 else "neither side tested"
    yield Basis(label="Look-ahead test", mark=seen.future_blindness, text=text)
    text = "nothing of this span"
    if seen.uncontaminated != "holds":
        known = [each.share for each in seen.contamination if each.share is not None]
        text = "unknown: the candidate names no data"
        if known and len(known) == len(seen.contamination):
            most = numbers.percent(max(known), digits=0)
            text = f"up to {most} of origins may be in its pretraining data, by its card"
    yield Basis(label="Pretraining data", mark=seen.uncontaminated, text=text)


def _above_reference(page: PageInput) -> Basis:
    seen = page.verdict.validity
    parts, beaten, behind, name = [], [], [], ""
    for dataset, sides in seen.bars.items():
        mine, theirs = (sides.get(arm) for arm in (page.verdict.candidate, page.verdict.legacy))
        skill = None if mine is None else mine.skill
        parts.append(f"{numbers.percent(skill, signed=True)} on {dataset}")
        name = numbers.metric_name(next(iter(sides.values())).metric)
        beaten.append(skill is not None and skill > 0)
        if theirs is not None and not (theirs.skill is not None and theirs.skill > 0):
            behind.append(dataset)
    text = f"skill by {name} {', '.join(parts)}" if parts else "no reference arm"
    if behind and all(beaten):  # or the mark would not fit the words
        text += f"; legacy's is not above 0 on {numbers.listing(behind)}"
    return Basis(label="Against random walk", mark=seen.above_reference(), text=text)


def _new_evidence(page: PageInput) -> Basis:
    label, change = "Since the last look", page.beside.since
    if change is None:
        return Basis(label=label, mark="note", text="no verdict before to compare with")
    look = f" (verdict {page.beside.verdicts} on this pair)" if page.beside.verdicts > 1 else ""
    if change.before is None:
        return Basis(label=label, mark="holds", text="the first look at this pair")
    counts = [
        f"{numbers.plural(count, 'new origin')} on {name}"
        for name, count in change.new_origins.items()
    ]
    if not any(change.new_origins.values()):
        return Basis(label=label, mark="note", text=f"no new origin{look}")
    return Basis(label=label, mark="holds", text=f"{numbers.listing(counts)}{look}")


def at_length(page: PageInput) -> list[Basis]:
    """Say at length what the findings rest on, each as a word, a mark and a sentence."""
    return [
        *_windows(page),
        _blindness(page),
        *_distribution(page),
        *_random_walk(page),
        *_crossings(page),
        *_origins(page),
        *_plan(page),
    ]


def _windows(page: PageInput) -> Iterator[Basis]:
    """Whether all cells are there, on the same windows for every arm, and which windows failed."""
    seen = page.verdict.validity
    text = f"{seen.present} of {seen.declared} declared cells have scores"
    if seen.missing:
        text += f"; missing: {numbers.listing(map(str, seen.missing[:4]))}"
        text += f" and {len(seen.missing) - 4} more" if len(seen.missing) > 4 else ""
    text += completeness_noted(seen)
    yield Basis(label="Completeness", mark=seen.completeness, text=f"{text}.")
    text = f"Same origins and same actuals for every arm on {numbers.listing(seen.truth_digests)}."
    if seen.pairing != "holds":
        torn = [name for name, digest in seen.truth_digests.items() if not digest]
        where = f" on {numbers.listing(torn)}" if torn else ""
        text = f"It is not shown that all arms were judged on the same windows{where}."
    yield Basis(label="Same windows", mark=seen.pairing, text=text)
    windows = numbers.plural(sum(unit.windows for unit in seen.units), "window")
    failed: dict[str, int] = {}
    for unit in seen.units:
        if unit.failures:
            failed[unit.arm] = failed.get(unit.arm, 0) + unit.failures
    text = f"None of {windows} (all arms and seeds) failed."
    if failed:
        by_arm = numbers.listing(f"{arm} ({count})" for arm, count in failed.items())
        text = f"{sum(failed.values())} of {windows} failed: {by_arm}."
    yield Basis(label="Failures", mark=seen.failures, text=text)


def completeness_noted(seen: Validity) -> str:
    """What is known beside the cells: failed windows, one seed, other seeds than declared."""
    failed = sum(unit.failures for unit in seen.units)
    windows = sum(unit.windows for unit in seen.units)
    lost = f", {failed:,} of {windows:,} windows failed" if failed else ""
    alone = ", one seed only" if seen.doubted(FactCode.ONE_SEED) else ""
    picked = ", hand-picked seeds" if seen.doubted(FactCode.HAND_PICKED_SEEDS) else ""
    return lost + alone + picked


def _blindness(page: PageInput) -> Basis:
    """Which sides were shown not to see past their origin, and how to try those that were not."""
    states = {each.arm: each.state for each in page.verdict.validity.blindness}
    sides = (page.verdict.legacy, page.verdict.candidate)
    untested = [arm for arm in sides if states.get(arm, "not tested") == "not tested"]
    said = [f"{arm}: {state}" for arm, state in states.items() if state != "not tested"]
    said += [f"{arm}: not tested: {page.beside.check_command(arm)}" for arm in untested]
    return Basis(
        label="Look-ahead test",
        mark=page.verdict.validity.future_blindness,
        text=f"Whether later sessions change a forecast. {'; '.join(said)}.",
    )


def _distribution(page: PageInput) -> Iterator[Basis]:
    marked = {unit.arm for unit in page.verdict.validity.units if unit.residual_distribution}
    marked |= {arm.name for arm in page.arms if arm.residual_distribution}
    if marked:
        yield Basis(
            label="Distribution",
            mark="note",
            text=f"{numbers.listing(sorted(marked))} give a point path only: the harness makes the "
            "predictive distribution (CRPS, coverage, width) of each from its own residuals on the "
            "validation span.",
        )


def _random_walk(page: PageInput) -> Iterator[Basis]:
    seen = page.verdict.validity
    for dataset, sides in seen.bars.items():
        texts = [
            f"{side.arm} {numbers.percent(side.skill, signed=True)}" for side in sides.values()
        ]
        metric = numbers.metric_name(next(iter(sides.values())).metric)
        reference = next(iter(sides.values())).reference
        yield Basis(
            label=f"Against random walk, {dataset}",
            mark=seen.above_reference(dataset),
            text=f"Skill in {metric} against {reference} (above 0 is better than it): "
            f"{numbers.listing(texts)}.",
        )


def _crossings(page: PageInput) -> Iterator[Basis]:
    for arm in (page.verdict.candidate, page.verdict.legacy):
        units = [unit for unit in page.verdict.validity.units if unit.arm == arm]
        crossed = max((unit.crossings for unit in units), default=0.0)
        beyond = max((unit.extrapolated for unit in units), default=0)
        parts = []
        if crossed:
            parts.append(f"up to {numbers.percent(crossed)} of a unit's cells came out of order")
        if beyond:
            levels = numbers.plural(beyond, "level")
            parts.append(f"{levels} of the common grid had to be extrapolated")
        if parts:
            text = f"Before scoring, {' and '.join(parts)}."
            yield Basis(label=f"Quantiles of {arm}", mark="note", text=text)


def _origins(page: PageInput) -> Iterator[Basis]:
    """Where the candidate's weights come from, as its card says."""
    facts = page.arm(page.verdict.candidate)
    if facts is None:
        return
    told = [
        f"{title}: {said}"
        for title, said in facts.card.items()
        if any(word in title.lower() for word in _ORIGIN_WORDS)
    ]
    silent = (
        f"{facts.name} does not say where its weights come from, nor whether they were trained on "
        "the judged span"
    )
    yield Basis(
        label="Checkpoint",
        mark=page.verdict.validity.uncontaminated if told else "note",
        text=f"{'; '.join(told) or silent}.",
    )


def _plan(page: PageInput) -> Iterator[Basis]:
    """When arms were fitted, what became of repeated prices, and under which installations."""
    datasets, plan = page.datasets.values(), page.verdict.plan
    if datasets:
        said = {None: "once, before the first origin", 1: "at each origin"}
        texts = dict.fromkeys(
            said.get(facts.refit, f"again every {facts.refit} origins") for facts in datasets
        )
        text = f"Arms that learn are fitted {'; '.join(texts)}."
        yield Basis(label="Refits", mark="holds", text=text)
        repeats = [
            f"{facts.id}: {numbers.percent(facts.repeats)} of sessions repeat the price before "
            f"them, {'dropped' if facts.skip_repeats else 'kept'}"
            for facts in datasets
        ]
        many = any(facts.repeats > 0.01 and not facts.skip_repeats for facts in datasets)
        mark: Mark = "note" if many else "holds"
        yield Basis(label="Repeated prices", mark=mark, text=f"{'; '.join(repeats)}.")
    for event in plan.maintenance if plan else ():
        mark = "holds" if event.values["equal"] else "note"  # whether its forecasts are the same
        yield Basis(label="Installation", mark=mark, text=say(event))


def basis(page: PageInput) -> Iterator[Section]:
    """At length: what must be known is shown, what holds is folded."""
    items = at_length(page)
    noted = tuple(each for each in items if each.mark != "holds")
    held = tuple(each for each in items if each.mark == "holds")
    passed = f"{numbers.plural(len(held), 'check')} passed"
    yield Section(
        id="basis",
        title="What it rests on",
        link="Trust",
        items=there(
            BasisList(items=noted) if noted else None,
            Details(summary=passed, blocks=(BasisList(items=held),)) if held else None,
        ),
    )


_COVERED = "Effects are of losses; of coverage the first column alone, where it is as promised."


def power(page: PageInput) -> Iterator[Section]:
    """The chance of deciding each rule by the true effect, folded."""
    rows = page.verdict.power
    effects = next((row.chances for row in rows if row.chances), ())
    heads = [
        f"if {numbers.percent(effect, digits=0, signed=True)}" if effect else "if equal"
        for effect, _ in effects
    ]
    shown: list[Row] = [_chances(row, len(heads)) for row in rows]
    if together := chances_of_all(rows):  # the least and the most that chance can be
        both = [
            numbers.between(*(numbers.percent(end, digits=0) for end in (low, high)))
            for _, low, high in together
        ]
        known = [row.chance for row in rows if row.role == "guardrail" and row.chance is not None]
        least = numbers.at_most(min(known)) if known else ""
        shown.append(("all guardrails together", "", *both, least, "", ""))
    table = table_of(
        "Chance of a decision, by the true effect",
        ("Rule", "limit", *heads, "if as found", "shown today", "more origins"),
        shown,
        words=("more origins",),
        note=f"{_COVERED} {_shared(page)}".strip(),
    )
    decided = sum(row.decided for row in rows)
    said = f"{decided} of {numbers.plural(len(rows), 'rule')} decided; the chances of the others"
    yield Section(
        id="power",
        title="What could be decided",
        items=(Details(summary=said, blocks=(table,)),) if effects else (),
        absent=Command(said="Not recorded with this verdict", command=page.beside.command("gate")),
    )


def _chances(row: RulePower, count: int) -> Row:
    chances = [  # no loss says how far coverage would be off
        numbers.percent(chance, digits=0) if row.unit == "share" or effect == 0 else ""
        for effect, chance in row.chances
    ]
    needed = "decided" if row.decided else numbers.NONE
    if not row.decided and row.more_origins is not None:
        needed = f"{row.more_origins:,}" + (f", by {row.decided_by}" if row.decided_by else "")
    elif not row.decided and row.seeds_needed is not None:
        needed = f"{row.seeds_needed} seeds a side"
    return (
        row.finding,
        numbers.effect(row.unit, row.bound),
        *(chances or [numbers.NONE] * count),
        TableCell(
            text=numbers.percent(row.chance, digits=0),
            note=say(row.silent) if row.silent else numbers.effect(row.unit, row.effect),
        ),
        numbers.effect(row.unit, row.settled_at),
        needed,
    )


def _shared(page: PageInput) -> str:
    """How error rate and power are shared over the findings."""
    shared = page.verdict.multiplicity
    if shared is None:
        return ""
    gains = ""
    if shared.successes:
        each = numbers.percent(shared.alpha_success)
        gains = f", {each} of each of {numbers.plural(shared.successes, 'gain')}"
    return (
        "More origins: so many that each rule is decided with a chance of "
        f"{numbers.percent(shared.power_each)}, and all {shared.guardrails} together with "
        f"{numbers.percent(shared.power, digits=0)}. One-sided error rates: a wrong PROMOTE "
        f"{numbers.percent(shared.alpha_guardrail)} (of each guardrail){gains}; a wrong REJECT "
        f"{numbers.percent(shared.alpha_reject)} over all rules together (Holm)."
    )


def self_test(page: PageInput) -> Iterator[Section]:
    """What the gate found when it judged itself; folded where every part passed."""
    found = page.verdict.self_test
    items: tuple[Block, ...] = ()
    if found is not None:
        table = table_of(
            "What the gate found when it judged itself by its rules on losses",
            ("Part", "result", "what was found"),
            (
                (
                    f"{part.code} {verdicts.self_test_title(part)}",
                    part.state,
                    say(part.found),
                )
                for part in found.parts
            ),
            words=("result", "what was found"),
        )
        items = (
            Details(
                summary=verdicts.parts_passed(found), blocks=(table,), open=found.mark == "broken"
            ),
        )
    yield Section(
        id="self-test",
        title="The gate's self-test",
        items=items,
        absent=Command(said="Not run for this verdict", command=page.beside.command("gate")),
    )


def failures(page: PageInput) -> Table | None:
    """Failed windows with their reasons, of scores first, then of units without; None without."""
    told = [
        ((unit.arm, unit.dataset, unit.seed), zip(unit.reason, unit.origin_date, strict=True))
        for unit in page.scores
    ]
    known = {key for key, _ in told}
    told += [
        (key, zip(page.answers[key].reason, page.answers[key].last_date, strict=True))
        for key in sorted(page.answers)
        if key not in known
    ]
    groups: dict[tuple[str, str, int, str], list[str]] = {}
    for key, windows in told:
        for reason, day in windows:
            if reason:
                groups.setdefault((*key, reason), []).append(str(day))
    if not groups:
        return None
    rows = []
    for (arm, dataset, seed, reason), days in list(groups.items())[:_SHOWN]:
        counted = (str(seed), f"{len(days):,}", min(days))
        log = page.beside.logs.get((arm, dataset, seed), "")
        said = TableCell(text=numbers.printable(reason), note=f"log: {log}" if log else "")
        rows.append((*(arm, dataset, *counted), said))
    left = numbers.plural(len(groups) - len(rows), "further reason")
    words = ("Dataset", "First origin", "Reason")
    return table_of(
        "Failed windows, by reason",
        ("Arm", "Dataset", "Seed", "Windows", "First origin", "Reason"),
        rows,
        words=words,
        note=f"{left} left out; the store holds all." if len(groups) > len(rows) else "",
    )


_SHOWN = 40


def fallback_table(page: PageInput) -> Table | None:
    """Windows that an arm's fallback answered, a row a reason; None where there are none."""
    rows = []
    for unit in page.scores:
        days = [str(day) for day in unit.origin_date[unit.answered_by_fallback]]
        reasons = [why for why in unit.fallback if why]
        for why in dict.fromkeys(reasons):
            mine = [day for day, each in zip(days, reasons, strict=True) if each == why]
            more = f" and {len(mine) - 4} more" if len(mine) > 4 else ""
            when, said = ", ".join(mine[:4]) + more, numbers.printable(why)
            cells = (unit.arm, unit.dataset, str(unit.seed), f"{len(mine):,}", when, said)
            rows.append(cells)
    if not rows:
        return None
    words = ("Dataset", "Origins", "Reason")
    return table_of(
        "Windows a fallback answered",
        ("Arm", "Dataset", "Seed", "Windows", "Origins", "Reason"),
        rows,
        words=words,
        note="None of them is credited to the arm: each counts as a failure of it.",
    )


def failed(page: PageInput) -> Iterator[Section]:
    """What went wrong, by reason."""
    missing = page.verdict.validity.missing
    gone = (Text(text="Cells of the grid without scores:"), Lines(lines=tuple(map(str, missing))))
    yield Section(
        id="failures",
        title="Failures",
        link="Failures",
        items=(
            *there(fallback_table(page), failures(page) or Text(text="No window failed.")),
            *(gone if missing else ()),
        ),
    )


PLACEMENTS = (
    Placement(order=200, page=basis),
    Placement(order=510, page=power),
    Placement(order=730, page=self_test),
    Placement(order=900, page=failed),
)
