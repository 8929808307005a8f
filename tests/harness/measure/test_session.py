"""Measuring sessions with real processes: memory, honesty, exclusion, the verb."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.arm_ref import ArmRef
from harness.costs import CRITERIA
from harness.measure import load
from harness.measure.record import read_measure
from harness.measure.replies import LoadedReply, Phases
from harness.measure.session import MeasuredProcesses, TurnError
from harness.reasons import ReasonCode
from harness.running import lease
from harness.running.meter import why_no_peaks
from harness.running.store_folder import open_store
from harness.running.unit import Job
from harness.window import RollingOrigin, up_to
from reports.words.reason_words import why_all

MIB = 2**20
SLIGHT = 'Busy"\nwork = 1 #'
"""Not the arm's usual work, of which a session does thousands of windows."""
QUICK = "[measure]\nsets = 2\nrounds = 2\nblock_s = 0.0\n\n[policy]"

needs_peaks = pytest.mark.skipif(why_no_peaks() != "", reason=why_no_peaks())


@pytest.fixture(autouse=True)
def own_lease(tmp_path, monkeypatch):
    """Wait for nobody else on this host."""
    monkeypatch.setattr(lease, "HOST_FILE", tmp_path / "lease")
    monkeypatch.setattr(load, "_SAMPLE_S", 0.05)
    shutil.copy(Path(__file__).parents[1] / "arms_to_measure.py", tmp_path)


@pytest.fixture
def idle(monkeypatch):
    """Take the machine for an idle one, whatever else it does."""
    monkeypatch.setattr(load.Load, "problem", lambda self, when: "")


@pytest.fixture
def job_file(series, tmp_path):
    """Write the job of an arm with options; gives its file."""

    def write(name, **options):
        plan = RollingOrigin(horizon=5, stride=5, origins=10, validation=60)
        windows = plan.over(series.dates)
        use = f"arms_to_measure:{name}"
        job = Job(
            ref=ArmRef(name=name, use=use, role="legacy", options=options, folder=tmp_path),
            seed=1,
            plan=plan,
            series=up_to(series, int(windows.origin[-1])),
            windows=windows,
            threads=1,
            batch=16,
        )
        file = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}.job"
        file.write_bytes(pickle.dumps(job))
        return str(file)

    return write


@pytest.fixture
def turns(tmp_path):
    """A launcher with a limit."""
    with MeasuredProcesses(threads=1, keep=(), log=tmp_path / "log.txt", limit_s=20.0) as found:
        yield found


def pair(old, new):
    """Changes of the tiny experiment: which arms, and how they are measured."""
    return (
        ("arms_for_tests:Flat", f"arms_to_measure:{old}"),
        ("arms_for_tests:Learner", f"arms_to_measure:{new}"),
        ("[policy]", QUICK),
    )


def record_in(store):
    """The one record of a store."""
    opened = open_store(store, create=False)
    (key,) = opened.journal.newest("measurement")
    return read_measure(opened, key)


def cost(record, name):
    return record.costs_in("")[name]


def said_of(record, name):
    return why_all(cost(record, name).reasons)


@needs_peaks
@pytest.mark.slow
def test_memory_is_what_the_arm_took(turns, job_file):
    """200 MiB are seen within 5 %, while we hold 1 GiB and right after an arm that held 600 MiB."""
    runner_holds = np.ones(1024 * MIB, dtype=np.uint8)
    seen = []
    for name, holder in (("small", 200), ("large", 600), ("small", 200)):
        turns.start(name)
        turns.turn(name, "open", Phases, job=job_file("Holder", mib=holder), order=0)
        turns.turn(name, "load", LoadedReply, state=None)
        phases = turns.turn(name, "first", Phases)
        seen.append((phases.peak_bytes["first"] - phases.start_bytes["first"]) / MIB)
        turns.stop(name)

    assert runner_holds[-1] == 1
    assert seen[0] == pytest.approx(200, rel=0.05)
    assert seen[1] == pytest.approx(600, rel=0.05)
    assert seen[2] == pytest.approx(200, rel=0.05)


@needs_peaks
def test_memory_is_counted_anew_in_each_phase(turns, job_file):
    """What was freed in one phase is no peak of the next; what is kept is.

    Held against the same arm that fills little: a first forecast imports something of its own.
    """
    first = {}
    for name, mib in (("A", 151), ("B", 1)):
        turns.start(name)
        turns.turn(name, "open", Phases, job=job_file("Holder", mib=mib, kept_mib=50), order=0)
        turns.turn(name, "load", LoadedReply, state=None)
        peaks = turns.turn(name, "first", Phases).peak_bytes
        first[name] = (peaks["first"] - peaks["load"]) / MIB
        assert (peaks["load"] - peaks["import"]) / MIB == pytest.approx(50, abs=5)

    assert first["A"] - first["B"] == pytest.approx(150, abs=8)


def test_nobody_runs_out_of_turn(turns, job_file):
    """A process whose turn it is not stands still: it spends no processor time."""
    for name in ("A", "B"):
        turns.start(name)
        turns.turn(name, "open", Phases, job=job_file("Busy"), order=0)
    import psutil

    launcher = turns._process.pid
    children = psutil.Process(launcher).children()

    assert [child.status() for child in children] == [psutil.STATUS_STOPPED] * 2


@pytest.mark.slow
def test_a_killed_launcher_takes_its_processes_along(tmp_path, job_file):
    """Not even a stopped process is left behind."""
    import psutil

    with MeasuredProcesses(threads=1, keep=(), log=tmp_path / "log.txt", limit_s=20.0) as turns:
        turns.start("A")
        (child,) = psutil.Process(turns._process.pid).children()
        turns._process.kill()
        gone, left = psutil.wait_procs([child], timeout=10)

    assert left == []
    assert gone == [child]


@pytest.mark.slow
def test_an_arm_that_hangs_is_stopped(tmp_path, job_file):
    """A turn has a limit, and the message says which."""
    with MeasuredProcesses(threads=1, keep=(), log=tmp_path / "log.txt", limit_s=3.0) as turns:
        turns.start("A")
        turns.turn("A", "open", Phases, job=job_file("Busy", work=10**8), order=0)
        with pytest.raises(TurnError, match="stopped after the limit of 3 s"):
            turns.turn("A", "first", Phases)


@pytest.mark.slow
@pytest.mark.usefixtures("in_process", "idle")
def test_measure_takes_every_cost(tiny, call, tmp_path):
    """A trained baseline and a candidate without weights: each cost has a figure or a reason."""
    tiny(*pair("Trained", "Busy"))

    code, out, _ = call("measure", "tiny.toml", "--store", "s", "--profile")
    record = record_in(tmp_path / "s")
    arms = {arm.arm: arm for arm in record.arms}

    assert code == 0
    assert [each.criterion for each in record.costs] == list(CRITERIA)
    assert all(each in out for each in CRITERIA)
    for name in ("latency", "throughput"):
        figure = cost(record, name)
        assert figure.low < figure.ratio < figure.high
        assert figure.valid
        assert figure.n == 2
        assert figure.noise_floor > 0
    assert cost(record, "latency").ratio > 2
    assert (cost(record, "fit_time").ratio, cost(record, "checkpoint_bytes").ratio) == (0, 0)
    assert arms["old"].training.fit_seconds >= 0.05
    assert arms["new"].training is None
    assert arms["new"].phases["fit"] is None
    assert [arm.doubts for arm in arms.values()] == [(), ()]
    profiles = [
        tmp_path / "s" / file for each in record.profiles.values() for file in each.values()
    ]
    assert len(profiles) == 4
    assert all(file.is_file() for file in profiles)


@pytest.mark.slow
@pytest.mark.usefixtures("in_process", "idle")
def test_what_cannot_be_kept_is_fitted_in_every_process(tiny, call, tmp_path):
    """An arm that cannot be pickled is measured all the same, and a note says how."""
    tiny(*pair('Trained"\nkeeps = false #', "Busy"))

    code, _, _ = call("measure", "tiny.toml", "--store", "s")
    record = record_in(tmp_path / "s")

    assert code == 0
    assert "old was fitted in every process" in record.notes[0]
    assert cost(record, "latency").valid
    assert "both arms have no stored weights" in said_of(record, "checkpoint_bytes")


@pytest.mark.slow
@pytest.mark.usefixtures("in_process", "idle")
def test_arms_that_cheat_are_caught(tiny, call, tmp_path):
    """One that remembers inputs, and one that forecasts something else when timed."""
    tiny(*pair("Remembers", "Hurries"))

    call("measure", "tiny.toml", "--store", "s")
    record = record_in(tmp_path / "s")
    old, new = record.arms

    assert old.repeated_input.faster
    assert [each.code for each in old.doubts] == [ReasonCode.REMEMBERS_INPUTS]
    assert [each.code for each in new.doubts] == [ReasonCode.TIMED_OTHERWISE]
    for name in ("latency", "throughput", "peak_memory"):
        assert not cost(record, name).valid
        assert "old remembers inputs" in said_of(record, name)
        assert "new, timed one window at a time, does not forecast" in said_of(record, name)
    assert cost(record, "code_lines").valid


@pytest.mark.slow
@pytest.mark.usefixtures("in_process", "idle")
def test_a_failing_arm_is_a_record_with_a_reason(tiny, call, tmp_path):
    """What broke while it was measured is no crash and no gap."""
    tiny(*pair(SLIGHT, "Breaks"))

    code, out, _ = call("measure", "tiny.toml", "--store", "s")

    assert code == 0
    assert "RuntimeError: one is too few" in out
    assert {each.ratio for each in record_in(tmp_path / "s").costs} == {None}


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_a_loaded_machine_makes_timings_no_evidence(tiny, call, tmp_path, monkeypatch):
    """Timed costs say why they are none; memory and counts stand."""
    monkeypatch.setattr(load, "_FLOOR_CORES", -1.0)
    monkeypatch.setattr(load, "_SHARE", -1.0)
    tiny(*pair(SLIGHT, SLIGHT))

    call("measure", "tiny.toml", "--store", "s")
    record = record_in(tmp_path / "s")

    for name in ("latency", "throughput"):
        assert "the machine was busy" in said_of(record, name)
        assert not cost(record, name).valid
        assert cost(record, name).ratio > 0
    assert cost(record, "code_lines").valid
    assert cost(record, "peak_memory").valid


@pytest.mark.slow
@pytest.mark.usefixtures("in_process", "idle")
def test_run_measures_where_the_experiment_asks(tiny, call, tmp_path):
    """Once; a second run finds it done."""
    tiny(*pair(SLIGHT, SLIGHT))

    _, _, first = call("run", "tiny.toml", "--store", "s")
    before = record_in(tmp_path / "s")
    _, _, second = call("run", "tiny.toml", "--store", "s")

    assert "measuring: set 2 of 2" in first
    assert "measuring" not in second
    assert record_in(tmp_path / "s") == before


@pytest.mark.slow
def test_measured_units_never_overlap(tiny, tmp_path):
    """Two sessions and a run with two workers, at once on one host: timed calls stand alone."""
    options = 'use = "arms_to_measure:Notes"\nrole = "{}"\nfile = "{}"'
    commands, names = [], ("one", "two", "run")
    for name in names:
        notes = [options.format(role, tmp_path / f"{name}.txt") for role in ("legacy", "candidate")]
        tiny(
            ('use = "arms_for_tests:Flat"\nrole = "legacy"', notes[0]),
            ('use = "arms_for_tests:Learner"\nrole = "candidate"', notes[1]),
            ("[policy]", QUICK.replace("sets", "with_run = false\nsets")),
            name=f"{name}.toml",
        )
        verb = (
            ["run", f"{name}.toml", "--workers", "2"]
            if name == "run"
            else ["measure", f"{name}.toml"]
        )
        commands.append([*verb, "--store", str(tmp_path / f"store-{name}")])
    script = (
        "import sys, pathlib; from harness.running import lease;"
        f"lease.HOST_FILE = pathlib.Path({str(tmp_path / 'lease')!r});"
        "from harness.cli import run_cli; raise SystemExit(run_cli(sys.argv[1:]))"
    )
    running = [
        subprocess.Popen([sys.executable, "-P", "-c", script, *each], env=dict(os.environ))
        for each in commands
    ]

    assert [each.wait(timeout=300) for each in running] == [0, 0, 0]
    found = {name: np.loadtxt(tmp_path / f"{name}.txt", ndmin=2) for name in names}
    start, stop, timed = np.concatenate(list(found.values())).T
    beside = (start[:, None] < stop) & (start < stop[:, None])  # of each pair of calls
    np.fill_diagonal(beside, val=False)
    assert [bool(found[name][:, 2].any()) for name in names] == [True, True, False]
    assert not beside[timed == 1].any()
