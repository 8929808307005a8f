"""The command line's verb `store`: is it what was written; what goes, comes in, is given up."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.errors import ConfigError, DamagedRecordsError
from harness.verbs.common import DataDirOption, StoreOption, say, verb

if TYPE_CHECKING:
    from harness.gate.upkeep import StoreCheck

DIFFERS = 5
"""A store that is not what was written supports no conclusion: the code of INVALID."""
_SHOWN = 10
_Ask = Literal["check", "prune", "adopt", "drop"]


@verb("abharness store check --store runs")
def store(
    ask: Annotated[_Ask, typer.Argument(metavar="ACTION", help="What to do.")],
    what: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT|PART", help="The experiment to adopt, the part to drop."
        ),
    ] = "",
    store: StoreOption = Path("runs"),
    data_dir: DataDirOption = [],  # noqa: B006  # typer copies defaults
    why: Annotated[
        str,
        typer.Option("--why", metavar="TEXT", help="Reason for adopt or drop; it is recorded."),
    ] = "",
) -> None:
    """Check or prune a store; adopt lost parts or drop damaged ones.

    `check` walks the chain of records, compares every file with its seal and judges each standing
    verdict again from the forecasts; it ends with 5 if anything differs. `prune` removes derived
    files and parts that no experiment needs. `adopt EXPERIMENT --why` takes in the parts of a store
    whose records are lost, as a new attempt. `drop PART --why` gives up a damaged part.
    """
    if ask in ("adopt", "drop") and not (what and why):
        needs = "an experiment" if ask == "adopt" else "the key of a part"
        raise ConfigError(f"store {ask}: needs {needs} and --why, which is recorded")
    if ask in ("check", "prune") and (what or why):
        raise ConfigError(f"store {ask}: expected no further argument and no --why")
    if ask == "adopt":
        _adopt(what, store, data_dir, why)
        return
    from harness.gate import upkeep
    from harness.running.store_folder import open_store

    if ask == "check":
        try:
            opened = open_store(store, create=False)
            found = upkeep.check_store(opened)
        except DamagedRecordsError as problem:  # nothing else can be told then
            say(str(problem))
            raise typer.Exit(DIFFERS) from None
        _say_found(found, opened.journal.short)
        return
    opened = open_store(store, create=False)
    if ask == "prune":
        gone = upkeep.prune(opened)
        say(
            f"removed {gone.parts} parts, {gone.fits} fits, {gone.scores} files of scores, "
            f"{gone.drawn} folders of drawn verdicts, {gone.deliveries} deliveries: "
            f"{gone.bytes / 2**20:,.1f} MiB"
        )
    else:
        key = upkeep.drop(opened, what, why=why)
        say(f"dropped part {key[:12]}; `abharness run` forecasts its origins again")
        say(f"head {opened.journal.short}")


def _say_found(found: StoreCheck, head: str) -> None:
    from reports.words.facts import say as in_words

    say(f"{found.records} records, {found.fits} fits, {found.parts} parts, head {head}")
    for line in found.damage:
        say(f"damaged: {line}")
    for name, differences in found.verdicts.items():
        say(f"{name}: judged again: {'differs' if differences else 'the same, byte by byte'}")
        for each in differences[:_SHOWN]:
            say(f"  {in_words(each)}")
        if len(differences) > _SHOWN:
            say(f"  and {len(differences) - _SHOWN} more: `abharness replay {name}` lists them")
    for kind, names in (("scores made again", found.stale), ("not sealed", found.unsealed)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            say(f"{kind}: {', '.join(names[:3])}{more}")
    if not found.sound:
        raise typer.Exit(DIFFERS)


def _adopt(experiment: str, root: Path, data_dir: list[Path], why: str) -> None:
    from harness.gate.upkeep import adopt
    from harness.running.store_folder import open_store
    from harness.verbs.common import grid_of

    opened = open_store(root, without_records=True)
    grid = grid_of(experiment, data_dir, seeds=None, store=opened)
    found = adopt(opened, grid, why=why)
    more = f", sealed {found.delivered} from incoming/" if found.delivered else ""
    say(f"adopted {found.parts} parts of {found.fits} fits{more}, head {opened.journal.short}")
    for name in found.left:
        say(f"not taken, it belongs to no fit of {experiment}: {name}")
    counted_back = any(plan.first is None for plan in grid.experiment.plans.values())
    if found.left_from and counted_back:
        first = date.fromisoformat(found.left_from) + timedelta(days=1)
        say(
            "[plan] origins are counted back from the end of the data, which may have moved since: "
            f'first = "{first}" in place of origins takes these parts as well if they are of this '
            "plan"
        )
