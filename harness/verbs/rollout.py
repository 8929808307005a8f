"""The verb `rollout`: the migration after the verdict, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.errors import ConfigError
from harness.verbs.common import DataDirOption, StoreOption, say, verb

if TYPE_CHECKING:
    from harness.rollout.night import OpenRollout

_Ask = Literal["status", "advance", "hold", "rollback", "replay"]
CHANGED = 10
"""What `status` ends with where a change is an alarm and there was one since it was asked last."""
DIFFERS = 5
_TOLD = "rollout told"


@verb("abharness rollout status rollout.toml --store runs")
def rollout(
    ask: Annotated[
        _Ask, typer.Argument(metavar="status|advance|hold|rollback|replay", help="What to do.")
    ],
    file: Annotated[Path, typer.Argument(help="The rollout file.")] = Path("rollout.toml"),
    store: StoreOption = Path("runs"),
    data_dir: DataDirOption = [],  # noqa: B006  # typer copies defaults
    why: Annotated[str, typer.Option("--why", help="Recorded with hold and rollback.")] = "",
    owner: Annotated[str, typer.Option("--owner", help="Who moves it; recorded.")] = "",
    release: Annotated[bool, typer.Option("--release", help="With hold: end it.")] = False,
    form: Annotated[
        Literal["text", "json", "html"],
        typer.Option("--format", help="Of status; html writes a page."),
    ] = "text",
    output: Annotated[Path | None, typer.Option(help="Write the status here.")] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Of status: try what must go on working.")
    ] = True,
    alert_on: Annotated[
        Literal["never", "change"],
        typer.Option("--alert-on", help="change: status ends with 10 where the stage moved."),
    ] = "never",
) -> None:
    """Say who is served by which side, and move it: one stage on, or back to the legacy.

    `advance` enters the next stage, or ends with 3 (REJECT), 5 (INVALID) or 4 and every reason that
    forbids it. `hold` refuses every further stage until `hold --release`. `rollback` lets the
    legacy serve everything. `replay` derives the moves again from the records. `abharness nightly`
    forecasts by both sides and rolls back on harm.
    """
    from harness.rollout.night import OpenRollout
    from harness.rollout.settings import read_rollout
    from harness.running.store_folder import open_store

    if ask in ("hold", "rollback") and not why:
        raise ConfigError(f"rollout {ask}: needs --why, which is recorded")
    settings = read_rollout(file)
    opened = OpenRollout(
        settings=settings,
        store=open_store(store, create=ask == "advance"),
        folders=list(data_dir),
    )
    if ask == "advance":
        _advance(opened, owner)
    elif ask == "hold":
        opened.hold(why, owner, release=release)
    elif ask == "rollback":
        opened.rollback(why, owner)
    elif ask == "replay":
        found = opened.replay()
        for line in found:
            say(line)
        say(f"{len(opened.state.moves)} moves, {len(found)} come out otherwise")
        raise typer.Exit(DIFFERS if found else 0)
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


def _say_status(
    opened: OpenRollout,
    form: Literal["text", "json", "html"],
    output: Path | None,
    *,
    check: bool,
) -> None:
    from harness.rollout.compatibility import compatible
    from harness.running.store_folder import write_text
    from reports.rollout_page import render_rollout, rollout_json, rollout_text

    status = opened.status()
    checks = []
    if check and status.state.begun:
        checks = compatible(opened.settings, opened.grid(status.state), opened.store)
    if form == "html":
        page = output or opened.store.root / "rollouts" / f"{opened.settings.name}.html"
        write_text(page, render_rollout(status, checks))
        say(f"page: {page}")
        return
    text = rollout_json(status, checks) if form == "json" else rollout_text(status, checks)
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
