"""The command line's verb `power`: what a plan can decide, before it is paid for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.verbs.common import (
    PairAsked,
    say,
    seed_numbers,
    verb,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.gate.plan_power import PowerReport
    from harness.judging.findings import RulePower


@verb("abharness power my-experiment.toml")
def power(
    pair: PairAsked = PairAsked(experiment="quick"),  # noqa: B008  # frozen
    form: Annotated[
        Literal["table", "json"], typer.Option("--format", help="Output format.")
    ] = "table",
) -> None:
    """Show the chance that the plan decides each criterion.

    Shows it for a range of true effects. Uses the pair's stored scores; if there are none, two
    random walks are run.
    """
    import json

    from harness.gate.plan_power import plan_power
    from harness.judging.verdict import plain
    from harness.running.store_folder import is_store, open_store
    from harness.verbs.common import grid_of
    from reports.words.facts import say as in_words

    opened = open_store(pair.store, create=False) if is_store(pair.store) else None
    grid = grid_of(
        pair.experiment,
        pair.data_dir,
        seeds=seed_numbers(pair.seeds),
        changes=pair.changes,
        without=pair.without,
        policy=pair.policy,
        store=opened,
    )
    wanted = grid.experiment.policy_on(baseline=pair.baseline, candidate=pair.candidate)
    found = plan_power(grid, opened, policy=wanted)
    if form == "table":
        say("\n".join(_lines(found)))
        return
    content = plain(found) | {"source": in_words(found.source)}
    for each, row in zip(found.outlooks, content["outlooks"], strict=True):
        row["silent"] = in_words(each.silent) if each.silent else ""
    typer.echo(json.dumps(content, indent=1, sort_keys=True))


def _lines(found: PowerReport) -> Iterator[str]:
    from reports.words.facts import say as in_words

    yield f"how losses vary: from {in_words(found.source)}"
    yield (
        "chance that a criterion is decided if the candidate's losses truly differ by so much "
        "(coverage: if it is as promised)"
    )
    effects = next((each.chances for each in found.outlooks if each.chances), ())
    heads = [f"{100 * effect:+.0f} %" if effect else "0 %" for effect, _ in effects]
    head = ("finding", "limit", *heads, "as found", "shown today", "needs")
    rows = [head, *(_row(each, len(heads)) for each in found.outlooks)]
    if found.whole:
        both = [f"{100 * low:.0f} to {100 * high:.0f} %" for _, low, high in found.whole]
        rows.append(("all guardrails", "", *both, "", "", ""))
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    if found.looks:
        yield (
            "chance that it is shown to hold at the first look / by the last look, with "
            f"{found.looks[0].most} non-overlapping origins / if that were the only look"
        )
        rows = [("finding", *heads)]
        for each in found.looks:
            cells = [
                " / ".join(f"{100 * chance:.0f}" for chance in row[1:]) for row in each.chances
            ]
            rows.append((each.finding, *(f"{cell} %" for cell in cells)))
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        for row in rows:
            yield "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
    for dataset, count in found.room.items():
        yield f"the history of {dataset} holds {count} more independent origins"


def _row(each: RulePower, count: int) -> tuple[str, ...]:
    from reports.words.facts import say as in_words
    from reports.words.numbers import plain_effect

    if each.decided and each.effect is not None:
        needs = "decided"
    elif each.silent:
        needs = in_words(each.silent)
    elif each.more_origins is not None:
        needs = f"{each.more_origins:,} more independent origins (now {each.independent_n})"
    elif each.seeds_needed is not None:
        needs = f"{each.seeds_needed} seeds a side (now {each.seeds[0]} and {each.seeds[1]})"
    else:
        needs = "-" if each.effect is None else "no number of origins is enough"
    found = "-"
    if each.effect is not None and each.chance is not None:
        found = f"{plain_effect(each.unit, each.effect)}: {100 * each.chance:.0f} %"
    return (
        each.finding,
        plain_effect(each.unit, each.bound),
        *(
            [
                f"{100 * chance:.0f} %" if each.unit == "share" or effect == 0 else ""
                for effect, chance in each.chances
            ]
            or ["-"] * count
        ),
        found,
        "-" if each.settled_at is None else plain_effect(each.unit, each.settled_at),
        needs,
    )
