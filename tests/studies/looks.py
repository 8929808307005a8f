"""Error rates of looks and attempts: how often a candidate at its margin is promoted after all.

    python tests/studies/looks.py --streams 400
    python tests/studies/looks.py --attempts --streams 400

A stream begins with a history and gains one non-overlapping origin a look, until all that were
planned have come. Each look is asked as the gate asks it: `harness.stats.spending` gives its level,
`harness.judging.sequential.at_look` the question, `harness.evidence.estimates.deciding` the answer.
Without looks every new origin is judged at the whole error rate, for comparison. Beside each rate
of right conclusions stands what `abharness power` predicts of it; with ``--predicted`` that alone.

With ``--attempts`` thirty candidates, none better than its margin, are tried on one history, one
after the other; `harness.experiments.rules.Looks` says which part of the error rate each has. They
differ by their seed, by their version (each a change of the one that looked best so far) or by the
policy they are held against.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from simulate import ALPHA, LEVEL, LOSS, NOISE, Cell, drawn, sides_of, spread_of

from harness.evidence.estimates import agreed, by_test, deciding, ratio_for
from harness.evidence.pairing import Sides
from harness.experiments.rules import Looks
from harness.judging.sequential import at_look
from harness.stats.spending import chance_by_looks, levels
from harness.stats.statistical_power import Plan, precision_of

BETTER = 0.10
"""Of legacy's loss: by how much a candidate is better that should be promoted."""
TRIES = 30
TRIED_AGAIN = ("seeds", "versions", "policies")
ALIKE = 0.7
"""Correlation of the noise of two seeds, of a version and its change, of a loss under two rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A setting, and how many times its history there are non-overlapping origins in the end."""

    cell: Cell
    grows: float = 1.1

    def looks(self) -> list[tuple[int, float]]:
        """Origins and level of each look; NaN where there is none."""
        first = self.cell.n // self.cell.overlap
        counts = [n * self.cell.overlap for n in range(first, round(self.grows * first) + 1)]
        given = levels([count / counts[-1] for count in counts], ALPHA, "late")
        return list(zip(counts, given.tolist(), strict=True))


STREAMS = {
    "h 1, AR .6": Stream(cell=Cell(process="normal", rho=0.6, overlap=1, n=120)),
    "h 1, regimes": Stream(cell=Cell(process="regimes", rho=0.0, overlap=1, n=120)),
    "h 5, AR .6": Stream(cell=Cell(process="normal", rho=0.6, overlap=5, n=600)),
    "h 5, regimes": Stream(cell=Cell(process="regimes", rho=0.0, overlap=5, n=600)),
    "h 24 at stride 12, AR .6": Stream(cell=Cell(process="normal", rho=0.6, overlap=2, n=250)),
    "h 24 at stride 12, regimes": Stream(cell=Cell(process="regimes", rho=0.0, overlap=2, n=250)),
    "2 seeds, AR .2": Stream(
        cell=Cell(process="normal", rho=0.2, overlap=2, n=250, seeds=2, seed_share=0.5)
    ),
    "h 1, AR .6, 100 looks": Stream(
        cell=Cell(process="normal", rho=0.6, overlap=1, n=30), grows=130 / 30
    ),
    "h 1, regimes, 100 looks": Stream(
        cell=Cell(process="regimes", rho=0.0, overlap=1, n=30), grows=130 / 30
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Shares of the streams.

    `promote` and `naive` are wrong ones at the bound, with looks and at the whole error rate every
    time; `reject` wrong ones at equality. `first`, `last` and `once` are right ones of a candidate
    10 % better, at the first look, by the last, and where all is looked at once in the end.
    """

    promote: float
    naive: float
    reject: float
    first: float
    last: float
    once: float


def rates(stream: Stream, streams: int, *, naive: bool = True) -> Rates:
    """Draw streams and look at them."""
    looks = stream.looks()
    counts = [count for count, _ in looks]
    whole = replace(stream.cell, n=counts[-1])
    met = []
    for sides in sides_of(whole, streams, np.random.default_rng(whole.seed)):
        better = replace(sides, above=sides.above - BETTER)
        gains = [_says("within", better, count, level) for count, level in looks]
        met.append(
            [
                any(_says("within", sides, count, level) for count, level in looks),
                naive and any(_says("within", sides, count, ALPHA, once=True) for count in counts),
                any(_says("beyond", sides, count, level) for count, level in looks),
                gains[0],
                any(gains),
                _says("within", better, counts[-1], ALPHA, once=True),
            ]
        )
    said = np.array(met, dtype=float).mean(axis=0)
    return Rates(**dict(zip(Rates.__dataclass_fields__, map(float, said), strict=True)))


def predicted(stream: Stream) -> tuple[float, float, float]:
    """`Rates.first`, `last` and `once` as `abharness power` predicts them.

    From the true spread of the streams: seeds differ by what the whole stream, not its first look,
    makes their share of the variance.
    """
    cell, looks = stream.cell, stream.looks()
    true = spread_of(replace(cell, n=looks[-1][0]))
    ratio = 1 - BETTER  # differences are then taken from less than the whole of legacy's loss
    spread = replace(
        true,
        long_run=true.long_run + BETTER**2 * true.level,
        along=BETTER * true.level,
        legacy_seeds=ratio**2 * true.legacy_seeds,
        ratio=ratio,
    )

    def shown(count: int, level: float, *, once: bool = False) -> float:
        if math.isnan(level):
            return 0.0
        plan = Plan(n=count, overlap=cell.overlap, among_looks=not once)
        plan = replace(plan, candidate_seeds=cell.seeds, legacy_seeds=cell.seeds)
        return precision_of(spread, plan, level).power(BETTER)

    single = [shown(count, level) for count, level in looks]
    last = chance_by_looks(single, [count / looks[-1][0] for count, _ in looks])
    return single[0], last, shown(looks[-1][0], ALPHA, once=True)


def _says(wanted: str, sides: Sides, count: int, level: float, *, once: bool = False) -> bool:
    """Whether the gate concludes so from the first origins; without a level it never does."""
    if math.isnan(level) or level <= 0:
        return False
    there = sides.at(np.arange(count))
    asked = replace(LOSS, alpha=level) if once else at_look(LOSS, level)
    test = by_test("hac", ratio_for(there, asked), asked)  # the others only take away
    return test.conclusion == wanted and agreed(deciding(there, asked))[0] == wanted


def attempts(kind: str, count: int, streams: int) -> tuple[float, float]:
    """Share of streams with a wrong PROMOTE in thirty tries: with their parts of alpha, without."""
    cell = Cell(process="normal", rho=0.2, overlap=1, n=count)
    generator = np.random.default_rng([cell.seed, TRIED_AGAIN.index(kind)])
    looks = Looks(max_origins=count)
    held, naive = 0, 0
    for _ in range(streams):
        level, shared = 1 + LEVEL * drawn(cell, 1, generator), drawn(cell, 1, generator)
        best, least, found = shared, math.inf, [False, False]
        for attempt in range(1, TRIES + 1):
            parent = best if kind == "versions" else shared
            noise = math.sqrt(ALIKE) * parent
            noise = noise + math.sqrt(1 - ALIKE) * drawn(cell, 1, generator)
            sides = Sides(above=level + NOISE * noise, below=level, overlap=1)
            share = looks.share(attempt)
            given = float(levels([1.0], ALPHA * share, "late")[0]) if share else math.nan
            found[0] = found[0] or _says("within", sides, count, given)
            found[1] = found[1] or _says("within", sides, count, ALPHA, once=True)
            if noise.mean() < least:
                best, least = noise, float(noise.mean())
        held, naive = held + found[0], naive + found[1]
    return held / streams, naive / streams


def _stream_row(task: tuple[str, int]) -> str:
    name, streams = task
    foreseen = predicted(STREAMS[name])
    row = [f"({100 * each:.1f})" for each in foreseen]
    if streams:
        found = rates(STREAMS[name], streams)
        said = [f"{100 * getattr(found, field):.1f}" for field in Rates.__dataclass_fields__]
        row = said[:3] + [" ".join(each) for each in zip(said[3:], row, strict=True)]
    return f"| {name} | " + " | ".join(row) + " |"


def _attempts_row(task: tuple[str, int, int]) -> str:
    kind, count, streams = task
    held, naive = attempts(kind, count, streams)
    return f"| {kind} | {count} | {100 * held:.1f} | {100 * naive:.1f} |"


def _printed(heads: Sequence[str], rows: Iterable[str]) -> None:
    print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads), flush=True)
    for row in rows:
        print(row, flush=True)


def main() -> None:
    """Print the tables of the documentation."""
    settings = argparse.ArgumentParser(description=__doc__)
    settings.add_argument("--streams", type=int, default=400)
    settings.add_argument("--workers", type=int, default=1)
    settings.add_argument("--attempts", action="store_true")
    settings.add_argument("--predicted", action="store_true")
    settings.add_argument("--only", nargs="*", choices=list(STREAMS), default=list(STREAMS))
    asked = settings.parse_args()
    with ProcessPoolExecutor(asked.workers) as pool:
        if asked.attempts:
            tasks = [(kind, n, asked.streams) for n in (48, 250) for kind in TRIED_AGAIN]
            heads = ["tried again", "origins", "wrong PROMOTE", "each at 5 %"]
            _printed(heads, pool.map(_attempts_row, tasks))
        else:
            streams = 0 if asked.predicted else asked.streams
            heads = ["wrong PROMOTE", "every origin at 5 %", "wrong REJECT"] if streams else []
            heads = ["stream", *heads, "first look", "last", "once"]
            _printed(heads, pool.map(_stream_row, [(name, streams) for name in asked.only]))


if __name__ == "__main__":
    main()
