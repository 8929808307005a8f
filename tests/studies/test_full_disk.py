"""A disk that is full: the run ends in a line, and the same command goes on once there is room.

Thirteen sizes, from one on which nothing fits to one on which a calm run just fits. The sample is
one size in the middle and one seed.
"""

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from harness.gate.upkeep import check_store
from harness.running.store_folder import is_store, open_store

ARMS = Path(__file__).parents[1] / "harness" / "arms_for_tests.py"
EXPERIMENT = """\
datasets = ["GOLD"]

[plan]
horizon = 5
stride = 5
origins = 40
refit = 20
history = 200
validation = 60

[run]
seeds = [1, 2]

[[arms]]
name = "old"
use = "few_arms:Flat"
role = "legacy"

[[arms]]
name = "new"
use = "few_arms:Learner"
role = "candidate"

[[arms]]
name = "draws"
use = "few_arms:Sampler"
role = "reference"

[[arms]]
name = "kept"
use = "few_arms:Chained"
role = "reference"

[policy]
baseline = "old"
candidate = "new"

[[policy.criteria]]
metric = "crps"
margin = 0.05
"""
PAGE = os.sysconf("SC_PAGE_SIZE")
SIZES = 13


@contextmanager
def disk(place, size):
    """A file system in memory that holds so many bytes; gives what enlarges it."""

    def mount(*words):
        said = subprocess.run(["mount", *words, place], capture_output=True, text=True, check=False)
        return said.stderr.strip()

    place.mkdir(exist_ok=True)
    refused = mount("-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs")
    if refused:
        pytest.skip(f"a small file system cannot be mounted here: {refused}")
    try:
        yield lambda more: mount("-o", f"remount,size={more}")
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def compare(place, fills):
    """Compare on a disk that holds the store, the temporary files or both."""
    store, scratch = (place / "runs" if "store" in fills else place.with_name("roomy")), None
    if "scratch" in fills:
        scratch = place / "s"
        scratch.mkdir(exist_ok=True)
    environment = os.environ | ({"TMPDIR": str(scratch)} if scratch else {})
    line = [sys.executable, "-P", "-m", "harness", "compare", "tiny.toml", "--workers", "2"]
    return store, subprocess.run(
        [*line, "--store", str(store)],
        capture_output=True, text=True, check=False, timeout=300, env=environment,
    )  # fmt: skip


def answer(said):
    """The first sentence of what was printed, and its tables; costs are another each time."""
    tables = [line for line in said.splitlines() if re.match(r"(shown|undecided|old|new) ", line)]
    assert len(tables) >= 3
    return said.partition("\n\n")[0], tables


def figures(store):
    """Digest of every forecast that the store holds, by fit and origin."""
    return {
        (seal.fit, day): found
        for seal in store.parts().values()
        for day, found in zip(seal.cutoffs, seal.digests, strict=True)
    }


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(sys.platform != "linux", reason="a file system is mounted")
@pytest.mark.parametrize(
    "fills", [("store",), pytest.param(("store", "scratch"), marks=pytest.mark.study)]
)
def test_a_full_disk_costs_time_alone(fills, tmp_path, monkeypatch, sized, capsys):
    """One line and its code, no failure booked; enlarged, the same command ends as a calm run."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ARMS, tmp_path / "few_arms.py")
    text = EXPERIMENT.replace("seeds = [1, 2]", sized("seeds = [1]", "seeds = [1, 2]"))
    (tmp_path / "tiny.toml").write_text(text, encoding="utf-8")
    place, before = tmp_path / "disk", {process.pid for process in psutil.process_iter()}
    with disk(place, "256m"):
        store, calm = compare(place, fills)
        assert calm.returncode in (0, 3, 4), calm.stderr
        wanted, used = figures(open_store(store)), shutil.disk_usage(place).used
    codes = []
    for number in sized((7,), range(SIZES)):
        size = max(PAGE, used * number // (SIZES - 1))
        with disk(place, size) as enlarge:
            store, full = compare(place, fills)
            codes.append(full.returncode)
            said = f"{number}: {full.returncode}\n{full.stderr}"
            print(said)

            assert full.returncode in (2, 5, calm.returncode), said
            assert "Traceback" not in full.stderr, said
            assert "internal error" not in full.stderr, said
            lines = full.stderr.splitlines()
            assert max(map(len, lines)) <= 500, said
            if full.returncode == 2:
                assert sum(each.startswith("abharness: ") for each in lines) == 1, said
                assert lines[-1].startswith("abharness: "), said
                assert "No space left" in lines[-1] or "full" in lines[-1], said
            assert enlarge("256m") == ""
            if is_store(store):
                held = open_store(store)
                assert not any(fit.problem for fit in held.fits().values()), said
                assert not any(seal.failed for seal in held.parts().values()), said
                assert figures(held).items() <= wanted.items(), said

            store, again = compare(place, fills)

            assert again.returncode == calm.returncode, said + again.stderr
            assert answer(again.stdout) == answer(calm.stdout), said
            held = open_store(store)
            assert figures(held) == wanted
            assert check_store(held).sound
            assert list((store / "tmp").iterdir()) == []
            assert not list(place.glob("s/abharness-*"))
    left = [p for p in psutil.process_iter() if p.pid not in before and works_in(p, tmp_path)]
    assert left == []
    with capsys.disabled():
        print(f"\n{' and '.join(fills)}: {used} bytes, codes {codes}")


def works_in(process, folder):
    try:
        return Path(process.cwd()).is_relative_to(folder)
    except (psutil.Error, OSError):
        return False
