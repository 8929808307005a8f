"""The command line's verb `measure`: what two arms cost, in pairs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import ConfigError
from harness.verbs.common import (
    BaselineOption,
    CandidateOption,
    DataDirOption,
    ExperimentArg,
    SetOption,
    StoreOption,
    WithoutOption,
    grid_of,
    say,
    verb,
)

if TYPE_CHECKING:
    from harness.costs import Costs
    from harness.running.grid import Grid
    from harness.running.store_folder import Store

_UNITS = {"s": (1e3, "ms"), "bytes": (2**-20, "MiB")}


@verb("abharness measure quick --profile")
def measure(
    experiment: ExperimentArg = "quick",
    store: StoreOption = Path("runs"),
    data_dir: DataDirOption = [],  # noqa: B006  # typer copies defaults
    baseline: BaselineOption = None,
    candidate: CandidateOption = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also profile operators, and memory over time.")
    ] = False,
    lease_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", envvar="ABHARNESS_LEASE", help="Lock file to use, not the host's own."
        ),
    ] = None,
    changes: SetOption = [],  # noqa: B006
    without: WithoutOption = [],  # noqa: B006
) -> None:
    """Measure the speed, memory and size of two arms, in pairs.

    Holds the host's lock, so that no other run of abharness disturbs the measurement. Units that
    the results are compared with are run first if they are missing.
    """
    from harness.experiments.experiment import MeasureSettings
    from harness.measure.pair import MeasuringTask, measure_pair
    from harness.measure.record import pair_of
    from harness.running.fill import default_workers, fill
    from harness.running.store_folder import open_store
    from harness.verbs.progress import LineProgress

    opened = open_store(store)
    grid = grid_of(experiment, data_dir, seeds=None, changes=changes, without=without, store=opened)
    policy = grid.experiment.policy
    ask = MeasuringTask(
        baseline=baseline or policy.baseline,
        candidate=candidate or policy.candidate,
        settings=grid.experiment.measure or MeasureSettings(),
        profile=profile,
        lease_file=lease_file,
    )
    dataset = ask.settings.dataset  # timed forecasts are compared with units, run where missing
    cells = pair_of(grid, baseline=ask.baseline, candidate=ask.candidate, dataset=dataset)
    count = default_workers(grid.experiment.run.threads)
    names = [str(cell) for cell in cells]
    fill(grid, opened, workers=count, progress=LineProgress(workers=count), only=names)
    costs = measure_pair(grid, opened, ask, tell=_tell)
    for line in cost_lines(costs):
        say(line)
    say(f"record: measurement {costs.record} in {opened.root}, head {opened.journal.short}")


UNASKED_S = 60.0
"""`compare` measures unasked what takes no longer."""


def measure_as_asked(
    grid: Grid,
    store: Store,
    *,
    baseline: str | None = None,
    candidate: str | None = None,
    unasked: bool = False,
) -> None:
    """Measure a pair after a run, the policy's if none is named, where the experiment asks.

    A pair that was measured on such a machine stays as it is. A pair whose units are not all in
    the store (a shard, say) is left for later.

    Parameters
    ----------
    unasked
        Without a table `[measure]` too, if it takes under a minute and the machine is quiet;
        ``ABHARNESS_COSTS=no`` in the environment says that it never does.
    """
    from harness.experiments.experiment import MeasureSettings
    from harness.measure.load import sample_load
    from harness.measure.pair import MeasuringTask, measure_pair
    from harness.measure.record import machine_class, pair_of, record_key
    from harness.measure.session import session_s
    from harness.running.cells import cell_record, has_cell
    from reports.words.reason_words import why

    asked, policy = grid.experiment.measure, grid.experiment.policy
    unasked = unasked and os.environ.get("ABHARNESS_COSTS") != "no"
    if not (unasked if asked is None else asked.with_run):
        return
    ask = MeasuringTask(
        baseline=baseline or policy.baseline,
        candidate=candidate or policy.candidate,
        settings=asked or MeasureSettings(budget_s=UNASKED_S, wait_s=0),
    )
    dataset = ask.settings.dataset
    cells = pair_of(grid, baseline=ask.baseline, candidate=ask.candidate, dataset=dataset)
    whole = all(has_cell(store, cell) for cell in cells)
    if not whole or store.journal.last("measurement", record_key(*cells, machine_class())):
        return
    if asked is None:
        spent = [cell_record(store, cell).seconds for cell in cells]
        if session_s(ask.settings, spent) > UNASKED_S:
            return
        if busy := sample_load().problem("now"):
            say(f"note: costs are not measured: {why(busy)}", err=True)
            return
    try:
        measure_pair(grid, store, ask, tell=_tell)
    except ConfigError as problem:
        if asked is not None:
            raise
        say(f"note: costs are not measured: {problem}", err=True)


def cost_lines(costs: Costs) -> list[str]:
    """Costs as a table for a terminal, with reasons below."""
    from reports.words.reason_words import why_all

    heads = ("cost", costs.baseline, costs.candidate, "ratio", "95 % interval", "A/A noise", "n")
    rows = [heads]
    for cost in costs.items.values():
        timed = cost.low is not None and not cost.exact
        row = (
            cost.criterion,
            _absolute(cost.baseline, cost.unit),
            _absolute(cost.candidate, cost.unit),
            "-" if cost.ratio is None else f"{cost.ratio:.3f}",
            f"{cost.low:.3f} to {cost.high:.3f}" if timed else "-",
            "-" if cost.noise_floor is None else f"{100 * cost.noise_floor:.1f} %",
            str(cost.n),
        )
        rows.append(row)
    widths = [max(len(row[at]) for row in rows) for at in range(len(heads))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    for cost in costs.items.values():
        if cost.reasons:
            kind = "no evidence" if cost.ratio is not None else "none"
            lines.append(f"{cost.criterion}: {kind}: {why_all(cost.reasons)}")
    return [f"{costs.candidate} over {costs.baseline} on {costs.dataset}", *lines]


def _absolute(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    factor, shown = (1.0, unit) if unit == "s" and value >= 1 else _UNITS.get(unit, (1.0, unit))
    return f"{value * factor:,.4g} {shown}"


def _tell(text: str) -> None:
    say(f"measuring: {text}", err=True)
