"""What is said of a migration: its moves, and why it does not advance."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from harness.rollout.night import Status
from harness.rollout.planted import StagePath
from harness.rollout.settings import Settings, Stage
from harness.rollout.stages import Move, Refusal

_REFUSED: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "held": lambda v: f"held by {v['owner']} since {v['since']}: {v['why']}",
    "last stage": lambda v: f"'{v['stage']}' is the last stage",
    "no verdict": lambda _: "there is no verdict yet",
    "stale": lambda v: f"the verdict is stale: {v['why']}",
    "invalid": lambda v: f"the verdict {v['verdict']} is INVALID",
    "reject": lambda v: f"the verdict {v['verdict']} is REJECT",
    "not shown": lambda v: (
        f"{v['finding']}: the stage's margin is {100 * v['margin']:g} %, shown is "
        + (f"{100 * v['shown']:.1f} %" if "shown" in v else "nothing")
        if "margin" in v
        else f"the verdict is {v['verdict']}, and the next stage needs PROMOTE"
    ),
    "no new origin": lambda v: (
        f"no independent origin has come since the stage began on {v['since']}"
    ),
    "policy changed": lambda v: (
        f"policy or stages are others than when the stage began on {v['since']}: roll back, and "
        "begin again"
    ),
    "revision changed": lambda v: (
        f"the candidate is another revision than on {v['since']}: the next night restarts in shadow"
    ),
    "budget spent": lambda v: (
        f"serving the candidate has cost {v['spent']:.2f} legacy losses, the budget is "
        f"{v['budget']:g}: another revision of it begins anew, or a larger budget after a rollback"
    ),
    "fault": lambda v: (
        f"the candidate had a fault ({v['fault']}); {v['calm']} sessions are calm since, "
        f"{v['needed']} are needed"
    ),
    "no sentinel": lambda v: (
        f"{v['series']} has no sentinel yet: {v['nights']} more nights in shadow are needed"
    ),
    "too soon": lambda v: f"{v['sessions']} of {v['needed']} sessions have come at this stage",
    "no stream": lambda _: "no night has forecast by both sides yet",
}


def refusal(found: Refusal) -> str:
    """Why a rollout does not advance."""
    return _REFUSED[found.code](found.values)


def stage(found: Stage, settings: Settings) -> str:
    """Who is served by whom at a stage."""
    new, old = settings.candidate, settings.legacy
    return {
        "legacy": f"{old} serves everything",
        "shadow": f"{old} serves everything, {new} answers beside it",
        "series": f"{new} serves {', '.join(found.series)}, {old} everything else",
        "all": f"{new} serves everything, {old} answers beside it",
        "retired": f"{new} serves everything, {old} has retired",
    }[found.kind]


def move(found: Move) -> str:
    """What a move was, and why."""
    detail = found.detail
    because = {
        "hand": found.why,
        "fault": f"fault at {detail.get('series')} on {detail.get('day')}: {detail.get('what')}",
        "sentinel": f"the sentinel of {detail.get('series')} went off on {detail.get('day')}",
        "budget": f"the budget of {detail.get('budget')} legacy losses was spent",
        "reject": f"the look {found.verdict} says REJECT",
        "revision": "the candidate is another revision",
    }[found.cause]
    done = {
        "advance": "entered the stage",
        "rollback": "rolled back to",
        "restart": "began again at",
        "hold": "held at",
        "release": "released at",
    }[found.event]
    by = f" by {found.owner}" if found.owner else ""
    return f"{done} '{found.stage}'{by}" + (f": {because}" if because else "")


def path(found: StagePath) -> Iterator[str]:
    """A rehearsed migration, a line a move."""
    yield f"{found.truth}: {found.nights} nights, {found.looks} looks"
    for each in found.moves:
        yield f"  {each.at[:10]}  {move(each)}"
    yield f"  in the end: {found.stage}, {found.spent:.2f} legacy losses spent"


def following(status: Status) -> str:
    """Whether the next stage may be entered, and what it is."""
    settings, place = status.settings, status.state.place + 1
    if place >= len(settings.stages):
        return "No stage follows"
    entered = stage(settings.stages[place], settings)
    waits = "waits for" if status.refusals else "may be entered"
    return f"The next stage, '{settings.stages[place]}' ({entered}), {waits}"


def next_command(status: Status) -> str:
    """The exact command that comes next."""
    settings, codes = status.settings, {each.code for each in status.refusals}
    places = "".join(f" {shlex.quote(each)}" for each in status.places)
    name = shlex.quote(settings.source) + places
    if "held" in codes:
        return f'abharness rollout hold {name} --release --why "..." --owner NAME'
    nightly = f"nightly {shlex.quote(settings.experiment.source)}{places}"
    if codes & {"stale", "no verdict", "no new origin", "no stream", "no sentinel"} or (
        codes & {"fault", "too soon", "not shown", "revision changed"}
    ):
        return f"abharness {nightly}"
    if "last stage" in codes:  # which has no end but that of the legacy
        over = settings.stages[status.state.place].kind == "retired"
        return f"abharness {'rollout status ' + name if over else nightly}"
    if codes:
        return f'abharness rollout rollback {name} --why "..."'
    return f"abharness rollout advance {name} --owner NAME"


def title(status: Status) -> str:
    """What the page is of."""
    settings = status.settings
    now = settings.stages[status.state.place]
    return f"{settings.name}: from {settings.legacy} to {settings.candidate}, stage '{now}'"


def headline(status: Status) -> str:
    """Where it stands, in a line."""
    last = status.state.since
    since = f" since {last.at[:10]}" if last else ""
    now = status.settings.stages[status.state.place]
    held = " (held)" if status.state.held else ""
    return f"{status.settings.name}: {now}{since}{held}: {stage(now, status.settings)}"


NOT_PROMISED = (
    "Not promised: differences that drift for a hundred sessions or hardly forget (AR .95) may set "
    "the sentinel off more often than 6 %; harm in rare bursts or beyond step 5 may not set it "
    "off. The loss budget and the looks cover these."
)
