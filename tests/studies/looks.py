"""Error rates of looks: how often a candidate at its margin is promoted, an equal one rejected.

    python tests/studies/looks.py --streams 1000

A stream begins with a history and gains one non-overlapping origin a look until a tenth more have
come. At each look `harness.evidence.estimates.deciding` answers at the level that
`harness.stats.spending` gives, as the gate does. Without looks every new origin is judged at the
whole error rate, for comparison. Three attempts are three independent candidates at the margin,
each with its part of the error rate.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from simulate import ALPHA, LOSS, Cell, sides_of

from harness.evidence.estimand import Sides
from harness.evidence.estimates import agreed, deciding
from harness.experiments.rules import Looks
from harness.stats.spending import levels


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


def stream_counts(cell: Cell) -> list[int]:
    """Origins at each look: the history, then one non-overlapping origin more, a tenth in all."""
    first = cell.n // cell.overlap
    return [count * cell.overlap for count in range(first, math.ceil(1.1 * first) + 1)]


def rates(cell: Cell, streams: int, *, share: float = 1.0) -> Rates:
    """Draw streams and look at them."""
    counts = stream_counts(cell)
    fractions = [count / counts[-1] for count in counts]
    promote = levels(fractions, ALPHA * share, "late")
    whole = replace(cell, n=counts[-1])
    drawn = sides_of(whole, streams, np.random.default_rng(whole.seed))
    met = np.array([_met(sides, counts, promote) for sides in drawn])
    said = met.mean(axis=0)
    return Rates(**dict(zip(Rates.__dataclass_fields__, map(float, said), strict=True)))


def _met(sides: Sides, counts: Sequence[int], promote: np.ndarray) -> list[bool]:
    at_bound = [_within(sides, count, level) for count, level in zip(counts, promote, strict=True)]
    naive = any(_within(sides, count, ALPHA) for count in counts)
    reject = any(_beyond(sides, count, level) for count, level in zip(counts, promote, strict=True))
    better = replace(sides, above=sides.above - 0.10)
    gains = [_within(better, count, level) for count, level in zip(counts, promote, strict=True)]
    once = _within(better, counts[-1], ALPHA)
    return [any(at_bound), naive, reject, gains[0], any(gains), once]


def _within(sides: Sides, count: int, level: float) -> bool:
    if math.isnan(level):
        return False
    there = sides.at(np.arange(count))
    return agreed(deciding(there, replace(LOSS, alpha=level)))[0] == "within"


def _beyond(sides: Sides, count: int, level: float) -> bool:
    if math.isnan(level):
        return False
    there = sides.at(np.arange(count))
    return agreed(deciding(there, replace(LOSS, alpha=level)))[0] == "beyond"


STREAMS = {
    "h 1, independent": Cell(process="normal", rho=0.0, overlap=1, n=120),
    "h 1, AR .6": Cell(process="normal", rho=0.6, overlap=1, n=120),
    "h 5 at stride 1, AR .6": Cell(process="normal", rho=0.6, overlap=5, n=600),
    "h 24 at stride 12": Cell(process="normal", rho=0.2, overlap=2, n=250),
    "h 24 at stride 12, GARCH": Cell(process="garch", rho=0.2, overlap=2, n=250),
    "2 seeds": Cell(process="normal", rho=0.2, overlap=2, n=250, seeds=2, seed_share=0.5),
}


def attempts(cell: Cell, streams: int) -> tuple[float, float]:
    """Share of streams in which any of three attempts is promoted wrongly, and any of thirty."""
    shares = [Looks(max_origins=2).share(k) for k in (1, 2, 3)]
    kept = [1 - rates(cell, streams, share=share).promote for share in shares]
    three = 1 - math.prod(kept)
    alone = rates(cell, streams).promote
    return three, 1 - (1 - alone) ** 30


def _named(task: tuple[str, int]) -> tuple[str, Rates]:
    return task[0], rates(STREAMS[task[0]], task[1])


def main() -> None:
    """Print the table of the documentation."""
    settings = argparse.ArgumentParser(description=__doc__)
    settings.add_argument("--streams", type=int, default=1000)
    settings.add_argument("--workers", type=int, default=2)
    asked = settings.parse_args()
    print(
        "| stream | wrong PROMOTE | every origin at 5 % | wrong REJECT | first look | last | once |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with ProcessPoolExecutor(asked.workers) as pool:
        for name, found in pool.map(_named, [(name, asked.streams) for name in STREAMS]):
            row = [getattr(found, field) for field in Rates.__dataclass_fields__]
            print(
                f"| {name} | " + " | ".join(f"{100 * each:.1f}" for each in row) + " |", flush=True
            )
    three, thirty = attempts(STREAMS["h 1, independent"], asked.streams)
    kept, free = 100 * three, 100 * thirty
    print(f"three attempts, each with its part: {kept:.1f} %; thirty with all: {free:.1f} %")


if __name__ == "__main__":
    main()
