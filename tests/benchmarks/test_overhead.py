"""What the harness itself costs: per window, and against calling a model directly."""

import time

import numpy as np
import pytest

from harness.arm_ref import ArmRef
from harness.forecast import Forecast
from harness.running.parts import Part, read_part, write_part
from harness.running.unit import Job, carry_out
from harness.scoring.scores import Truth, score
from harness.window import RollingOrigin, up_to

WINDOWS = 5000
PLAN = RollingOrigin(horizon=24, stride=1, origins=WINDOWS, validation=100)


class Nothing:
    """Answers zeros on the levels asked for."""

    context_length = 96

    def forecast(self, contexts):
        """Make room and no more."""
        shape = (len(contexts), contexts.horizon, len(contexts.levels))
        return Forecast(
            point=np.zeros(shape[:2]), levels=contexts.levels, quantiles=np.zeros(shape)
        )


def job_on(series, plan):
    windows = plan.over(series.dates)
    return Job(
        ref=ArmRef(name="timed", use="set:ByTheTest", role="reference"),
        seed=1,
        plan=plan,
        series=up_to(series, int(windows.origin[-1])),
        windows=windows,
        threads=1,
        batch=256,
    )


def from_split_to_scores(series, file):
    job = job_on(series, PLAN)
    write_part(file, Part.of(job.cutoffs, carry_out(job)))
    truth = Truth.of("made-up", series, job.windows)
    return score(truth, read_part(file).forecast, arm="nothing", role="reference", seed=1)


def test_overhead_per_window(benchmark, tmp_path, made_series, monkeypatch):
    """Splitting, calling a do-nothing arm, storing and scoring 5,000 windows of 24 steps."""
    monkeypatch.setattr(ArmRef, "build", lambda self: Nothing())
    series, file = made_series(6000), tmp_path / "part.parquet"

    scores = benchmark.pedantic(
        lambda: from_split_to_scores(series, file),
        rounds=5,
        warmup_rounds=1,
    )

    if benchmark.stats:
        per_window = benchmark.stats.stats.median / WINDOWS
        benchmark.extra_info["microseconds_per_window"] = round(per_window * 1e6, 1)
    assert len(scores) == WINDOWS
    assert scores.failures == 0


@pytest.mark.slow
def test_candidate_throughput(benchmark, made_series, monkeypatch):
    """1,024 windows of the bundled checkpoint through the harness, each round after its pipeline.

    64 windows where nothing is timed. `kept` in the extra information is the median of pipeline
    time over harness time, pair by pair: the share of the bare throughput that the harness keeps.
    """
    import torch
    from chronos import BaseChronosPipeline

    from candidates.hf_bayesian_autoformer import HFBayesianAutoformer

    torch.set_num_threads(1)
    series = made_series(2000)
    count = 64 if benchmark.disabled else 1024
    plan = RollingOrigin(horizon=24, stride=1, origins=count, validation=100)
    arm = HFBayesianAutoformer(context=512)
    arm.load()
    monkeypatch.setattr(ArmRef, "build", lambda self: arm)
    job = job_on(series, plan)
    pipeline = BaseChronosPipeline.from_pretrained(str(arm.folder), dtype=torch.float32)
    origins = job.windows.origin.tolist()
    histories = torch.tensor(np.stack([series.target[o - 512 : o] for o in origins]))
    bare = []

    def pipeline_alone():
        start = time.perf_counter()
        for part in histories.float().split(256):
            pipeline.predict(part, prediction_length=24)
        bare.append(time.perf_counter() - start)

    outcome = benchmark.pedantic(
        lambda: carry_out(job), setup=pipeline_alone, rounds=7, warmup_rounds=1
    )

    if benchmark.stats:
        pairs = zip(bare[-7:], benchmark.stats.stats.data, strict=True)
        benchmark.extra_info["kept"] = round(float(np.median([a / b for a, b in pairs])), 3)
    assert outcome.reason == [""] * count
