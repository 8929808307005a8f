"""What the router adds to a forecast: the same requests to the bare arm and through it, in turns.

    pytest tests/benchmarks/test_router_overhead.py -s

The bare arm is restored in this process from the fit that the router's is restored from. Each
request goes to one and then to the other, the order changing, so that load on the machine meets
both; what is printed is the time through the router less that of the bare arm beside it.
"""

import threading
import time

import numpy as np
import pytest
from in_process import InThisProcess
from made_up_migration import Migration

from harness.rollout.router import Rollout
from harness.rollout.served_arm import ready
from harness.running import fill
from harness.window import Series


def in_turns(router, history, requests):
    """Seconds of each request, bare and through the router, [requests, 2]; both answers agree."""
    bare = ready(router._sides["old"]._served)["A"]
    took = np.empty((requests, 2))
    days = np.busday_offset("2010-01-01", np.arange(history), roll="forward")
    for number in range(requests):
        values = 100.0 + np.random.default_rng(number).random(history)
        none = np.empty((history, 0))
        series = Series(
            dates=days, target=values, past=none, past_names=(), weekmask="1111100", season=5
        )
        made = {}
        for which in (0, 1) if number % 2 else (1, 0):
            start = time.perf_counter()
            if which:
                made[1] = router.forecast("A", values, dates=days).forecast
            else:
                made[0] = bare(series)
            took[number, which] = time.perf_counter() - start
        assert np.array_equal(made[0].quantiles, made[1].quantiles)
    return took


@pytest.mark.slow
@pytest.mark.parametrize(("history", "threads"), [(500, 1), (5000, 1), (5000, 4)])
def test_what_the_router_adds(benchmark, tmp_path, monkeypatch, history, threads):
    """Through the router comes what the bare arm answers, from each of many threads."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fill, "LocalProcesses", InThisProcess)
    found = Migration()
    found.write(stages='["shadow"]')
    found.judge()
    found.open().advance()
    found.night(1)
    requests, rows = 10 if benchmark.disabled else 2000 // threads, []

    with Rollout.open("rollout.toml", store="runs", data_dir=["data"]) as router:

        def asked():
            rows.append(in_turns(router, history, requests))

        def all_threads():
            asking = [threading.Thread(target=asked) for _ in range(threads)]
            for each in asking:
                each.start()
            for each in asking:
                each.join()

        benchmark.pedantic(all_threads, rounds=1)

    took = 1000 * np.concatenate(rows)
    added = took[:, 1] - took[:, 0]
    said = {
        "bare, median": np.median(took[:, 0]),
        "added, median": np.median(added),
        "added, 99 of 100 below": np.quantile(added, 0.99),
    }
    benchmark.extra_info |= {f"{name} (ms)": round(float(ms), 2) for name, ms in said.items()}
    print(f"\n{history} sessions, {threads} threads:", dict(benchmark.extra_info))
    assert len(took) == requests * threads
