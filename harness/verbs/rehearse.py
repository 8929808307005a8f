"""The verb `rehearse`: what a nightly job would have said, had it been started then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from harness.verbs.common import (
    PairAsked,
    opened,
    say,
    seed_numbers,
    verb,
)

if TYPE_CHECKING:
    from harness.gate.rehearsal import Rehearsal


@verb("abharness rehearse nightly --from 2019-01-01")
def rehearse(
    pair: PairAsked = PairAsked(experiment="nightly"),  # noqa: B008  # frozen
    since: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="The first night.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Sessions from night to night.")] = 1,
) -> None:
    """Say what the nightly would have said, night by night, from stored forecasts.

    Runs no model. The same stands there for planted truths: arms exchanged, and a candidate exactly
    at its margins.
    """
    from harness.experiments.waivers import as_date
    from harness.gate.judge import with_pair
    from harness.gate.rehearsal import rehearse as rehearsed

    grid, kept = opened(
        pair.experiment,
        pair.store,
        pair.data_dir,
        seeds=seed_numbers(pair.seeds),
        changes=pair.changes,
        without=pair.without,
        policy=pair.policy,
        create=False,
    )
    policy = grid.experiment.policy
    wanted = with_pair(policy, grid, baseline=pair.baseline, candidate=pair.candidate)
    day = "" if since is None else as_date(since, "--from")
    for each in rehearsed(grid, kept, policy=wanted, since=day, every=every):
        say("\n".join(_lines(each)) + "\n")


def _lines(found: Rehearsal) -> Iterator[str]:
    """One stream: a row a look, and what stood in the end."""
    first, last = found.looks[0][0], found.looks[-1][0]
    yield (
        f"{found.truth}: {found.nights} nights from {first.until}, {len(found.looks)} looks, at "
        f"most {last.most} non-overlapping origins"
    )
    ids = [f.id for f in found.looks[0][1].findings if f.comparison and f.role != "limit"]
    rows = [("look", "until", "origins", "spent", *ids, "says")]
    for look, verdict in found.looks:
        findings = {each.id: each for each in verdict.findings}
        cells = []
        for name in ids:
            each = findings[name]
            level = look.levels[each.dataset].of(each.role)
            at = "-" if each.value is None else f"{100 * each.value:+.1f}"
            mark = {"PROMOTE": " held", "REJECT": " broken"}.get(each.outcome, "")
            cells.append(f"{at} at {'-' if level is None else f'{100 * level:.1f}'} %{mark}")
        counts = "/".join(map(str, look.origins.values()))
        rows.append(
            (
                str(look.number),
                look.until,
                counts,
                f"{100 * look.spent:.1f} %",
                *cells,
                verdict.outcome,
            )
        )
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    decided = found.outcome in ("PROMOTE", "REJECT")
    yield f"{'decided' if decided else 'in the end'}: {found.outcome} on {last.until}"
