"""Time the harness's hot paths, against another revision or against what is stored.

    python tests/benchmarks/compare.py                      time, show beside the stored baseline
    python tests/benchmarks/compare.py --store              time and store as the baseline
    python tests/benchmarks/compare.py --against v0.1       time both revisions in turns

Only the last is a comparison: both revisions are timed in one run, in turns A B B A, each in fresh
processes, with the benchmarks of this checkout, so that the weather of the machine meets both. It
ends with 1 when something has become slower. The stored baseline, one file per class of machine
under `baselines/`, says what to expect; no figure of another day decides anything.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.measure.ratios import Ratio, ratio_of
from harness.measure.record import machine_class
from harness.running.identity import machine

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGES = ("harness", "baselines", "candidates", "reports")
_NO_TESTS = 5
SLOWER = 1.05
"""A ratio whose interval is above 1 counts from here on."""


def main() -> int:
    """Do what is asked for."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--against", metavar="REVISION", help="a git revision to compare with")
    options.add_argument("--rounds", type=int, default=2, help="rounds of A B B A (default 2)")
    options.add_argument("--store", action="store_true", help="keep the figures as the baseline")
    options.add_argument("-k", dest="only", default="", help="only benchmarks that match")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        new = installed(ROOT, Path(folder) / "new")
        if asked.against is None:
            return show(medians(new, HERE, asked.only), store=asked.store)
        checkout = checked_out(asked.against, Path(folder) / "checkout")
        old = installed(checkout, Path(folder) / "old")
        return compare(old, new, only=asked.only, rounds=asked.rounds)


def checked_out(revision: str, folder: Path) -> Path:
    """Write a revision's files into a folder, as a worktree would, leaving the checkout alone."""
    done = subprocess.run(
        ["git", "-C", str(ROOT), "archive", "--format=tar", revision],
        check=False,
        capture_output=True,
    )
    if done.returncode:
        raise SystemExit(f"--against {revision}: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def installed(checkout: Path, folder: Path) -> Path:
    """Copy a checkout's packages and data as a wheel lays them out."""
    for name in PACKAGES:
        shutil.copytree(
            checkout / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copytree(checkout / "datasets", folder / "abharness-data")
    return folder


def medians(site: Path, tests: Path, only: str) -> dict[str, float]:
    """Run benchmarks on the packages of a folder; seconds by name.

    Benchmarks that fail there (the revision lacks what they time) are left out.
    """
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [
            sys.executable, "-P", "-m", "pytest", str(tests), "-q", "-p", "no:cacheprovider",
            "--benchmark-only", f"--benchmark-json={file.name}", "-k", only, "--no-header",
            "-W", "ignore::pytest_benchmark.logger.PytestBenchmarkWarning",
        ]  # fmt: skip
        environment = os.environ | {
            "PYTHONPATH": str(site),
            "PYTHONSAFEPATH": "1",
            "OMP_NUM_THREADS": "1",
        }
        expect_from(site, environment)
        done = subprocess.run(
            command, check=False, cwd=site, env=environment, capture_output=True, text=True
        )
        text = Path(file.name).read_text(encoding="utf-8")
    if done.returncode not in (0, _NO_TESTS):
        print(f"{tests.name} on {site.name}: {done.stdout[-500:]}", file=sys.stderr)
    if not text:
        return {}
    return {row["fullname"]: row["stats"]["median"] for row in json.loads(text)["benchmarks"]}


def expect_from(site: Path, environment: Mapping[str, str]) -> None:
    """Make sure that a process started there uses the packages of the folder."""
    command = [sys.executable, "-P", "-c", "import harness; print(harness.__file__)"]
    found = subprocess.run(
        command, check=True, cwd=site, env=environment, capture_output=True, text=True
    ).stdout
    if not Path(found.strip()).is_relative_to(site):
        raise SystemExit(f"{found.strip()} would be timed instead of {site}")


def compare(old: Path, new: Path, *, only: str, rounds: int) -> int:
    """Time two sets of packages in turns, file by file, and print the ratios."""
    worse = 0
    for tests in sorted(HERE.glob("test_*.py")):
        taken: dict[Path, list[dict[str, float]]] = {old: [], new: []}
        for site in [old, new, new, old] * rounds:
            taken[site].append(medians(site, tests, only))
        for name in taken[new][0]:
            ratio = of_both(taken[old], taken[new], name)
            worse += report(name, ratio)
    return int(worse > 0)


def of_both(
    old: Sequence[Mapping[str, float]], new: Sequence[Mapping[str, float]], name: str
) -> Ratio | None:
    """New over old, one pair per half of a round; None where a revision lacks it."""
    if any(name not in each for each in (*old, *new)):
        return None
    return ratio_of(*(np.array([each[name] for each in side]) for side in (old, new)))


def report(name: str, ratio: Ratio | None) -> bool:
    """Print a line; whether it has become slower."""
    short = name.rpartition("/")[2]
    if ratio is None:
        print(f"{short}: not in both revisions", flush=True)
        return False
    assert ratio.low is not None
    assert ratio.high is not None
    slower = ratio.low > 1 and ratio.value > SLOWER
    word = "SLOWER" if slower else "faster" if ratio.high < 1 else ""
    print(f"{short}: {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f}) {word}", flush=True)
    return slower


def show(found: Mapping[str, float], *, store: bool) -> int:
    """Print seconds beside the stored baseline of this class of machine."""
    file = HERE / "baselines" / f"{machine_class()}.json"
    if not found:
        raise SystemExit("no benchmark ran")
    known = json.loads(file.read_text(encoding="utf-8"))["seconds"] if file.is_file() else {}
    for name, seconds in found.items():
        before = known.get(name)
        beside = f"  baseline {before:.6f} s" if before else ""
        print(f"{name.rpartition('/')[2]}: {seconds:.6f} s{beside}")
    if store:
        file.parent.mkdir(exist_ok=True)
        content = {"machine": machine(), "seconds": dict(found)}
        file.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"stored in {file.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
