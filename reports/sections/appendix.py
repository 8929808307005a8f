"""The end of the page: arms, data, policy and environment at length, and a glossary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reports.page_input import ArmFacts, DatasetFacts, PageInput, machine_text
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
    pairs,
    table_of,
    text,
    there,
)
from reports.words import numbers, verdicts

_LISTS = ("criteria", "coverage", "waivers")


def policy_tables(page: PageInput) -> tuple[Block, ...]:
    """Settings, criteria, coverage rules, limits, evidence asked for and waivers."""
    policy = page.verdict.policy
    flat = {
        name: value
        for name, value in policy.items()
        if name not in _LISTS and not isinstance(value, Mapping)
    }
    limits, evidence = (policy.get(name) for name in ("limits", "evidence"))
    states, heads = page.verdict.waivers, ("until", "owner", "reason", "what it did")
    waivers = table_of(
        "Waivers",
        ("Finding", *heads),
        (
            (
                TableCell(text=each.waiver.finding, code=True),
                *(each.waiver.until, each.waiver.owner, each.waiver.reason),
                verdicts.waiver(each),
            )
            for each in states
        ),
        words=heads,
        note=f"Held against {page.verdict.judged_on}." if page.verdict.judged_on else "",
    )
    return there(
        pairs("Settings", flat),
        _rules("Criteria", policy.get("criteria")),
        _rules("Coverage rules", policy.get("coverage")),
        pairs("Limits", limits) if isinstance(limits, Mapping) else None,
        pairs("Evidence asked for", evidence) if isinstance(evidence, Mapping) else None,
        waivers if states else None,
    )


def _rules(caption: str, value: Any) -> Table | None:
    """A row for each rule of a list; what is empty stands for all."""
    listed = value if isinstance(value, list | tuple) else ()
    rows = [row for row in listed if isinstance(row, Mapping)]
    if not rows:
        return None

    def said(value: Any) -> str:
        if isinstance(value, Mapping):
            value = {name: each for name, each in value.items() if each}
        return "all" if value in ([], (), {}) else numbers.plain(value)

    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    return table_of(
        caption,
        ("Rule", *names),
        (
            (str(at), *(text(said(row.get(name))) for name in names))
            for at, row in enumerate(rows, 1)
        ),
        words=names,
    )


def arm_facts(arm: ArmFacts) -> dict[str, str]:
    """Flatten an arm's facts for a definition list."""
    found = {"use": arm.use, "role": arm.role}
    options = ", ".join(f"{name} = {numbers.plain(value)}" for name, value in arm.options.items())
    found["options"] = options or "none"
    if arm.residual_distribution:
        found["distribution"] = "added by the harness from residuals on the validation span"
    found |= {f"SHA-256 of {name}": digest for name, digest in arm.weights.items()}
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
    machines = dict.fromkeys(machine_text(unit.machine) for unit in page.units.values())
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


GLOSSARY = (
    Term(
        name="Origin",
        text="The first session of a forecast, which gives it its date: both sides see everything "
        "before it, and neither that session nor a later one. Origins are independent where the "
        "sessions they are judged on do not overlap. One whose forecast was issued before its "
        "outcome is prospective.",
    ),
    Term(
        name="Guardrail",
        text="A rule that the candidate must not break: not worse than the legacy arm by more than "
        "its limit. A gain is a rule that asks for better; a limit is on a count or a cost.",
    ),
    Term(
        name="Shown, undecided, worse",
        text="How a rule came out. Shown: the bounds of every method keep the limit. Worse: they "
        "lie beyond it. Undecided: they reach across it. A count is kept or not.",
    ),
    Term(
        name="Bounds",
        text="What the effect may be, at the error rate of the policy on each side. Not bounded: "
        "the legacy loss varies too much between origins for a ratio to it to have bounds. Over "
        "+900 %: the evidence is too little to say more than that.",
    ),
    Term(
        name="Look, attempt",
        text="A look is a reading of growing evidence at its share of the error rate. Another "
        "model, seed or rule on the same origins is another attempt, and is counted.",
    ),
    Term(
        name="RMSE",
        code="sqrt(mean((y − f)²))",
        text="Root mean squared error of the point path, in the unit of the data; large misses "
        "weigh most.",
    ),
    Term(
        name="MAE",
        code="mean(|y − f|)",
        text="Mean absolute error of the point path, in the unit of the data.",
    ),
    Term(
        name="MAPE",
        code="100 · mean(|y − f| / |y|)",
        text="In per cent. It prefers low forecasts, so it is shown and never judged alone.",
    ),
    Term(
        name="CRPS",
        code="2 · ∫ pinball(u) du over levels u",
        text="Error of the whole predictive distribution, in the unit of the data; for a point "
        "forecast it is the MAE. Every arm is scored on the same level grid.",
    ),
    Term(
        name="MASE",
        code="mean(|y − f|) / mean(|change from session to session, before the origin|)",
        text="Absolute error in units of a typical one-session change: comparable over decades.",
    ),
    Term(
        name="Coverage",
        code="share of outcomes inside the central interval",
        text="Should be near the nominal level: below it the interval is too narrow, above it "
        "too wide. Coverage error: the distance from nominal; against the legacy arm's, less than "
        "0 is nearer.",
    ),
    Term(
        name="Width",
        code="upper − lower end of the central interval",
        text="In the unit of the data. Of two arms with the right coverage the narrower is better.",
    ),
    Term(
        name="Skill",
        code="1 − loss / loss of the random walk",
        text="Above 0 is better than the random walk, which forecasts the last price. On "
        "prices this is the bar. As in rules, losses are shares of the last value.",
    ),
    Term(
        name="Effect",
        code="loss of the candidate / loss of the legacy arm − 1",
        text="On the same windows, with losses divided by the last value seen. Below 0 the "
        "candidate is better. Of coverage: the share itself; of coverage error: points.",
    ),
    Term(
        name="HAC t, block bootstrap",
        code="intervals for the same effect",
        text="Both allow for windows that overlap; with several seeds a bootstrap of seeds and "
        "blocks joins them. A rule is decided only where all agree. The HAC t test at a long lag "
        "can only keep a rule from being shown broken.",
    ),
)


def glossary(page: PageInput) -> Iterator[Section]:
    """Formulas and how to read them."""
    yield Section(
        id="glossary",
        title="Glossary",
        link="Glossary",
        items=(
            Details(
                summary="Every measure with its formula",
                blocks=(
                    Text(
                        text="y is the actual, f the point path; means run over windows and steps.",
                        style="note",
                    ),
                    Facts(terms=GLOSSARY, style="glossary"),
                ),
            ),
        ),
    )


PLACEMENTS = (
    Placement(order=910, page=arms),
    Placement(order=920, page=data),
    Placement(order=930, page=policy),
    Placement(order=940, page=environment),
    Placement(order=1000, page=glossary),
)
