"""The verb `nightly`: new data, what is new forecast, a look where one is due, the pages."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.verbs.common import (
    DataFolders,
    Experiment,
    FilePath,
    LeftOut,
    OnOption,
    RecordsFolder,
    Seeds,
    Settings,
    StoreFolder,
    StrictDataOption,
    WorkersOption,
    say,
    verb,
)
from harness.verbs.compare import compare
from harness.verbs.result import Result
from harness.verbs.rollout import rollout_night, rollouts_beside

if TYPE_CHECKING:
    from harness.judging.fact import Fact

CHANGED = 10
"""What it ends with where only a change is an alarm, and the decision is another one now."""


@verb("abharness nightly my-experiment.toml --store runs --alert-on change")
def nightly(
    experiment: Experiment = "nightly",
    *,
    store: StoreFolder = "runs",
    data_dir: DataFolders = (),
    workers: WorkersOption = 0,
    seeds: Seeds = None,
    changes: Settings = (),
    without: LeftOut = (),
    records: RecordsFolder = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Run even update commands of manifests that are not yours."),
    ] = False,
    strict_data: StrictDataOption = False,
    alert_on: Annotated[
        Literal["outcome", "change"],
        typer.Option(
            "--alert-on",
            help="outcome: the exit code is the decision. change: it is 10 if the decision "
            "changed, 5 for INVALID, else 0.",
        ),
    ] = "outcome",
    on: OnOption = None,
) -> Result:
    """Run the nightly job: update data, forecast, judge, write pages.

    Forecasts what is new and judges where a look is due. The exit code is that of the decision that
    stands, whether or not anything was new. A rollout file that lies beside the experiment and
    names it has its night too.

    Parameters
    ----------
    experiment, store, data_dir, workers, seeds, changes, without, records, strict_data, on
        As for `harness.compare`.
    trust
        Run the update commands of manifests that are not the user's own.
    alert_on
        ``outcome``: the exit code is that of the decision that stands. ``change``: it is 0 unless
        the decision is another one than the night before (10) or there is none (5, INVALID). A
        stage of a rollout that moved is a change.

    Raises
    ------
    InputError
        When experiment, data, arms or store cannot be used.
    """
    _update(experiment, [Path(each) for each in data_dir], changes, without, trust=trust)
    done = compare(
        experiment,
        store=store,
        data_dir=data_dir,
        workers=workers,
        seeds=seeds,
        changes=changes,
        without=without,
        records=records,
        strict_data=strict_data,
        on=on,
        nightly=True,
    )
    nights = [
        rollout_night(file, store=store, data_dir=data_dir, workers=workers)
        for file in rollouts_beside(experiment)
    ]
    code = done.exit_code if alert_on == "outcome" else alarm(done.news, done.exit_code)
    if alert_on == "change" and code == 0 and any(moved for _, moved in nights):
        code = CHANGED
    text = "\n".join([done.text, *(said for said, _ in nights)])
    return dataclasses.replace(done, text=text, exit_code=code)


def _update(
    experiment: FilePath,
    folders: list[Path],
    changes: Sequence[str],
    without: Sequence[str],
    *,
    trust: bool,
) -> None:
    """Get new sessions of every dataset that has a command; what fails is said, and no more."""
    from harness.data.dataset import find
    from harness.data.manifest import read_manifest
    from harness.data.refresh import refresh
    from harness.experiments.experiment import Edits, read_experiment

    def tell(text: str) -> None:
        say(text, err=True)

    edits = Edits(settings=tuple(changes), without=tuple(without))
    for name in read_experiment(str(experiment), edits).datasets:
        if read_manifest(find(name, folders)).update is not None:
            tell(refresh(name, folders=folders, trust=trust, tell=tell).line)


def alarm(news: Sequence[Fact], code: int) -> int:
    """The exit code where only a change is an alarm."""
    from harness.judging.fact import FactCode
    from harness.judging.findings import Outcome
    from harness.judging.verdict import EXIT_CODES

    if code == EXIT_CODES[Outcome.INVALID]:
        return code
    codes = {each.code for each in news}
    first = FactCode.FIRST_VERDICT in codes and code != EXIT_CODES[Outcome.HOLD]
    return CHANGED if first or codes & {FactCode.BECAME, FactCode.BECAME_OTHERWISE} else 0
