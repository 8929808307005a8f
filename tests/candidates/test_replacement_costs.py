"""What forecasting with the bundled checkpoint costs in memory."""

import subprocess
import sys
from pathlib import Path

import pytest

FORECAST = """
import numpy as np
from candidates.hf_bayesian_autoformer import HFBayesianAutoformer
from harness.forecast import LEVELS
from harness.window import RollingOrigin, Series, contexts_at

price = 100 * np.exp(np.cumsum(0.01 * np.random.default_rng(0).standard_normal(1700)))
days = np.busday_offset(np.datetime64("2000-01-03"), np.arange(1700), "forward")
series = Series(
    dates=days.astype("datetime64[D]"), target=price, past=np.empty((1700, 0)), past_names=(),
    weekmask="1111100", season=5,
)
plan = RollingOrigin(horizon=24, stride=1, origins=1000, validation=150)
origins = plan.over(series.dates).origin
contexts = contexts_at(series, origins, plan=plan, length=512, levels=LEVELS)
assert HFBayesianAutoformer().forecast(contexts).finite.all()
lines = open("/proc/self/status").read().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read on Linux")
def test_thousand_windows_need_less_than_800_mib():
    """In one call, in a fresh process, the libraries included."""
    run = [sys.executable, "-P", "-c", FORECAST]

    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=300)

    assert int(done.stdout) < 800 * 1024
