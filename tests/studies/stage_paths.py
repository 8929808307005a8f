"""How often a migration reaches `all`, and what it costs there, by the rules of earnest.

    python tests/studies/stage_paths.py --streams 200

A stream is 20 non-overlapping origins of 24 sessions, and 250 nights after them, in which ten more
come. Nights, looks, sentinel and budget are gone through as a rehearsal goes through stored ones:
first shadow, then `all`. The candidate is so many per cent better or worse than the legacy all the
time. `PROMOTE` is the share of streams with one before the last origin, which `all` waits for, and
`all` that of those that were at `all` at some time; then those that the sentinel, the budget and a
REJECT rolled back. `over budget` is the most by which what was spent exceeds the budget, and `a
horizon` the most that a horizon of nights costs in such a stream: it must be no more.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "building"))
sys.path.insert(0, str(Path(__file__).parent))
from made_up_migration import EXPERIMENT, ROLLOUT
from scores_for_tests import table_of, truth_of
from sentinel import autoregressive

from harness.judging.declared import Cell
from harness.judging.findings import Outcome
from harness.rollout.harm import relative
from harness.rollout.planted import StageWalk
from harness.rollout.settings import Settings, read_rollout
from harness.rollout.stream import BEFORE, PairedStream, SideLosses
from harness.scoring.metrics import AGGREGATES
from harness.window import Array

HORIZON, HISTORY, NIGHTS = 24, 20, 250
SESSIONS = HORIZON * HISTORY + NIGHTS + HORIZON
FIRST = 60
"""Row of the first origin."""
DAYS = np.busday_offset("2001-01-01", np.arange(FIRST + SESSIONS + 1), roll="forward")
CAUSES, LAST = ("sentinel", "budget", "reject"), " | over budget | a horizon |"
ROWS = [("AR .6", -0.10), ("regimes", -0.10), ("AR .6", 0.0), ("AR .6", 0.30)]


def losses(kind: str, effect: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Loss of each session of the legacy and of the candidate."""
    legacy = rng.gamma(2.0, 0.5, SESSIONS)
    noise = autoregressive(rng.standard_normal(SESSIONS), 0.6)
    if kind == "regimes":
        wild = (np.cumsum(rng.random(SESSIONS) < 0.03) % 2) == 1
        noise = rng.standard_normal(SESSIONS) * np.where(wild, 1.6, 0.5)
    return legacy, (1 + effect) * legacy + 0.6 * noise


def settings_in(folder: Path, budget: float) -> Settings:
    """The rollout, as its file asks for it."""
    text = EXPERIMENT.format(options="").replace('["A", "B"]', '["A"]')
    text = text.replace("horizon = 5", f"horizon = {HORIZON}").replace("stride = 5", "stride = 24")
    text = text.replace("max_origins = 60", "max_origins = 30")
    (folder / "move.toml").write_text(text)
    asked = ROLLOUT.format(stages='["shadow", "all"]', keys=f"budget = {budget}")
    (folder / "rollout.toml").write_text(asked)
    return read_rollout(folder / "rollout.toml")


def walk_of(settings: Settings, both: tuple[Array, Array]) -> StageWalk:
    """A migration over such losses, from the day on which the history ends."""
    steps = np.arange(HORIZON)
    plan = np.arange(0, SESSIONS - HORIZON + 1, HORIZON)
    truth = truth_of(len(plan), HORIZON, dataset="A", origin=plan + FIRST,
                     origin_date=DAYS[plan + FIRST])  # fmt: skip
    arms = (settings.legacy, settings.candidate)
    scores = [
        table_of({AGGREGATES["mae"].of: each[plan[:, None] + steps]}, arm=arm, truth=truth)
        for arm, each in zip(arms, both, strict=True)
    ]
    start = HORIZON * HISTORY
    nightly = np.arange(start - BEFORE, start + NIGHTS + 1)
    count = len(nightly)
    issued = tuple(f"{day}T00" for day in DAYS[nightly + FIRST - 1])
    sides = [
        SideLosses(
            early=each[nightly[:, None] + np.arange(5)].mean(axis=1),
            whole=each[np.minimum(nightly[:, None] + steps, SESSIONS - 1)].mean(axis=1),
            reason=("",) * count,
            issued_at=issued,
            in_time=np.ones(count, dtype=bool),
        )
        for each in both
    ]
    yes = np.ones(count, dtype=bool)
    pair = PairedStream(
        series="A",
        day=DAYS[nightly + FIRST - 1],
        candidate=sides[1],
        legacy=sides[0],
        early_came=yes,
        whole_came=yes,
        wild=~yes,
        gap=0,
        horizon=HORIZON,
        last=str(DAYS[-1]),
    )
    roles = ("legacy", "candidate")
    return StageWalk(
        settings=settings,
        policy=settings.experiment.policy,
        declared=[
            Cell(arm=arm, dataset="A", seed=1, role=role)
            for arm, role in zip(arms, roles, strict=True)
        ],
        scores=scores,
        ends=[DAYS[plan + FIRST - 1 + HORIZON] for _ in scores],
        pairs=[pair],
        start=str(DAYS[start + FIRST - 1]),
    )


def main() -> None:
    """Print a table of all rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--budget", type=float, default=5.0)
    asked = parser.parse_args()
    print("| losses | candidate | PROMOTE | all | " + " | ".join(CAUSES) + LAST)
    print("|" + " --- |" * (6 + len(CAUSES)))
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_in(Path(folder), asked.budget)
        for kind, effect in ROWS:
            rng = np.random.default_rng([len(kind), round(1000 + 100 * effect)])
            found = np.zeros(2 + len(CAUSES))
            over = most = 0.0
            for _ in range(asked.streams):
                walk = walk_of(settings, losses(kind, effect, rng))
                pair = walk.pairs[0]
                nights = [day for day in pair.day.astype(str).tolist() if day > walk.start]
                path = walk.gone_through("", nights)
                promoted = any(
                    verdict.outcome is Outcome.PROMOTE and not look.last
                    for look, verdict in walk.looks
                )
                causes = {move.cause for move in path.moves}
                reached = any(move.stage == "all" for move in path.moves)
                found += [promoted, reached, *(cause in causes for cause in CAUSES)]
                if path.spent > asked.budget:
                    cost = np.array([relative(pair, place) for place in range(len(pair))])
                    horizon = np.convolve(np.maximum(cost, 0.0), np.ones(HORIZON + 1), "valid")
                    over = max(over, path.spent - asked.budget)
                    most = max(most, float(horizon.max()))
            shares = " | ".join(f"{each:.1f} %" for each in 100 * found / asked.streams)
            print(f"| {kind} | {100 * effect:+.0f} % | {shares} | {over:.2f} | {most:.2f} |",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
