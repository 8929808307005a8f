"""A checkpoint on real prices that were never tested on, beside the volatility random walk.

Everything here ends where the test begins: the series is cut at the first origin of the nightly
plan before a window is made of it. Shapes: W windows, H steps, q levels of the checkpoint.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.arm import Arm
from harness.arm_ref import ArmRef
from harness.data import tables
from harness.data.manifest import read_manifest
from harness.errors import ArmError, DataError
from harness.forecast import LEVELS, Forecast, quantiles_at
from harness.scoring.metrics import METRICS, Judged
from harness.window import Contexts, RollingOrigin, Series, contexts_at, up_to

REFERENCE = "baselines.random_walk:VolatilityRandomWalk"
"""What a checkpoint is measured against; any arm that does not learn can take its place."""

TEST_PLAN = RollingOrigin(horizon=24, stride=12, origins=250, history=5000, validation=500)
"""The plan of the nightly experiment: what lies before its first origin may be looked at."""

CENTRAL = (50, 80, 95)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationSpan:
    """Sessions before the test that are forecast.

    Attributes
    ----------
    sessions
        How many, counted back from the first test origin; None is all that have a whole context.
    stride
        Sessions between origins.
    """

    sessions: int | None = TEST_PLAN.validation
    stride: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One checkpoint on one span.

    Attributes
    ----------
    first, last
        Dates of the first session forecast and of the last.
    windows
        Origins; `apart` is how many of them share no session.
    crps, mae
        Over that of the reference: below 1 is better than it.
    coverage, reference_coverage
        Share of sessions inside the central interval of 50, 80 and 95 per cent.
    """

    dataset: str
    first: str
    last: str
    windows: int
    apart: int
    crps: float
    mae: float
    coverage: dict[int, float]
    reference_coverage: dict[int, float]


def read_series(manifest: Path) -> tuple[str, Series]:
    """Read id and series of a dataset by the path of its manifest.

    Raises
    ------
    DataError
        One line naming file and fault.
    """
    known = read_manifest(manifest)
    file, columns = manifest.parent / known.file, known.columns
    raw = tables.read_bytes(file)
    if hashlib.sha256(raw).hexdigest() != known.sha256:
        raise DataError(f"{file}: is not the file that {manifest.name} describes (sha256 differs)")
    rows = tables.read_data(file, raw, wanted=columns.names)
    target = tables.numbers(rows, columns.target, prices=True)
    series = Series(
        dates=tables.iso_dates(rows, columns.date),
        target=target,
        past=np.empty((len(target), 0)),
        past_names=(),
        weekmask=known.calendar,
        season=known.season,
    )
    return known.id, series


def before_test(series: Series) -> Series:
    """Copy what lies before the first origin of the test; later rows are not in the copy."""
    return up_to(series, int(TEST_PLAN.over(series.dates).origin[0]))


def load_reference(use: str) -> Arm:
    """Build the arm in the denominator from ``module:Class``.

    Raises
    ------
    ArmError
        When it cannot be had.
    """
    return ArmRef(name="reference", use=use, role="reference").build()


def evaluate(
    arm: Arm, reference: Arm, *, series: Series, name: str, span: ValidationSpan
) -> Scores:
    """Score an arm and a reference on the same origins, horizon 24.

    Parameters
    ----------
    arm, reference
        Neither is fitted; both answer quantiles.
    series
        The whole series; its test span is cut off first.
    name
        What to call the series.

    Raises
    ------
    ArmError
        When one answers no quantiles.
    DataError
        When the span has no origin.
    """
    seen = before_test(series)
    plan = _plan(seen, span, arm.context_length or len(seen), name)
    origins = plan.over(seen.dates, label=name).origin
    rows = origins[:, None] + np.arange(plan.horizon)
    truth = seen.target[rows]  # [W, H]
    judged = []
    for each in (arm, reference):
        length = each.context_length
        contexts = contexts_at(seen, origins, plan=plan, length=length, levels=LEVELS)
        answer = each.forecast(contexts)
        if answer.quantiles is None:
            raise ArmError("the reference must answer quantiles")
        on_grid = quantiles_at(np.sort(answer.quantiles, axis=2), answer.levels, LEVELS)
        judged.append(
            Judged(
                truth=truth,
                point=answer.point,
                naive_scale=np.ones(len(truth)),
                quantiles=np.ascontiguousarray(np.moveaxis(on_grid, 2, 0)),  # [Q, W, H]
            )
        )
    ours, theirs = judged
    return Scores(
        dataset=name,
        first=str(seen.dates[rows[0, 0]]),
        last=str(seen.dates[rows[-1, -1]]),
        windows=len(origins),
        apart=(int(origins[-1] - origins[0])) // plan.horizon + 1,
        crps=_mean("crps", ours) / _mean("crps", theirs),
        mae=_mean("absolute_error", ours) / _mean("absolute_error", theirs),
        coverage={level: _mean(f"coverage_{level}", ours) for level in CENTRAL},
        reference_coverage={level: _mean(f"coverage_{level}", theirs) for level in CENTRAL},
    )


@dataclass(slots=True, kw_only=True)
class Pretrained:
    """A loaded checkpoint as an arm, at its trained levels and its own context length."""

    pipeline: Any
    context_length: int | None

    def forecast(self, contexts: Contexts) -> Forecast:
        """Forecast every context, 256 at a time."""
        import torch

        values = torch.from_numpy(np.asarray(contexts.target, dtype=np.float32))
        parts = [self.pipeline.predict(part, contexts.horizon) for part in values.split(256)]
        answer = torch.cat(parts).numpy().astype(np.float64)  # [W, q, H]
        levels = np.array(self.pipeline.quantiles)
        return Forecast.of_quantiles(answer.transpose(0, 2, 1), levels)


def load_checkpoint(checkpoint: Path) -> Pretrained:
    """Load a folder that Chronos knows as a model with quantiles.

    Raises
    ------
    ArmError
        When the folder holds no such model.
    """
    if not (checkpoint / "config.json").is_file():
        raise ArmError(f"{checkpoint}: no checkpoint there; expected a folder with config.json")
    import torch
    from chronos import BaseChronosPipeline

    try:
        pipeline: Any = BaseChronosPipeline.from_pretrained(
            str(checkpoint), dtype=torch.float32, trust_remote_code=False
        )
        assert len(pipeline.quantiles) > 0
        return Pretrained(pipeline=pipeline, context_length=int(pipeline.model_context_length))
    except (OSError, ValueError, KeyError, AttributeError) as problem:
        reason = " ".join(str(problem).split())[:200]
        raise ArmError(f"{checkpoint}: no Chronos model with quantiles: {reason}") from problem


def markdown(scores: list[Scores]) -> str:
    """The scores as a table."""
    head = (
        "| series | forecast sessions | origins (apart) | CRPS | MAE "
        "| 50 / 80 / 95 % interval covers | that of the reference |"
    )
    lines = [head, "| --- " * 7 + "|"]
    for each in scores:
        cells = (
            each.dataset,
            f"{each.first} to {each.last}",
            f"{each.windows:,} ({each.apart})",
            f"{each.crps:.3f}",
            f"{each.mae:.3f}",
            _per_cent(each.coverage),
            _per_cent(each.reference_coverage),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _plan(seen: Series, span: ValidationSpan, length: int, name: str) -> RollingOrigin:
    """Origins of the span at which a whole context lies before, and all steps before the test."""
    stop, horizon = len(seen), TEST_PLAN.horizon
    first = max(length, stop - span.sessions if span.sessions else 0)
    if first + horizon > stop:
        raise DataError(
            f"{name}: no origin in the span: {stop} sessions lie before the test, the context "
            f"takes {length} and the horizon {horizon}"
        )
    return RollingOrigin(horizon=horizon, stride=span.stride, first=first, validation=0)


def _mean(metric: str, judged: Judged) -> float:
    return float(METRICS[metric].function(judged).mean())


def _per_cent(coverage: dict[int, float]) -> str:
    return " / ".join(f"{100 * coverage[level]:.1f}" for level in CENTRAL) + " %"
