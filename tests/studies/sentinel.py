"""How often the sentinel rolls back wrongly, and how soon it finds harm, by the code that watches.

    python tests/studies/sentinel.py --streams 1000

A stream is 260 nights before the watch and 250 of it, at stride 1: each night's loss is the mean of
five sessions, which neighbours share. The candidate stands exactly at the limit for false
roll-backs. For detection it is equal before the watch, and 30 % worse from its start or from
night 80 of it. `sd` is the standard deviation of a night's relative difference; `long-run` that of
the sum of the watched nights over the root of their number, measured on the streams themselves.
What a row misses of the promise is named in it: at most 6 % false, and 8 of 10 found within 35
nights where the long-run sd is at most .2, 80 where it is at most .4 and 155 where at most .6.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np

from harness.rollout.sentinel import NIGHTS, STEPS, Sentinel, calibrated, harm_beyond
from harness.window import Array

LIMIT, BEFORE, BREAK = 0.05, 260, 80
KINDS = ("iid", "AR .6", "regimes", "bursts", "easy days", "noisier", "AR .95", "drift")
UNPROMISED = ("AR .95", "drift")
SCALES = {"iid": (0.09, 0.15, 0.30), "noisier": (0.15,)}
"""Spread of a night; .15 and .30 of the other kinds."""
MOST_FALSE = 0.06
FOUND = ((0.2, 35), (0.4, 80), (0.6, 155))
"""Long-run spread up to which so many nights are promised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Share of streams at the limit that are rolled back, and nights until 8 of 10 are found."""

    false: float
    from_start: float
    from_break: float
    long_run: float

    def missed(self) -> list[str]:
        """What it misses of the promise."""
        found = ["false roll-back"] * (self.false > MOST_FALSE)
        nights = next((most for sd, most in FOUND if self.long_run <= sd), math.inf)
        found += ["from the start"] * (self.from_start > nights)
        return found + ["from night 80"] * (self.from_break > nights)


def stream(kind: str, scale: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Legacy losses of mean about 1, and differences of mean 0, of all nights."""
    sessions = BEFORE + NIGHTS + STEPS - 1
    level = np.ones(sessions)
    if kind == "easy days":
        level = np.where(_regime(sessions, rng), 1.6, 0.6)
    legacy = level * rng.gamma(2.0, 0.5, sessions)
    noise = rng.standard_normal(sessions)
    if kind.startswith("AR"):
        noise = autoregressive(noise, float(kind.removeprefix("AR ")))
    elif kind == "regimes":
        noise = noise * np.where(_regime(sessions, rng), 1.6, 0.5)
    elif kind == "bursts":
        noise = 0.5 * noise + 6.0 * (rng.random(sessions) < 0.02)
    elif kind == "easy days":
        noise = -2.0 * (level - 1.0) + 0.5 * noise
    elif kind == "noisier":
        noise[BEFORE:] *= 2.0
    elif kind == "drift":
        noise = noise + np.sin(2 * math.pi * (np.arange(sessions) / 400 + rng.random()))
    means = {"bursts": 0.12, "easy days": -0.2}  # of the kinds that are not symmetric
    return _over_steps(legacy), scale * _over_steps(noise - means.get(kind, 0.0))


def scale_for(kind: str, sd: float) -> float:
    """What a kind is multiplied by so that its nights before the watch have that spread."""
    rng = np.random.default_rng(1)
    drawn = [stream(kind, 1.0, rng)[1][:BEFORE] for _ in range(300)]
    return sd / float(np.std(drawn))


def _regime(count: int, rng: np.random.Generator) -> Array:
    """Two states that last 33 sessions in the mean."""
    return (rng.integers(2) + np.cumsum(rng.random(count) < 0.03)) % 2 == 1


def autoregressive(noise: Array, rho: float) -> Array:
    found = noise.copy()
    for place in range(1, len(found)):
        found[place] = rho * found[place - 1] + math.sqrt(1 - rho**2) * noise[place]
    return found


def _over_steps(values: Array) -> Array:
    return np.convolve(values, np.full(STEPS, 1 / STEPS), "valid")


def rates(kind: str, sd: float, streams: int) -> Rates:
    """Draw streams and watch them."""
    rng = np.random.default_rng([KINDS.index(kind), round(100 * sd)])
    false, start, after, sums = 0, [], [], []
    scale = scale_for(kind, sd)
    for _ in range(streams):
        legacy, apart = stream(kind, scale, rng)
        sums.append(apart[BEFORE:].sum() / math.sqrt(NIGHTS))
        worse = np.arange(BEFORE + NIGHTS) >= BEFORE
        broken = np.arange(BEFORE + NIGHTS) >= BEFORE + BREAK
        at_limit = _harm(legacy, (1 + LIMIT) * legacy + apart)
        false += _watch(at_limit, rng).crossed(at_limit[BEFORE:]) is not None
        from_start = _harm(legacy, (1 + 0.3 * worse) * legacy + apart)
        watch = _watch(from_start, rng)  # of the same stretch for both
        found = watch.crossed(from_start[BEFORE:])
        start.append(math.inf if found is None else found + 1)
        found = watch.crossed(_harm(legacy, (1 + 0.3 * broken) * legacy + apart)[BEFORE:])
        late = found is None
        if late or found >= BREAK:  # one that goes off before the break is none of it
            after.append(math.inf if late else found + 1 - BREAK)
    return Rates(
        false=false / streams,
        from_start=float(np.quantile(start, 0.8, method="higher")),
        from_break=float(np.quantile(after, 0.8, method="higher")),
        long_run=float(np.std(sums)),
    )


def _harm(legacy: Array, candidate: Array) -> Array:
    return harm_beyond(candidate, legacy, limit=LIMIT)


def _watch(harm: Array, rng: np.random.Generator) -> Sentinel:
    return calibrated(harm[:BEFORE], streams=1, generator=rng)


def main() -> None:
    """Print a table of all kinds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    print(
        "| stream | sd | long-run sd | false roll-back | found from the start | from night 80 | "
        "missed |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in KINDS:
        for sd in SCALES.get(kind, (0.15, 0.30)) if asked.only in ("", kind) else ():
            found = rates(kind, sd, asked.streams)
            print(
                f"| {kind} | {sd:.2f} | {found.long_run:.2f} | {100 * found.false:.1f} % | "
                f"{found.from_start:.0f} | {found.from_break:.0f} | "
                f"{', '.join(found.missed()) or 'nothing' if kind not in UNPROMISED else '-'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
