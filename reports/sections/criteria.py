"""All numbers: of every rule by every method, and of the diagnostics beside the verdict."""

from __future__ import annotations

from collections.abc import Iterator

from harness.evidence.diagnostics import Diagnostics, SecondaryClaim
from harness.judging.findings import GRAVEST
from harness.stats.confidence_set import ConfidenceSet, Member
from reports.page_input import PageInput
from reports.section import (
    Block,
    Command,
    Details,
    Lines,
    Placement,
    Section,
    Table,
    TableCell,
    Text,
    table_of,
    text,
    there,
)
from reports.sections.scorecard import limit_text
from reports.words import numbers
from reports.words.reason_words import why
from reports.words.sentences import sentence_of

_METHODS = {
    "hac": "HAC t",
    "long": "HAC t, long lag",
    "bootstrap": "block bootstrap",
    "two_level": "bootstrap of seeds and blocks",
    "independent": "independent",
}

_TEST_HEADS = (
    *("Rule", "candidate", "legacy", "DM statistic", "p (equal)", "origins"),
    *("not overlapping", "effective", "HAC lag", "block", "resamples", "range over seeds"),
    *("last origins alone", "failed"),
)


def criteria(page: PageInput) -> Table:
    """Every number of every criterion, a row per method."""
    heads = (
        *("Rule", "limit", "method", "n", "effect", "one-sided bounds", "two-sided interval"),
        *("p within", "p beyond", "concludes"),
    )
    rows = []
    for finding in page.verdict.findings:
        limit = text(limit_text(finding))
        named = f"{numbers.metric_name(finding.metric)} on {finding.dataset}"
        name = TableCell(text=named, note=finding.role)
        estimates = finding.comparison.estimates if finding.comparison else ()
        if not estimates:
            found = "" if finding.value is None else numbers.number(finding.value)
            kind = "count" if finding.role == "limit" else "none"
            told = (kind, "", found, "", "", "", "", numbers.finding_word(finding))
            rows.append((name, limit, *told))
        for each in estimates:
            told = (
                _METHODS.get(each.method, each.method),
                f"{each.n:,}",
                numbers.found(finding, each.effect),
                numbers.found_range(finding, each.lower, each.upper),
                numbers.found_range(finding, each.low, each.high),
                p_text(each.p_within),
                p_text(each.p_beyond),
                each.conclusion,
            )
            rows.append((name, limit, *told))
    return table_of(
        "All numbers of every rule, by every method",
        heads,
        rows,
        words=("limit", "method", "concludes"),
        note="A small 'p within' shows that the candidate keeps its limit, a small 'p beyond' "
        "that it breaks it. The decision rests on the one-sided bounds. Independent: HAC t on the "
        "origins that do not overlap, shown and not decisive.",
    )


def p_text(value: float | None) -> str:
    """Write a p-value."""
    if value is None:
        return numbers.NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def tests(page: PageInput) -> Table | None:
    """The setting and the equality test of each comparison; None where nothing was compared."""
    rows = []
    for finding in page.verdict.findings:
        found = finding.comparison
        if found is None:
            continue
        write = numbers.percent if finding.unit == "points" else numbers.number
        sample, effect, equality, recent = found.sample, found.effect, found.equality, found.recent
        worth = found.variances.effective_n if found.variances else None
        told = (
            write(effect.candidate),
            write(effect.legacy),
            numbers.number(equality.statistic if equality else None),
            p_text(equality.p_value if equality else None),
            f"{sample.n:,}",
            f"{sample.independent_n:,}",
            numbers.NONE if worth is None else f"{worth:,.0f}",
            f"{found.lengths.lag:,}",
            f"{found.lengths.block:,}",
            f"{found.lengths.resamples:,}",
            numbers.NONE
            if effect.seed_low is None
            else numbers.found_range(finding, effect.seed_low, effect.seed_high),
        )
        name = f"{numbers.metric_name(finding.metric)} on {finding.dataset}"
        lately = text(
            numbers.NONE if recent is None else numbers.found(finding, recent.effect),
            "" if recent is None else f"{recent.n:,} since {recent.since}",
        )
        failed = text(f"{found.failed.candidate:,} / {found.failed.legacy:,}")
        rows.append((TableCell(text=name, note=finding.role), *told, lately, failed))
    if not rows:
        return None
    return table_of(
        "What the comparisons are made of",
        _TEST_HEADS,
        rows,
        note="DM: Diebold-Mariano test of equal losses, two-sided, at the lag and in the "
        "fixed-smoothing law of the t test that decides. Losses are scaled by the last value seen. "
        "PROMOTE is HOLD while the last origins alone lie beyond the limit. "
        "Failed: windows of the candidate and of the legacy arm, filled in against the candidate.",
    )


def standings(page: PageInput) -> Table | None:
    """Both sides against the reference by every metric; None when there is no reference."""
    rows = tuple(
        (
            row.arm,
            row.dataset,
            numbers.metric_name(row.metric),
            numbers.number(row.value),
            numbers.number(row.reference_value),
            numbers.percent(row.skill, signed=True),
        )
        for row in page.verdict.validity.standings
    )
    if not rows:
        return None
    against = numbers.listing(
        dict.fromkeys(row.reference for row in page.verdict.validity.standings)
    )
    return table_of(
        f"Both sides against {against}",
        ("Arm", "Dataset", "Metric", "value", against, "skill"),
        rows,
        words=("Dataset", "Metric"),
    )


def all_numbers(page: PageInput) -> Iterator[Section]:
    """Each finding in a sentence, and every number of every rule behind a click."""
    found = sorted(page.verdict.findings, key=lambda each: GRAVEST.index(each.outcome))
    tables = there(criteria(page), tests(page), standings(page))
    yield Section(
        id="criteria",
        title="Every rule in a sentence",
        link="Rules",
        items=(
            Lines(
                lines=tuple(f"{numbers.finding_word(each)}: {sentence_of(each)}" for each in found),
                style="findings",
            ),
            *(Details(summary=table.caption, blocks=(table,)) for table in tables if table.rows),
        )
        if found
        else (Text(text="None."),),
    )


def beside_the_verdict(page: PageInput) -> Iterator[Section]:
    """A table behind a click for each diagnostic."""
    found = page.verdict.diagnostics
    items: tuple[Block, ...] = ()
    if found is not None:
        made = (
            _best_arms(page, found),
            _secondary(page, found),
            *_by_loss(found),
            *_of_distributions(page, found),
        )
        lines = Lines(lines=tuple(f"{why(each)}." for each in found.notes))
        items = there(
            *(Details(summary=each.caption, blocks=(each,)) for each in made if each.rows),
            lines if lines.lines else None,
        )
    yield Section(
        id="diagnostics",
        title="Diagnostics",
        note="beside the verdict, they decide nothing",
        items=items,
        absent=Command(said="Not run for this verdict", command=page.beside.command("gate")),
    )


def _best_arms(page: PageInput, found: Diagnostics) -> Table:
    def standing(among: ConfidenceSet, member: Member) -> str:
        """Why an arm is not in the set."""
        if member.standing == "no_number":
            return f"{member.number:.0f} of {among.n} losses have no number"
        beside = page.label(member.beside)
        if member.standing == "hopeless":
            return f"left out first: {member.number:.1f} times the loss of {beside}"
        return f"ties with {beside}" if member.standing == "ties" else p_text(member.p_value)

    heads = ("metric", "in the set", "left out, p")
    rows = []
    for each in found.confidence_sets:
        out = [f"{page.label(m.arm)} {standing(each, m)}" for m in each.members if not m.kept]
        kept = numbers.listing(map(page.label, each.kept)) or "none"
        told = (each.dataset, numbers.metric_name(each.metric), kept, ", ".join(out) or "none")
        rows.append(told)
    return table_of(
        "Which arms may be the best (model confidence sets)",
        ("Dataset", *heads),
        rows,
        words=heads,
        note=f"Each set holds the best arm with probability "
        f"{numbers.percent(1 - found.alpha, digits=0)} or more. It compares all arms at "
        "once, and so may keep one that a test of two arms alone, as elsewhere on this page, shows "
        "to be worse.",
    )


def _secondary(page: PageInput, found: Diagnostics) -> Table:
    def row(each: SecondaryClaim) -> Iterator[TableCell]:
        yield from map(text, (page.label(each.legacy), each.dataset))
        yield text(numbers.metric_name(each.metric))
        yield text(numbers.percent(each.effect, signed=True))
        yield from map(text, map(p_text, (each.p_value, each.adjusted)))
        yield TableCell(text=each.claim, note=why(each.reason))

    return table_of(
        "Candidate against every legacy arm by every other loss",
        ("Against", "dataset", "metric", "effect", "p", "p (Holm)", "claim"),
        (tuple(row(each)) for each in found.secondary),
        words=("dataset", "metric", "claim"),
        note="Secondary: shown for the record, decides nothing. Two-sided tests of equal losses; "
        f"Holm over all of them at {numbers.percent(found.alpha, digits=0)}.",
    )


def _by_loss(found: Diagnostics) -> tuple[Table, Table]:
    """Two tests of each loss: whether past losses tell, and whether it differed all the time."""
    tells, over_time = [], []
    for each in found.conditional:
        told = (
            f"{each.n:,}",
            p_text(each.p_value),
            numbers.number(each.persistence),
            numbers.percent(each.losing_share),
            why(each.reason),
        )
        tells.append((each.dataset, numbers.metric_name(each.metric), *told))
    for test in found.fluctuations:
        spans = "; ".join(f"{s.first} to {s.last}: {s.loser} loses" for s in test.spans)
        over_time.append(
            (
                *(test.dataset, numbers.metric_name(test.metric)),
                *(f"{test.n:,}", f"{test.window:,}"),
                *map(numbers.number, (test.largest, test.smallest, test.critical)),
                spans or why(test.reason) or "at no time",
            )
        )
    return (
        table_of(
            "When the candidate loses: do past losses tell? (Giacomini and White)",
            ("Dataset", "metric", "n", "p", "persistence", "expected to lose", "note"),
            tells,
            words=("metric", "note"),
            note="A small p: where it lost last time helps to tell where it will lose next.",
        ),
        table_of(
            "Was the difference there all the time? (fluctuation test)",
            (
                *("Dataset", "metric", "n", "window", "largest", "smallest", "critical"),
                "shown to differ",
            ),
            over_time,
            words=("metric", "shown to differ"),
        ),
    )


def _of_distributions(page: PageInput, found: Diagnostics) -> tuple[Table, Table]:
    """Tests of each arm's distribution: by its intervals, and as a whole."""
    intervals, wholes = [], []
    for each in found.intervals:
        tests = (each.unconditional, each.independence, each.joint, each.dynamic_quantile)
        told = (
            *(page.label(each.arm), each.dataset, str(each.step), f"{each.level} %"),
            numbers.percent(each.coverage),
            *map(p_text, tests),
            why(each.reason),
        )
        intervals.append(told)
    for whole in found.uniformity:
        told = (
            *(page.label(whole.arm), whole.dataset, str(whole.step), f"{whole.n:,}"),
            *map(numbers.number, (whole.centre, whole.spread)),
            p_text(whole.p_value),
            why(whole.reason),
        )
        wholes.append(told)
    words = ("dataset", "note")
    return (
        table_of(
            "Do intervals cover what they promise, and do misses come one by one?",
            (
                *("Arm", "dataset", "step", "level", "covered", "rate (Kupiec)"),
                *("clusters (Christoffersen)", "both", "dynamic quantile", "note"),
            ),
            intervals,
            words=words,
            note="P-values: a small one speaks against the arm's intervals.",
        ),
        table_of(
            "Are the distributions uniform in the PIT? (Kn\u00fcppel)",
            ("Arm", "dataset", "step", "n", "centre", "spread", "p", "note"),
            wholes,
            words=words,
            note="An honest arm has centre 0 (above: outcomes lie high) and spread 1 (above: too "
            "narrow).",
        ),
    )


PLACEMENTS = (Placement(order=250, page=all_numbers), Placement(order=520, page=beside_the_verdict))
