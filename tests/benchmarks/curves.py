"""How cost grows with work: each curve with its exponent.

    python -P tests/benchmarks/curves.py                     every curve, up to its usual size
    python -P tests/benchmarks/curves.py parts --sizes 100 1000 10000
    python -P tests/benchmarks/curves.py --store             keep the figures for docs/scaling.md

Every size is prepared and timed in processes of its own. Figures are seconds of CPU of the process
that does the work, without its start, and its highest memory in MiB. An exponent is the slope of
the last two sizes on log scales: 1 is linear. Arms are trivial and run in the timed process, so
that nothing is seen but the harness.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
STORED = HERE / "baselines" / "curves.json"
SESSIONS = 12_000
EXPERIMENT = """\
schema = 1
title = "Curve"
datasets = ["MADE"]

[plan]
horizon = 5
stride = 1
origins = {origins}
validation = 60
{refit}

[run]
seeds = {seeds}
{arms}

[policy]
baseline = "arm0"
candidate = "arm1"
mode = "replace"

[[policy.criteria]]
metric = "crps"
margin = 0.05
"""
ARM = """
[[arms]]
name = "arm{number}"
use = "arms_for_tests:{use}"
role = "{role}"
"""


def experiment(
    *,
    origins: int = 200,
    arms: Sequence[str] = ("Flat", "Learner"),
    refit: str = "",
    seeds: int = 1,
) -> str:
    """An experiment of that size; the first two arms are the pair."""
    roles = {0: "legacy", 1: "candidate"}
    text = "".join(
        ARM.format(number=number, use=use, role=roles.get(number, "reference"))
        for number, use in enumerate(arms)
    )
    count = list(range(1, seeds + 1))
    return EXPERIMENT.format(origins=origins, refit=refit, seeds=count, arms=text)


def written(folder: Path, text: str) -> None:
    """Write data, arms and experiment where a process finds them."""
    rng = np.random.default_rng(1)
    days = np.busday_offset("1970-01-01", np.arange(SESSIONS), "forward")
    prices = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal(SESSIONS)))
    rows = [f"{day},{price:.6f}" for day, price in zip(days, prices, strict=True)]
    (folder / "made.csv").write_text("day,close\n" + "\n".join(rows) + "\n", encoding="utf-8")
    arms = HERE.parent / "harness" / "arms_for_tests.py"
    (folder / "arms_for_tests.py").write_bytes(arms.read_bytes())
    (folder / "curve.toml").write_text(text, encoding="utf-8")


def ready() -> Any:
    """The module `harness`, with arms that run where they are asked."""
    sys.path.insert(0, str(HERE.parent / "building"))
    from in_process import InThisProcess

    import harness
    from harness import cli
    from harness.running import fill
    from harness.verbs import compare, run

    fill.LocalProcesses = InThisProcess
    for verb in (compare, run):
        verb.try_blindness = lambda *_, **__: None
    if not Path("data").is_dir():
        words = "data import made.csv --id MADE --target close --date day"
        with redirect_stdout(sys.stderr):
            assert cli.run_cli(words.split()) == 0
    return harness


def timed(work: Callable[[], object]) -> float:
    """Seconds of CPU of some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


def fill_store() -> dict[str, float]:
    """Fill the store: the loop from data to sealed forecasts."""
    harness = ready()
    return {"run": timed(lambda: harness.run("curve.toml", data_dir=["data"]))}


def judge() -> dict[str, float]:
    """Judge for the first time, then once more, and compare with nothing to do."""
    harness = ready()
    told = {"data_dir": ["data"]}
    found = {"gate, first": timed(lambda: harness.gate("curve.toml", **told))}
    found["gate"] = timed(lambda: harness.gate("curve.toml", **told))
    found["compare"] = timed(lambda: harness.compare("curve.toml", **told))
    found["report"] = timed(lambda: harness.report("curve.toml", **told))
    return found


def pass_verdicts(count: int) -> dict[str, float]:
    """Pass verdicts by other margins, then one more."""
    harness = ready()

    def gate(number: int) -> object:
        change = [f"policy.criteria=[{{metric='crps', margin={0.05 + number / 1e5}}}]"]
        return harness.gate("curve.toml", data_dir=["data"], changes=change)

    for number in range(count):
        gate(number)
    found = {"gate": timed(lambda: gate(count))}
    found["nights"] = timed(lambda: harness.report("curve.toml", data_dir=["data"], nights=True))
    found["store MiB"] = (
        sum(file.stat().st_size for file in Path("runs").glob("records.sqlite*")) / 2**20
    )
    return found


CURVES: Mapping[str, tuple[tuple[int, ...], Callable[[int], str]]] = {
    "parts": ((100, 300, 1000, 3000), lambda n: experiment(origins=n, refit="refit = 1")),
    "origins": ((100, 1000, 10_000), lambda n: experiment(origins=n, arms=FIVE)),
    "arms": ((5, 10, 20, 30), lambda n: experiment(origins=1000, arms=FIVE * (n // 5))),
    "verdicts": ((1, 10, 100), lambda n: experiment()),
    "memory": ((10_000,), lambda n: experiment(origins=n, arms=MANY, seeds=5)),
}
"""Usual sizes of each curve, and the experiment of a size."""
FIVE = ("Flat", "Learner", "Sampler", "Flat", "Learner")
MANY = ("Learner",) * 10


def point(name: str, size: int) -> dict[str, float]:
    """Prepare and time one size of a curve, step by step in processes of their own."""
    with tempfile.TemporaryDirectory() as folder:
        written(Path(folder), CURVES[name][1](size))
        steps = ["fill_store", *(["judge"] if name != "verdicts" else [f"pass_verdicts {size}"])]
        found: dict[str, float] = {}
        for step in steps:
            command = [sys.executable, "-P", __file__, "--step", *step.split()]
            done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{name} {size}: {step}: {done.stderr.strip()[-500:]}")
            said = json.loads(done.stdout.strip().rpartition("\n")[2])
            if step != "fill_store" or name in ("origins", "arms"):
                found |= said
            found["peak MiB"] = said["peak MiB"]
        return found


def step(name: str, *arguments: str) -> None:
    """Carry out a step here and print what it took."""
    steps = {"fill_store": fill_store, "judge": judge, "pass_verdicts": pass_verdicts}
    found = steps[name](*map(int, arguments))  # type: ignore[operator]  # each takes what it is given
    found["peak MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Slope of the last two sizes on log scales."""
    if len(sizes) < 2:
        return math.nan
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def rows(curves: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every curve as a row of a table."""
    found = []
    for name, curve in curves.items():
        sizes = [int(size) for size in curve]
        for what in next(iter(curve.values())):
            values = [float(each[what]) for each in curve.values()]
            said = ", ".join(f"{value:.3g}" for value in values)
            slope = exponent(sizes, values)
            shown = "-" if math.isnan(slope) else f"{slope:.2f}"
            spread = ", ".join(map(str, sizes))
            found.append(f"| {name} {spread} | {what} | {said} | {shown} |")
    return found


def main() -> None:
    """Time what is asked for."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("curves", nargs="*", metavar="CURVE", help=", ".join(CURVES))
    options.add_argument("--sizes", type=int, nargs="+", help="other sizes than the usual ones")
    options.add_argument("--store", action="store_true", help="keep the figures")
    options.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.step:
        step(*asked.step)
        return
    kept = json.loads(STORED.read_text(encoding="utf-8")) if STORED.is_file() else {}
    for name in asked.curves or CURVES:
        known = kept.get(name, {}) if asked.sizes else {}
        for size in asked.sizes or CURVES[name][0]:
            known[str(size)] = point(name, size)
            print(f"{name} {size}: {json.dumps(known[str(size)])}", flush=True)
            kept[name] = dict(sorted(known.items(), key=lambda item: int(item[0])))
            if asked.store:  # size by size: what is stopped has said something
                STORED.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        print("\n".join(rows({name: kept[name]})), flush=True)


if __name__ == "__main__":
    main()
