"""What was compared on what and by which rules: arms, data, policy, and their environment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reports.page_input import ArmFacts, DatasetFacts, PageInput
from reports.section import (
    Block,
    Details,
    Facts,
    Group,
    Placement,
    Section,
    Table,
    TableCell,
    Term,
    Text,
    Verbatim,
    columns,
    pairs,
    text,
    there,
)
from reports.words import numbers, verdicts

_LISTS = ("criteria", "coverage", "waivers")


def policy_tables(page: PageInput) -> tuple[Block, ...]:
    """Settings, criteria, coverage rules, limits, evidence asked for and waivers."""
    policy = page.verdict.policy
    plainly = {
        name: value
        for name, value in policy.items()
        if name not in _LISTS and not isinstance(value, Mapping)
    }
    return there(
        pairs("Settings", plainly),
        _rules("Criteria", policy.get("criteria")),
        _rules("Coverage rules", policy.get("coverage")),
        _mapping("Limits", policy.get("limits")),
        _mapping("Evidence asked for", policy.get("evidence")),
        _waivers(page),
    )


def _mapping(caption: str, value: Any) -> Table | None:
    return pairs(caption, value) if isinstance(value, Mapping) else None


def _rules(caption: str, value: Any) -> Table | None:
    rows = [row for row in _list(value) if isinstance(row, Mapping)]
    if not rows:
        return None
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    return Table(
        caption=caption,
        columns=columns("Rule", *names, words=names),
        rows=tuple(
            (text(str(at)), *(text(_said(row.get(name))) for name in names))
            for at, row in enumerate(rows, 1)
        ),
    )


def _list(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else ()


def _said(value: Any) -> str:
    if isinstance(value, list | tuple) and not value:
        return "all"
    if isinstance(value, Mapping):
        kept = {name: each for name, each in value.items() if each}
        return numbers.plain(kept) if kept else "all"
    return numbers.plain(value)


def _waivers(page: PageInput) -> Table | None:
    """Every waiver with what it did."""
    states = page.verdict.waivers
    if not states:
        return None
    return Table(
        caption="Waivers",
        columns=columns(
            "Finding",
            "until",
            "owner",
            "reason",
            "what it did",
            words=("until", "owner", "reason", "what it did"),
        ),
        rows=tuple(
            (
                TableCell(text=each.waiver.finding, code=True),
                text(each.waiver.until),
                text(each.waiver.owner),
                text(each.waiver.reason),
                text(verdicts.waiver(each)),
            )
            for each in states
        ),
        note=f"Held against {page.verdict.judged_on}." if page.verdict.judged_on else "",
    )


def arm_facts(arm: ArmFacts) -> dict[str, str]:
    """Flatten an arm's facts for a definition list."""
    found = {"use": arm.use, "role": arm.role}
    options = ", ".join(f"{name} = {numbers.plain(value)}" for name, value in arm.options.items())
    found["options"] = options or "none"
    if arm.residual_distribution:
        found["distribution"] = "added by the harness from residuals on the validation span"
    return found | {str(title): str(said) for title, said in arm.card.items()}


def data_facts(facts: DatasetFacts) -> dict[str, str]:
    """Flatten a dataset's facts for a definition list."""
    dates = facts.dates
    span = f"{dates[0]} to {dates[-1]}, {len(dates):,} sessions" if len(dates) else "none"
    refit = "once" if facts.refit is None else f"every {numbers.plural(facts.refit, 'origin')}"
    return {
        "title": facts.title,
        "unit": facts.unit,
        "sessions used": span,
        "origins": f"{facts.origins:,}, {facts.first_origin} to {facts.last_origin}",
        "plan": f"stride {facts.stride}, horizon {facts.horizon}, gap {facts.gap}, fitted {refit}",
        "skip_repeats": f"{'on' if facts.skip_repeats else 'off'}; "
        f"{numbers.percent(facts.repeats)} of sessions repeat the price before them",
        "source": facts.source,
        "licence": facts.licence,
        "sha256": facts.sha256,
        "known quirks": "; ".join(facts.quirks) or "none",
        "warnings on loading": "; ".join(facts.warnings) or "none",
    }


def arms(page: PageInput) -> Iterator[Section]:
    """A card for each arm."""
    cards = tuple(
        Facts(
            title=arm.name,
            note="a repaired build" if arm.repaired else "",
            terms=_terms(arm_facts(arm)),
        )
        for arm in page.arms
    )
    said = numbers.listing(page.label(arm.name) for arm in page.arms)
    yield _folded("arms", "Arms", "cards", cards, said=said, absent="None described.")


def data(page: PageInput) -> Iterator[Section]:
    """A card for each dataset."""
    cards = tuple(
        Facts(title=facts.id, terms=_terms(data_facts(facts))) for facts in page.datasets.values()
    )
    said = numbers.listing(
        f"{facts.id} ({facts.title})" if facts.title != facts.id else facts.id
        for facts in page.datasets.values()
    )
    yield _folded("data", "Data", "cards", cards, said=said, absent="None described.")


def policy(page: PageInput) -> Iterator[Section]:
    """The policy as written, rule by rule."""
    tables = policy_tables(page)
    said = "Every setting, rule and waiver"
    yield _folded("policy", "Policy", "tables", tables, said=said, absent="None recorded.")


def environment(page: PageInput) -> Iterator[Section]:
    """What the numbers depend on, and the experiment file."""
    verdict = page.verdict
    machines = dict.fromkeys(unit.machine_text for unit in page.units.values())
    digests = verdict.validity.truth_digests
    tables = there(
        pairs("Facts of the plan", verdicts.plan(verdict.plan)),
        pairs("Environment", page.environment),
        pairs("Machines", {f"machine {i}": m for i, m in enumerate(machines, 1)}),
        pairs("Versions", page.versions),
        pairs("Fingerprints", {**verdict.fingerprints, **page.fingerprints}, code=True),
        pairs("Digests of what was judged against", digests, code=True),
    )
    file, group = Verbatim(text=page.experiment_text), Group(blocks=tables, style="tables")
    yield Section(
        id="environment",
        title="Environment, versions, fingerprints",
        link="Environment",
        items=there(
            Details(summary="Versions, machines, digests", blocks=(group,))
            if tables
            else Text(text="None recorded."),
            Details(summary="The experiment file", blocks=(file,)) if file.text else None,
        ),
    )


def _folded(
    name: str, title: str, style: str, blocks: tuple[Block, ...], *, said: str, absent: str
) -> Section:
    group = Details(summary=said, blocks=(Group(blocks=blocks, style=style),))
    return Section(
        id=name, title=title, link=title, items=(group if blocks else Text(text=absent),)
    )


def _terms(found: Mapping[str, str]) -> tuple[Term, ...]:
    return tuple(Term(name=name, text=said) for name, said in found.items())


PLACEMENTS = (
    Placement(order=910, page=arms),
    Placement(order=920, page=data),
    Placement(order=930, page=policy),
    Placement(order=940, page=environment),
)
