"""The command line's verb `power`: what a plan can decide, before it is paid for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.verbs.common import (
    BaselineOption,
    CandidateOption,
    DataDirOption,
    ExperimentArg,
    PolicyOption,
    SeedsOption,
    StoreOption,
    say,
    seed_numbers,
    verb,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.gate.plan_power import Outlook, PowerReport


@verb("abharness power my-experiment.toml")
def power(
    experiment: ExperimentArg = "quick",
    store: StoreOption = Path("runs"),
    data_dir: DataDirOption = [],  # noqa: B006  # typer copies defaults
    seeds: SeedsOption = None,
    policy: PolicyOption = None,
    baseline: BaselineOption = None,
    candidate: CandidateOption = None,
    form: Annotated[
        Literal["table", "json"], typer.Option("--format", help="How to write results.")
    ] = "table",
) -> None:
    """Say which criteria the plan can decide, and how many origins or seeds the others need.

    Uses stored scores of the pair where there are any, else two random walks run at once.
    """
    from harness.gate.judge import with_pair
    from harness.gate.plan_power import plan_power
    from harness.running.store import is_store, open_store
    from harness.verbs.common import grid_of

    grid = grid_of(experiment, data_dir, seeds=seed_numbers(seeds), policy=policy)
    opened = open_store(store, create=False) if is_store(store) else None
    wanted = with_pair(grid.experiment.policy, grid, baseline=baseline, candidate=candidate)
    found = plan_power(grid, opened, policy=wanted)
    if form == "json":
        typer.echo(_json(found))
    else:
        say("\n".join(_lines(found)))


def _json(found: PowerReport) -> str:
    import json

    from harness.judging.verdict import plain
    from reports.words.facts import say as in_words

    content = plain(found) | {"source": in_words(found.source)}
    for each, row in zip(found.outlooks, content["outlooks"], strict=True):
        row["silent"] = in_words(each.silent) if each.silent else ""
    return json.dumps(content, indent=1, sort_keys=True)


def _lines(found: PowerReport) -> Iterator[str]:
    from reports.words.facts import say as in_words

    yield f"how losses vary: from {in_words(found.source)}"
    yield (
        f"all guardrails together are to be decided with a chance of {100 * found.power:g} %, so "
        f"each with {100 * found.power_each:.1f} %"
    )
    head = ("finding", "bound", "detectable", "chance", "decidable", "needs", "there by")
    rows = [head, *map(_row, found.outlooks)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    count = sum(each.decidable for each in found.outlooks)
    yield f"{count} of {len(found.outlooks)} findings can be decided by this plan"


def _row(each: Outlook) -> tuple[str, ...]:
    from reports.words.facts import say as in_words

    needs = "-"
    if each.origins_needed is not None:
        needs = f"{each.origins_needed} origins (now {each.origins})"
    elif each.seeds_needed is not None:
        needs = f"{each.seeds_needed} seeds a side (now {each.seeds[0]} and {each.seeds[1]})"
    elif each.silent:
        needs = in_words(each.silent)
    elif not each.decidable:
        needs = "out of reach"
    return (
        each.finding,
        f"{100 * each.bound:+.3g} %",
        "-" if each.detectable is None else f"{100 * each.detectable:.2g} %",
        "-" if each.chance is None else f"{100 * each.chance:.0f} %",
        "yes" if each.decidable else "no",
        needs,
        each.decided_by or "-",
    )
