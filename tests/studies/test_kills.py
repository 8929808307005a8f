"""Killed at any moment and started again, a grid ends as if nothing had happened.

The sample has fewer units and one kill.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.running.store_folder import open_store

COMMAND = [sys.executable, "-P", "-m", "harness", "compare", "storm.toml", "--workers", "2"]
ARMS = Path(__file__).parents[1] / "harness" / "arms_for_tests.py"
SLOW_ARM = """

class Slow(Sampler):
    def forecast(self, contexts):
        time.sleep({moment})  # it draws, so it is asked for one origin at a time
        return Sampler.forecast(self, contexts)
"""
STORM = """\
datasets = ["GOLD"]

[plan]
horizon = 5
stride = 5
origins = 40
history = 200
validation = 60

[run]
seeds = {seeds}

[[arms]]
name = "old"
use = "slow_arms:Flat"
role = "legacy"

[[arms]]
name = "new"
use = "slow_arms:Learner"
role = "candidate"

[[arms]]
name = "draws"
use = "slow_arms:Slow"
role = "reference"

[policy]
baseline = "old"
candidate = "new"

[[policy.criteria]]
metric = "crps"
margin = 0.05
"""
HEAD = re.compile(r"(head of the store's records: )[0-9a-f]{12}\b")
"""A hash over recorded times too, so every store has its own."""
TAKEN = re.compile(r"Medians of this run: .*? - (?=GOLD)")
"""What both sides took in the run and measuring would take, another time each time."""
MOMENT = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.]*(Z|\+00:00)?")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL")


@pytest.fixture
def units(tmp_path, monkeypatch, sized):
    """Work beside the experiment and its arms; gives its units, half of which take a moment.

    It ends in PROMOTE.
    """
    monkeypatch.chdir(tmp_path)
    source = ARMS.read_text(encoding="utf-8")
    seeds, moment = sized((2, 0.02), (6, 0.3))
    slow = source + SLOW_ARM.format(moment=moment)
    (tmp_path / "slow_arms.py").write_text(slow, encoding="utf-8")
    (tmp_path / "storm.toml").write_text(STORM.format(seeds=[*range(seeds)]), encoding="utf-8")
    return 1 + 2 * seeds


def finished(store):
    """Run to the end, undisturbed; gives the words said, the records' head and times masked."""
    done = subprocess.run(
        [*COMMAND, "--store", store], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    masked, heads = HEAD.subn(r"\1(a head)", done.stdout)
    assert heads == 1
    return TAKEN.sub("(times) ", " ".join(masked.split()))  # times wrap lines elsewhere


def killed(store, *, units, after):
    """Start, wait for some units and seconds, kill the parent alone; gives all it had started."""
    process = subprocess.Popen(
        [*COMMAND, "--store", store],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while process.poll() is None and len(list(store.glob("parts/*"))) < units:
            time.sleep(0.01)
        time.sleep(after)
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return family


def content(store, pattern):
    """The bytes of some files, with recorded times masked."""
    return {
        file.relative_to(store): MOMENT.sub(b"(a moment)", file.read_bytes())
        for file in sorted(store.glob(pattern))
    }


def sealed_parts(store):
    """Keys of the parts that are sealed, each as it was sealed."""
    if not (store / "records.sqlite").is_file():
        return set()
    opened = open_store(store)
    fits = opened.journal.newest("fit")
    seals = {key: seal for fit in fits for key, seal in opened.seals(fit).items()}
    assert not [key for key, seal in seals.items() if opened.part_damage(key, seal)]
    return set(seals)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kills_leave_no_trace(units, sized):
    """Kills at random moments cost time, and not one byte of scores or verdict."""
    kills = sized(1, 100)
    said = finished(Path("calm"))
    rng = random.Random(20)
    stores, family, seen, late = [Path("storm-0")], [], set(), 0

    for _ in range(kills):
        target = rng.randint(len(seen), units)
        family += killed(stores[-1], units=target, after=rng.uniform(0, 0.5))
        sealed = sealed_parts(stores[-1])
        assert seen <= sealed, "a finished unit is gone"
        seen = sealed
        late += bool(list(stores[-1].glob("verdicts/*/*/report.html")))
        if len(seen) == units:  # what is left is to judge: the next kill disturbs another store
            stores.append(Path(f"storm-{len(stores)}"))
            seen = set()
    if kills > 3:  # else there are too few to say
        assert 2 * late < kills, "most kills came too late"
    assert not psutil.wait_procs(family, timeout=30)[1], "a child outlived its parent"

    for store in stores:
        assert finished(store) == said.replace("calm", store.name)
        for pattern in ("parts/*.parquet", "scores/*.scores", "verdicts/*/*/verdict.json"):
            calm, stormy = content(Path("calm"), pattern), content(store, pattern)
            assert calm, pattern
            assert calm == stormy, pattern
        assert sealed_parts(Path("calm")) == sealed_parts(store)
        assert list((store / "tmp").iterdir()) == []
