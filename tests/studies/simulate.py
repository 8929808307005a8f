"""Simulation study of the decision rule: false PROMOTE, false REJECT, and power as predicted.

    python tests/studies/simulate.py --replications 4000 --out study.json
    python tests/studies/simulate.py --table tests/studies/simulation.json

Every figure comes from `harness.evidence.estimates.deciding`, the code the gate runs. The bounds
of a ratio move with the true ratio, so one draw answers for every bound: at the bound itself (a
wrong PROMOTE, a wrong REJECT) and at a distance from it (power).

Shapes: R replications, n origins.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtri

from harness.evidence.comparison import recent_of
from harness.evidence.estimand import Coverage, MeanLoss
from harness.evidence.estimates import (
    Estimate,
    Question,
    block_of,
    by_bootstrap,
    by_test,
    deciding,
    shaken,
)
from harness.evidence.pairing import Sides
from harness.judging.findings import NEAR
from harness.stats.longrun import choose_lag, first_order, shares_of
from harness.stats.statistical_power import Plan, Spread, precision_of

Process = Literal[
    "normal", "garch", "heavy", "skewed", "coverage",
    "regimes", "t3", "memory", "seasons", "bursts", "breaks", "clustered", "persistent",
]  # fmt: skip
PERSISTENCE: dict[Process, float] = {"clustered": 0.9, "persistent": 0.95}
"""Of the log-volatility, from origin to origin, under which an interval of constant width hits."""
HARD: tuple[Process, ...] = (
    *("regimes", "t3", "memory", "seasons", "bursts", "breaks"),
    *PERSISTENCE,
)
"""What market data do and a first-order autoregression does not."""
COVERED: tuple[Process, ...] = ("coverage", *PERSISTENCE)
EARLY, LATE, BREAK = -0.12, 0.10, 0.7
"""Effects before and after a break, and where it comes."""
MARGIN = 0.02
"""What a PROMOTE is held against after a break."""
TOLERANCE = 0.05
"""Of a coverage: it is vetoed so much further away than a loss is, at twice its tolerance."""
ALPHA = 0.05
LEVEL, NOISE = 0.3, 0.3
"""Standard deviations of legacy's loss and of the difference, over legacy's mean loss."""
LOSS = Question(estimand=MeanLoss(metric="crps"), bound_high=0.0, alpha=ALPHA)
COVERAGE = Question(estimand=Coverage(level=80), bound_high=0.0, alpha=ALPHA)
POWERS = (0.5, 0.8, 0.9)
ENOUGH = 20
"""Non-overlapping origins from which on the prediction of power is held to five points."""
INDEPENDENT = 30
"""From which on power is set beside that of an older rule."""
BURN = 200
GRID = np.linspace(0.05, 0.999, 40)
"""Shares of the draws that are shown within, at which the caution is counted."""
CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One setting: process, autocorrelation, overlap, origins; and seeds with their share."""

    process: Process
    rho: float
    overlap: int
    n: int
    seeds: int = 1
    seed_share: float = 0.0

    @property
    def seed(self) -> int:
        """Seed of the cell's generator, from what it is."""
        return zlib.crc32(repr(self).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a cell gave: rates with the numbers of draws they are rates of.

    `promote` and `reject` are wrong conclusions at the bound by the whole rule, `_t` by the t
    test and `_bootstrap` by the bootstrap alone. `reached` are the distances from the bound at
    which the whole rule concluded in the shares `POWERS` of the draws; None where it never did.
    `power_before` is the share that concludes, the veto included, at the distance at which an
    older rule did in 80 %. `promote_vetoed` are the wrong conclusions that the veto of the last
    origins leaves, `power_vetoed` is what it leaves of the 80 %, `remembered` the share of draws
    with the caution of long memory, `_unsaid` the wrong conclusions without it. `vetoed_unsaid` are
    the wrong conclusions that the veto leaves without the caution that the last origins are near
    the bound, and `near` is the largest share of draws with that caution, at any true effect.
    """

    cell: dict[str, Any]
    replications: int
    powered: int
    promote: float
    reject: float
    promote_t: float
    reject_t: float
    promote_bootstrap: float
    reject_bootstrap: float
    reached: list[float | None]
    promote_vetoed: float = math.nan
    power_vetoed: float = math.nan
    remembered: float = math.nan
    promote_unsaid: float = math.nan
    reject_unsaid: float = math.nan
    power_before: float = math.nan
    vetoed_unsaid: float = math.nan
    near: float = math.nan


def cells() -> list[Cell]:
    """The whole study."""
    plans = [(n, overlap) for n in (60, 120, 250, 1000) for overlap in (1, 2, 6, 12, 24)]
    normal = [
        Cell(process="normal", rho=rho, overlap=overlap, n=n)
        for rho in (0.0, 0.2, 0.4, 0.6, 0.8)
        for n, overlap in plans
    ]
    others: tuple[tuple[Process, float], ...] = (
        ("garch", 0.0),
        ("heavy", 0.4),
        ("skewed", 0.4),
        ("coverage", 0.4),
    )
    other = [
        Cell(process=process, rho=rho, overlap=overlap, n=n)
        for process, rho in others
        for n, overlap in plans
    ]
    seeded = [
        Cell(process="normal", rho=0.2, overlap=2, n=n, seeds=seeds, seed_share=share)
        for n in (60, 250)
        for seeds in (2, 3, 5)
        for share in (0.1, 0.5, 0.9)
    ]
    return normal + other + seeded + hard_cells()


def hard_cells() -> list[Cell]:
    """The processes that market data are like, with 30 or more independent origins."""
    plans = ((48, 1), (97, 1), (250, 1), (250, 5), (1000, 5))
    many = [(process, *plan) for process in HARD for plan in plans]
    many.append(("persistent", 150, 1))  # where it goes wrong most often
    return [Cell(process=process, rho=0.0, overlap=overlap, n=n) for process, n, overlap in many]


def drawn(cell: Cell, count: int, generator: np.random.Generator) -> np.ndarray:
    """Series [R, n] of mean 0 and variance 1: a filtered noise, summed over the overlap."""
    if cell.process in HARD:
        levels = _hard(cell.process, (count, cell.n + cell.overlap - 1), generator)
        sums = np.cumsum(np.pad(levels, ((0, 0), (1, 0))), axis=1)
        moving = sums[:, cell.overlap :] - sums[:, : -cell.overlap]
        found: np.ndarray = moving / moving.std()
        return found
    shocks = _shocks(cell.process, (count, cell.n + cell.overlap - 1 + BURN), generator)
    levels = lfilter([math.sqrt(1 - cell.rho**2)], [1.0, -cell.rho], shocks, axis=1)[:, BURN:]
    if cell.process in COVERED:
        levels = (levels < ndtri(0.8)) - 0.8
    sums = np.cumsum(np.pad(levels, ((0, 0), (1, 0))), axis=1)
    moving = sums[:, cell.overlap :] - sums[:, : -cell.overlap]
    return moving / math.sqrt(_variance(cell))


def _hard(process: Process, shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Series [R, T] of mean 0; hits of an interval less 0.8 under persistent volatility."""
    noise = generator.standard_normal(shape)
    time = np.arange(shape[1])
    phase = 2 * math.pi * generator.uniform(size=(shape[0], 1))
    if process == "regimes":  # calm and stormy, changed every twentieth session
        turns = generator.uniform(size=shape) < 0.05
        return noise * np.where((np.cumsum(turns, axis=1) + (phase > math.pi)) % 2, 2.0, 0.5)
    if process == "t3":
        return generator.standard_t(3, size=shape)
    if process == "memory":  # fractionally integrated, order 0.3
        lags = np.arange(1, shape[1] + 1000)
        weights = np.concatenate([[1.0], np.cumprod((lags - 0.7) / lags)])
        size = 2 * (shape[1] + 1000)
        long = generator.standard_normal((shape[0], shape[1] + 1000))
        spectrum = np.fft.rfft(long, size) * np.fft.rfft(weights, size)
        return np.fft.irfft(spectrum, size)[:, 1000 : shape[1] + 1000]
    if process == "seasons":  # a year of 50: the variance swings, and so does the mean
        swing = np.sin(2 * math.pi * time / 50 + phase)
        return noise * (1 + 0.8 * swing) + 0.5 * np.sin(2 * math.pi * time / 50 + 2 * phase)
    if process == "bursts":  # once in fifty sessions, ten times the size
        return noise * np.where(generator.uniform(size=shape) < 0.02, 10.0, 1.0)
    if process in PERSISTENCE:  # intervals of constant width under persistent volatility
        rho = PERSISTENCE[process]
        level = lfilter(
            [math.sqrt(1 - rho**2)],
            [1.0, -rho],
            generator.standard_normal((shape[0], shape[1] + BURN)),
            axis=1,
        )[:, BURN:]
        return (np.abs(noise * np.exp(0.4 * level)) < _width()) - 0.8
    return noise


@cache
def _width() -> float:
    """Half width that covers 80 % of a normal whose log deviation is normal with 0.4."""
    draw = np.random.default_rng(0)
    return float(
        np.quantile(
            np.abs(draw.normal(size=4_000_000) * np.exp(0.4 * draw.normal(size=4_000_000))), 0.8
        )
    )


def _shocks(process: Process, shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """White noise of variance 1."""
    if process == "heavy":
        return generator.standard_t(5, size=shape) / math.sqrt(5 / 3)
    if process == "skewed":
        return generator.exponential(size=shape) - 1
    noise = generator.standard_normal(shape)
    if process == "garch":
        variance = np.ones(shape[0])
        for t in range(shape[1]):
            noise[:, t] *= np.sqrt(variance)
            variance = 0.05 + 0.10 * noise[:, t] ** 2 + 0.85 * variance
    return noise


def _autocovariances(cell: Cell, count: int) -> np.ndarray:
    """Autocovariances 0 .. count of the levels, before they are summed over the overlap."""
    lags = cell.rho ** np.arange(count + 1)
    if cell.process != "coverage":
        return lags
    return np.array([_both_below(each) - 0.64 for each in lags.tolist()])


@cache
def _both_below(rho: float) -> float:
    """Chance that two standard normals of correlation `rho` lie below their 80 % quantile."""
    from scipy.stats import multivariate_normal

    at = float(ndtri(0.8))
    if rho >= 1:
        return 0.8
    return float(multivariate_normal(cov=[[1, rho], [rho, 1]]).cdf([at, at]))


def _variance(cell: Cell, shift: int = 0) -> float:
    """Autocovariance at `shift` of sums over the overlap."""
    levels = _autocovariances(cell, cell.overlap + shift)
    apart = np.arange(1 - cell.overlap, cell.overlap)
    return float(np.sum((cell.overlap - np.abs(apart)) * levels[np.abs(apart + shift)]))


def spread_of(cell: Cell) -> Spread:
    """The true spread of a cell's relative differences."""
    levels = _autocovariances(cell, 400)
    long_run = cell.overlap**2 * float(levels[0] + 2 * levels[1:].sum()) / _variance(cell)
    size = _size(cell) ** 2
    between = 0.0
    if cell.seeds > 1:  # the share is that of the variance of the effect
        share = cell.seed_share
        between = share / (1 - share) * size * long_run / cell.n * cell.seeds / 2
    hits = -0.6 / 0.16 * math.sqrt(size * long_run)  # skewness of as many independent ones
    return Spread(
        long_run=size * long_run,
        rho=_variance(cell, 1) / _variance(cell),
        skewness={"skewed": 2.0, "coverage": hits}.get(cell.process, 0.0),
        share=0.8 if cell.process in COVERED else None,
        level=0.0 if cell.process in COVERED else LEVEL**2 * long_run,
        candidate_seeds=between,
        legacy_seeds=between,
    )


def _size(cell: Cell) -> float:
    return math.sqrt(_variance(cell)) / cell.overlap if cell.process in COVERED else NOISE


def sides_of(cell: Cell, count: int, generator: np.random.Generator) -> list[Sides]:
    """Draw pairs of losses whose true ratio is 1, but for a break."""
    if cell.process in PERSISTENCE:
        hits = _hard(cell.process, (count, cell.n + cell.overlap - 1), generator)
        sums = np.cumsum(np.pad(hits, ((0, 0), (1, 0))), axis=1)
        difference = (sums[:, cell.overlap :] - sums[:, : -cell.overlap]) / cell.overlap
    else:
        difference = _size(cell) * drawn(cell, count, generator)  # [R, n]
    if cell.process == "breaks":
        difference += np.where(np.arange(cell.n) < BREAK * cell.n, EARLY, LATE)
    if cell.process in COVERED:
        ones = np.ones((1, cell.n))
        return [
            Sides(above=0.8 + each[None], below=ones, overlap=cell.overlap) for each in difference
        ]
    level = 1 + LEVEL * drawn(cell, count, generator)
    between = math.sqrt(spread_of(cell).candidate_seeds)
    shape = (count, 2, cell.seeds, 1)
    seeds = between * generator.standard_normal(shape) if cell.seeds > 1 else np.zeros(shape)
    return [
        Sides(
            above=level[i] + difference[i] + seeds[i, 0],
            below=level[i] + seeds[i, 1],
            overlap=cell.overlap,
        )
        for i in range(count)
    ]


def bounds_of(
    sides: Sides, question: Question, *, whole: bool
) -> tuple[list[float], list[float], float, bool, float]:
    """One-sided bounds of the effect by each method: the t test, then the bootstrap.

    Then the effect over the last origins alone, whether there is a caution of long memory, and the
    standard error of that effect times what makes it a caution.
    Without `whole` the bootstrap is spared where the t test alone leaves the bound open.
    """
    if sides.seeded:
        made = deciding(sides, question)
    else:
        found = question.estimand.ratio_of(sides)
        made = (by_test("hac", found, question),)
        if whole or made[0].conclusion != "undecided":
            made += (by_bootstrap(sides, block_of(sides, found.law.lag), question),)
        if question.estimand.two_sided:
            lag = max(found.law.lag, sides.above.shape[1] // 3)
            made += (by_test("long", question.estimand.ratio_of(sides, lag=lag), question),)
    two = question.estimand.two_sided  # which can be broken on either side, at half the rate
    below = [each.low if two else each.lower for each in made]
    lowest = [-math.inf if each is None else each for each in below]
    highest = [
        math.inf if each.upper is None else each.upper for each in made if each.method != "long"
    ]
    dates = np.arange(sides.above.shape[1]).astype("datetime64[D]")
    recent = recent_of(sides, dates, question.estimand)
    late = recent.effect if recent is not None else None
    said = _remembers(sides, question, made)
    if late is None or recent is None or question.estimand.two_sided:
        return lowest, highest, -math.inf, said, 0.0
    return lowest, highest, late, said, NEAR * _error(sides, question, recent.n)


def _error(sides: Sides, question: Question, last: int) -> float:
    """Standard error of the effect over the last origins, as judging has it."""
    found = question.estimand.ratio_of(sides)
    count, lag = sides.above.shape[1], found.law.lag
    shares = shares_of(count, lag, sides.overlap, first_order(sides.difference))
    variance = found.variance(found.excess) / found.below**2 * shares.true / shares.found
    return question.estimand.stretch(sides, lag) * math.sqrt(variance / last)


def simulate(cell: Cell, *, replications: int, powered: int, before: float | None = None) -> Result:
    """Run one cell: `replications` at the bound, the first `powered` for power as well.

    At the distance `before` too, where there is one.
    """
    generator = np.random.default_rng(cell.seed)
    question = COVERAGE if cell.process in COVERED else LOSS
    bound = MARGIN if cell.process == "breaks" else 0.0
    question = replace(question, bound_high=bound)
    seen: list[tuple[list[float], list[float], float, bool, float]] = []
    for start in range(0, replications, CHUNK):
        many = sides_of(cell, min(CHUNK, replications - start), generator)
        seen += [
            bounds_of(each, question, whole=index < powered)
            for index, each in enumerate(many, start)
        ]
    reached = _reached([max(highest) for _, highest, _, _, _ in seen[:powered]])
    far = reached[POWERS.index(0.8)]

    spare = TOLERANCE if cell.process in COVERED else 0.0

    def vetoed(far: float | None) -> float:
        if far is None:
            return math.nan
        return _share(
            max(highest) < far and late <= far + spare for _, highest, late, _, _ in seen[:powered]
        )

    return Result(
        cell=asdict(cell),
        replications=replications,
        powered=powered,
        promote=_share(max(highest) < bound for _, highest, _, _, _ in seen),
        reject=_share(min(lowest) > bound for lowest, _, _, _, _ in seen),
        promote_t=_share(highest[0] < bound for _, highest, _, _, _ in seen),
        reject_t=_share(lowest[0] > bound for lowest, _, _, _, _ in seen),
        promote_bootstrap=_share(highest[1] < bound for _, highest, _, _, _ in seen[:powered]),
        reject_bootstrap=_share(lowest[1] > bound for lowest, _, _, _, _ in seen[:powered]),
        reached=reached,
        promote_vetoed=_share(
            max(highest) < bound and late <= bound + spare for _, highest, late, _, _ in seen
        ),
        power_vetoed=vetoed(far),
        power_before=vetoed(before),
        remembered=_share(said for _, _, _, said, _ in seen),
        promote_unsaid=_share(max(highest) < bound and not said for _, highest, _, said, _ in seen),
        reject_unsaid=_share(min(lowest) > bound and not said for lowest, _, _, said, _ in seen),
        vetoed_unsaid=_share(
            max(highest) < bound and late <= min(bound + spare, bound - near)
            for _, highest, late, _, near in seen
        ),
        near=max(
            _share(
                max(highest) < far and far - near < late <= far
                for _, highest, late, _, near in seen[:powered]
            )
            for far in np.quantile(
                [max(highest) for _, highest, _, _, _ in seen[:powered]], GRID, method="nearest"
            )
        ),
    )


def _remembers(sides: Sides, question: Question, made: Sequence[Estimate]) -> bool:
    """As the caution of long memory is decided."""
    if sides.memory is None:
        return False
    lag = choose_lag(sides.difference, sides.overlap)
    wider = question.estimand.stretch_feared(sides, lag) / question.estimand.stretch(sides, lag)
    return sides.memory.suspected or shaken(made, question, wider)


def _share(found: Iterable[bool]) -> float:
    every = list(found)
    return sum(every) / max(1, len(every))


def _reached(highest: list[float]) -> list[float | None]:
    """Distances at which the shares `POWERS` of the upper bounds are passed."""
    ordered = np.sort(highest)
    found = [float(ordered[math.ceil(power * len(ordered)) - 1]) for power in POWERS]
    return [each if math.isfinite(each) else None for each in found]


def predictions(result: dict[str, Any]) -> list[float]:
    """Predicted power at the distances `reached`, to be set beside `POWERS`; NaN for None."""
    cell = Cell(**result["cell"])
    plan = Plan(n=cell.n, overlap=cell.overlap, candidate_seeds=cell.seeds, legacy_seeds=cell.seeds)
    return [
        math.nan if far is None else precision_of(spread_of(cell), plan, ALPHA).power(far)
        for far in result["reached"]
    ]


def run(settings: argparse.Namespace) -> list[dict[str, Any]]:
    """Run every cell, skipping those that are in the file already."""
    path: Path = settings.out
    known = json.loads(path.read_text()) if path.is_file() else []
    done = {json.dumps(each["cell"], sort_keys=True) for each in known}
    asked = hard_cells() if settings.hard else cells()
    wanted = [c for c in asked if json.dumps(asdict(c), sort_keys=True) not in done]
    older = json.loads(settings.before.read_text()) if settings.before else []
    before = {
        json.dumps(each["cell"], sort_keys=True): each["reached"][POWERS.index(0.8)]
        for each in older
    }
    started = time.perf_counter()
    with ProcessPoolExecutor(settings.workers) as pool:
        for found in pool.map(
            simulate_with,
            [(c, settings, before.get(json.dumps(asdict(c), sort_keys=True))) for c in wanted],
        ):
            known.append(asdict(found))
            lines = ",\n".join(json.dumps(each) for each in known)  # a cell a line
            path.write_text(f"[\n{lines}\n]\n")
            spent = time.perf_counter() - started
            print(f"{len(known)} cells, {spent:.0f} s", file=sys.stderr, flush=True)
    return known


def simulate_with(task: tuple[Cell, argparse.Namespace, float | None]) -> Result:
    """Run one cell in another process; seeded cells cost more and get fewer replications."""
    cell, settings, before = task
    powered: int = settings.powered
    count = powered if cell.seeds > 1 else settings.replications
    return simulate(cell, replications=count, powered=powered, before=before)


def published(results: list[dict[str, Any]]) -> tuple[str, str]:
    """What the documentation holds of the results: rates by process, and what market data do."""
    hard = [each for each in results if each["cell"]["process"] in HARD]
    return _summary(_of_one_seed(results)), _hard_rates(hard)


def tables(results: list[dict[str, Any]]) -> str:
    """Write the results as Markdown: those that are published, and every other cell."""
    summary, hard = published(results)
    single = _of_one_seed(results)
    parts = [summary]
    parts += [
        f"### {process}\n\n" + _rates([r for r in single if r["cell"]["process"] == process])
        for process in dict.fromkeys(each["cell"]["process"] for each in single)
    ]
    parts.append("### seeds\n\n" + _seeded([r for r in results if r["cell"]["seeds"] > 1]))
    parts.append("### what market data do\n\n" + hard)
    return "\n\n".join(parts) + "\n"


def _of_one_seed(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    cells = ((each, each["cell"]) for each in results)
    return [each for each, cell in cells if cell["process"] not in HARD and cell["seeds"] == 1]


def _hard_rates(results: list[dict[str, Any]]) -> str:
    heads = ("process", "overlap", "n", "wrong PROMOTE", "with the veto", "wrong REJECT")
    heads += ("80 % power with the veto", "caution of long memory", "wrong without it")
    heads += ("with the veto, unsaid", "caution of the last origins")
    rows = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * 10]
    for r in results:
        cell = r["cell"]
        power = r["power_vetoed"]
        rows.append(
            f"| {cell['process']} | {cell['overlap']} | {cell['n']} | {_percent(r['promote'])} "
            f"| {_percent(r['promote_vetoed'])} | {_percent(r['reject'])} "
            f"| {'never' if power is None or math.isnan(power) else _percent(power)} "
            f"| {_percent(r['remembered'])} "
            f"| {_unsaid(r)} | {_known(r, 'vetoed_unsaid')} | {_known(r, 'near')} |"
        )
    return "\n".join(rows)


def _unsaid(result: dict[str, Any]) -> str:
    """Wrong conclusions without the caution; a dash for results from before they were counted."""
    return " / ".join(_known(result, f"{way}_unsaid") for way in ("promote", "reject"))


def _known(result: dict[str, Any], name: str) -> str:
    share = result.get(name)
    return "-" if share is None else _percent(share)


def _summary(results: list[dict[str, Any]]) -> str:
    heads = ("process", "cells", "wrong PROMOTE: mean, worst", "wrong REJECT: mean, worst", "error")
    heads += ("power as predicted", "worst miss", "80 % of the older rule: mean, worst")
    rows = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * 7]
    for process in dict.fromkeys(each["cell"]["process"] for each in results):
        some = [each for each in results if each["cell"]["process"] == process]
        error = math.sqrt(ALPHA * (1 - ALPHA) / some[0]["replications"])
        rates = " | ".join(
            f"{_percent(np.mean([r[name] for r in some]))}, {_percent(max(r[name] for r in some))}"
            for name in ("promote", "reject")
        )
        misses = [_miss(r) for r in some if r["cell"]["n"] >= ENOUGH * r["cell"]["overlap"]]
        near = sum(miss <= 0.05 for miss in misses)
        enough = [r for r in some if r["cell"]["n"] >= INDEPENDENT * r["cell"]["overlap"]]
        before = [r["power_before"] for r in enough]
        rows.append(
            f"| {process} | {len(some)} | {rates} | {_percent(error)} "
            f"| {near} of {len(misses)} | {_percent(max(misses, default=0.0))} "
            f"| {_percent(np.mean(before))}, {_percent(min(before))} |"
        )
    return "\n".join(rows)


def _miss(result: dict[str, Any]) -> float:
    """Distance of the predicted power from 80 % where 80 % of the draws concluded."""
    at = POWERS.index(0.8)
    found = predictions(result)[at]
    return 1.0 if math.isnan(found) else abs(found - POWERS[at])


def _rates(results: list[dict[str, Any]]) -> str:
    rows = [
        "| rho | overlap | n | wrong PROMOTE | wrong REJECT | t alone | bootstrap alone | power |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r in results:
        cell = r["cell"]
        alone = (
            f"{_percent(r[f'promote_{by}'])} / {_percent(r[f'reject_{by}'])}"
            for by in ("t", "bootstrap")
        )
        rows.append(
            f"| {cell['rho']} | {cell['overlap']} | {cell['n']} | {_percent(r['promote'])} "
            f"| {_percent(r['reject'])} | {' | '.join(alone)} | {_predicted(r)} |"
        )
    return "\n".join(rows)


def _seeded(results: list[dict[str, Any]]) -> str:
    rows = [
        "| n | seeds | seed share | wrong PROMOTE | wrong REJECT | over origins alone | power |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r in results:
        cell = r["cell"]
        rows.append(
            f"| {cell['n']} | {cell['seeds']} | {cell['seed_share']:.0%} "
            f"| {_percent(r['promote'])} | {_percent(r['reject'])} "
            f"| {_percent(r['promote_t'])} / {_percent(r['reject_t'])} | {_predicted(r)} |"
        )
    return "\n".join(rows)


def _predicted(result: dict[str, Any]) -> str:
    return " / ".join(
        "never" if math.isnan(each) else f"{100 * each:.0f}" for each in predictions(result)
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def main() -> None:
    """Run the study, or write the tables of one that was run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=4000)
    parser.add_argument("--powered", type=int, default=1000)
    parser.add_argument("--hard", action="store_true", help="what market data do, and no more")
    parser.add_argument("--before", type=Path, help="results of an older rule, for its power")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("simulation-study.json"))
    parser.add_argument("--table", type=Path, help="write the tables of this file and run nothing")
    settings = parser.parse_args()
    print(tables(json.loads(settings.table.read_text()) if settings.table else run(settings)))


if __name__ == "__main__":
    main()
