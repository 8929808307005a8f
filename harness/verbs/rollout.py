"""The verb `rollout`: the migration after the verdict, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.errors import ConfigError
from harness.verbs.common import DataDirOption, StoreOption, WorkersOption, say, verb

if TYPE_CHECKING:
    from harness.rollout.night import OpenRollout

_Ask = Literal["status", "advance", "hold", "rollback", "replay", "rehearse", "record"]
CHANGED = 10
"""What `status` ends with where a change is an alarm and there was one since it was asked last."""
DIFFERS = 5
_TOLD = "rollout told"


@verb("abharness rollout status rollout.toml --store runs")
def rollout(
    ask: Annotated[
        _Ask,
        typer.Argument(metavar="ACTION", help="What to do."),
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The rollout file.")] = Path(
        "rollout.toml"
    ),
    store: StoreOption = Path("runs"),
    data_dir: DataDirOption = [],  # noqa: B006  # typer copies defaults
    why: Annotated[
        str,
        typer.Option("--why", metavar="TEXT", help="Reason for hold or rollback; it is recorded."),
    ] = "",
    owner: Annotated[
        str,
        typer.Option(
            "--owner",
            metavar="NAME",
            help="Who makes the move; it is recorded. By default your login name.",
        ),
    ] = "",
    release: Annotated[bool, typer.Option("--release", help="With hold: end the hold.")] = False,
    form: Annotated[
        Literal["text", "json", "html"],
        typer.Option("--format", help="Format of the status; html writes a page."),
    ] = "text",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the status to this file.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check/--no-check", help="With status: try what must keep working."),
    ] = True,
    since: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="First night to rehearse.")
    ] = None,
    workers: WorkersOption = 0,
    alert_on: Annotated[
        Literal["never", "change"],
        typer.Option("--alert-on", help="change: status ends with 10 if the stage moved."),
    ] = "never",
) -> None:
    """Show who is served by which side; move a stage on, or roll back.

    `advance` enters the next stage, or gives every reason against it and ends with 3 (REJECT), 5
    (INVALID) or 4. `hold` refuses every further stage until `hold --release`. `rollback` lets the
    legacy serve everything. `replay` derives the moves again from the records. `rehearse` goes
    through stored nights with planted truths; for this the rollout's own stream is forecast once.
    `record` writes the forecasts that old checkpoints of `[compatibility]` must reproduce.
    `abharness nightly` forecasts with both sides and rolls back on harm.
    """
    from harness.rollout.night import OpenRollout
    from harness.rollout.settings import read_rollout
    from harness.running.store_folder import open_store

    if ask in ("hold", "rollback") and not why:
        raise ConfigError(f"rollout {ask}: needs --why, which is recorded")
    settings = read_rollout(file)
    opened = OpenRollout(
        settings=settings,
        store=open_store(store, create=ask in ("advance", "rehearse", "record")),
        folders=list(data_dir),
    )
    if ask == "advance":
        _advance(opened, owner)
    elif ask == "hold":
        opened.hold(why, owner, release=release)
    elif ask == "rollback":
        opened.rollback(why, owner)
        say(f"rolled back: {settings.legacy} serves everything")
        return
    elif ask == "replay":
        from harness.rollout.past_moves import replay

        found = replay(opened)
        for line in found.differ:
            say(line)
        former = (
            f", {found.former} of an earlier revision taken as recorded" if found.former else ""
        )
        say(
            f"{found.moves} moves and {found.nights} nights derived again{former}; "
            f"{len(found.differ)} differ"
        )
        raise typer.Exit(DIFFERS if found.differ else 0)
    elif ask in ("rehearse", "record"):
        if ask == "rehearse":
            _rehearse(opened, since, workers)
        else:
            from harness.rollout.compatibility import record_checkpoints

            say("\n".join(record_checkpoints(opened)))
        return
    _say_status(opened, form, output, check=check and ask == "status")
    if ask == "status" and alert_on == "change" and _moved(opened):
        raise typer.Exit(CHANGED)


def _advance(opened: OpenRollout, owner: str) -> None:
    from harness.judging.findings import Outcome
    from harness.judging.verdict import EXIT_CODES
    from harness.rollout.stages import RefusedError
    from reports.words import rollout_words

    try:
        opened.advance(owner)
    except RefusedError as problem:
        for each in problem.refusals:
            say(f"not advanced: {rollout_words.refusal(each)}", err=True)
        codes = {each.code for each in problem.refusals}
        outcome = Outcome.REJECT if "reject" in codes else Outcome.HOLD
        outcome = Outcome.INVALID if "invalid" in codes else outcome
        raise typer.Exit(EXIT_CODES[outcome]) from None


def _rehearse(opened: OpenRollout, since: str | None, workers: int) -> None:
    from harness.experiments.waivers import as_date
    from harness.rollout.planted import rehearse
    from harness.running.fill import default_workers
    from harness.verbs.progress import LineProgress
    from reports.words import rollout_words

    day = None if since is None else as_date(since, "--from")
    count = workers or default_workers(opened.settings.experiment.run.threads)
    for path in rehearse(opened, day, workers=count, progress=LineProgress(workers=count)):
        say("\n".join(rollout_words.path(path)) + "\n")


def _say_status(
    opened: OpenRollout,
    form: Literal["text", "json", "html"],
    output: Path | None,
    *,
    check: bool,
) -> None:
    from harness.rollout.compatibility import compatible
    from harness.running.store_folder import write_text
    from reports.rollout_page import RolloutPage

    shown = RolloutPage(status=opened.status(), checks=compatible(opened) if check else ())
    if form == "html":
        page = output or opened.store.root / "rollouts" / f"{opened.settings.name}.html"
        write_text(page, shown.html())
        say(f"page: {page}")
        return
    text = shown.json() if form == "json" else shown.text()
    if output is not None:
        write_text(output, text + "\n")
        say(f"status: {output}")
    else:
        say(text)


def _moved(opened: OpenRollout) -> bool:
    """Whether there was a move since this was asked last; remembers that it was told."""
    journal, name = opened.store.journal, opened.settings.name
    told = (journal.latest(_TOLD, name) or {"moves": 0})["moves"]
    count = len(opened.state.moves)
    journal.append_new(_TOLD, name, {"moves": count})
    return bool(count > told)


def rollouts_beside(experiment: str | Path) -> list[Path]:
    """Rollout files in the folder of an experiment that name it; of a built-in one, in this one."""
    import tomllib
    from contextlib import suppress

    named, found = Path(experiment), []
    for file in sorted(named.parent.glob("*.toml")):
        with suppress(OSError, ValueError):
            read = tomllib.loads(file.read_text(encoding="utf-8"))
            asked = read.get("experiment") if "stages" in read else None
            if asked in (str(experiment), named.name):
                found.append(file)
    return found


def rollout_night(
    file: Path, *, store: str | Path, data_dir: Sequence[str | Path], workers: int
) -> tuple[str, bool]:
    """Do a rollout's part of a night, and draw its page; what to say, and whether it moved."""
    from harness.rollout.night import OpenRollout
    from harness.rollout.settings import read_rollout
    from harness.running.fill import default_workers
    from harness.running.store_folder import open_store, write_text
    from harness.verbs.progress import LineProgress
    from reports.rollout_page import RolloutPage
    from reports.words import rollout_words

    opened = OpenRollout(
        settings=read_rollout(file),
        store=open_store(Path(store)),
        folders=[Path(each) for each in data_dir],
    )
    count = workers or default_workers(opened.settings.experiment.run.threads)
    state, move = opened.run(workers=count, progress=LineProgress(workers=count))
    if not state.begun:
        return f"rollout {file}: not begun; `abharness rollout advance {file}` starts it", False
    status = opened.status()
    page = opened.store.root / "rollouts" / f"{opened.settings.name}.html"
    write_text(page, RolloutPage(status=status).html())
    said = f"rollout: {rollout_words.headline(status)}"
    said += f"; tonight it {rollout_words.move(move)}" if move else ""
    return f"{said}\nrollout page: {page}", move is not None
