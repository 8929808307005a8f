"""On a Ray cluster of two nodes on this machine: the same bytes, and every loss made good."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from harness.errors import ConfigError
from harness.experiments.experiment import read_experiment
from harness.running import on_ray
from harness.running.cells import cell_digest
from harness.running.due import works
from harness.running.fill import prepare
from harness.running.on_ray import OnRay, Order, carry_out_order, task_of
from harness.running.sources import digest
from harness.running.store_folder import open_store

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'abharness[ray]'")

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray's own sockets and files
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

HELD = """

class Held(Flat):
    def forecast(self, contexts):
        while (Path(__file__).parent / "held").exists():
            time.sleep(0.1)
        return Flat.forecast(self, contexts)
"""
"""An arm that forecasts once no file `held` lies beside it any more."""


@pytest.fixture(scope="session")
def cluster():
    """Two nodes with two cores each, and no GPU."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    made.add_node(num_cpus=2)
    yield made
    made.shutdown()


@pytest.fixture
def on(cluster):
    """The option that names the cluster."""
    return ("--on", f"ray:{cluster.address}")


@pytest.fixture
def held(tiny):
    """Let the arms `old` and `draws` wait for as long as the file is there; gives the file."""
    arms = Path("arms_for_tests.py")
    arms.write_text(
        arms.read_text().replace("import time\n", "import time\nfrom pathlib import Path\n") + HELD
    )
    tiny(
        ("arms_for_tests:Flat", "arms_for_tests:Held"),
        ('arms_for_tests:Sampler"', 'arms_for_tests:Held"\ncontext = 31'),
    )
    file = Path("held")
    file.touch()
    return file


@pytest.fixture
def beside(tiny, monkeypatch):
    """Run the command line in a process of its own, as a user does."""

    def start(*arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "harness", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def digests(root: str) -> dict[str, str]:
    """What a store holds of every cell of the experiment."""
    store = open_store(Path(root), create=False)
    grid = prepare(read_experiment("tiny.toml"), [], store)
    return {str(cell): cell_digest(store, cell) for cell in grid.cells}


def programs(beneath: int | None = None) -> list[psutil.Process]:
    """Programs that carry out an order on our nodes, or beneath a process."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "harness.running.on_ray" in (process.info["cmdline"] or []):
            with suppress(psutil.Error):
                above = {each.pid for each in process.parents()}
                found += [process] if (beneath or os.getpid()) in above else []
    return found


def until(condition, seconds=90.0):
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def quiet_verdict(root: str) -> bytes:
    """The verdict of a store, as it is written for others, without the day's marks."""
    (file,) = Path(root, "verdicts", "tiny").glob("*/verdict.json")
    return file.read_bytes()


def test_the_verdict_has_the_same_bytes(tiny, on, beside):
    """Two nodes give the bytes of one machine, on a terminal that is as quiet."""
    here = ended(beside("compare", "tiny.toml", "--store", "here"))

    there = ended(beside("compare", "tiny.toml", "--store", "there", *on))

    assert (there[0], here[0]) == (0, 0), there
    assert quiet_verdict("there") == quiet_verdict("here")
    assert digests("there") == digests("here")
    assert list(Path("there/incoming").iterdir()) == []
    said = [line for line in there[2].splitlines() if not line.startswith("[")]
    expected = [line for line in here[2].splitlines() if not line.startswith("[")]
    assert [line.rstrip("0123456789. s") for line in said[1:]] == [
        line.rstrip("0123456789. s") for line in expected[1:]
    ]


@pytest.mark.study
def test_a_killed_worker_is_made_good(held, on, beside):
    """A program that is killed in the middle is started again, and nothing of it is stored."""
    process = beside("run", "tiny.toml", "--only", "draws", *on)
    until(lambda: until(programs)[0].children(recursive=True))
    programs()[0].kill()
    held.unlink()

    code, out, err = ended(process)

    assert code == 0, err
    assert "1 computed now" in out
    assert "failed" not in out


@pytest.mark.study
def test_two_drivers_on_one_store_both_end_well(held, on, beside):
    """Both order the same fits of one cluster: the first sealed counts, and nobody fails."""
    drivers = [beside("run", "tiny.toml", "--store", "both", *on) for _ in range(2)]
    until(lambda: len(programs()) > 1)
    held.unlink()

    said = [ended(driver) for driver in drivers]

    assert [code for code, _, _ in said] == [0, 0], said
    assert "failed" not in "".join(out for _, out, _ in said)
    assert set(digests("both")) == {f"{arm}/GOLD/1" for arm in ("old", "draws")} | {
        "new/GOLD/1",
        "new/GOLD/2",
    }
    assert list(Path("both/incoming").iterdir()) == []


@pytest.mark.study
def test_a_lost_node_is_made_good(held, on, cluster, beside):
    """A node that goes away in the middle costs time, and no result."""
    lost = cluster.add_node(num_cpus=2)
    process = beside("run", "tiny.toml", *on)
    until(lambda: programs(lost.all_processes["raylet"][0].process.pid))
    cluster.remove_node(lost, allow_graceful=False)
    held.unlink()

    code, out, err = ended(process)

    assert code == 0, err
    assert out.startswith("4 units of 4 in runs, 4 computed now")  # nor a word of Ray's
    assert "failed" not in out


@pytest.mark.study
def test_a_killed_driver_goes_on_where_it_was(held, on, beside):
    """After the driver was killed nothing runs on, and the same command finishes the grid."""
    process = beside("run", "tiny.toml", *on)
    until(programs)
    process.kill()
    process.communicate()
    until(lambda: not programs())
    held.unlink()

    code, out, err = ended(beside("run", "tiny.toml", *on))

    assert code == 0, err
    assert "4 units of 4" in out
    assert list(Path("runs/incoming").glob("[!.]*")) == []


def test_a_gpu_that_nobody_has_is_refused(tiny, on, beside):
    """An arm on a GPU is refused in a line before anything starts: Ray would wait for ever."""
    arms = Path("arms_for_tests.py")
    arms.write_text(arms.read_text() + '\n\nclass OnGpu(Flat):\n    device = "cuda"\n')
    tiny(("arms_for_tests:Flat", "arms_for_tests:OnGpu"))

    code, out, err = ended(beside("run", "tiny.toml", *on))

    assert (code, out) == (2, "")
    assert err.startswith("abharness: --on ray: no node of the cluster has a GPU, which old needs")
    assert err.count("\n") == 1


@pytest.mark.study
def test_limits_are_kept_on_the_node(tiny, on, beside):
    """An arm beyond its time or memory becomes failed rows, as on one machine."""
    tiny(
        ('role = "legacy"', 'role = "legacy"\nfault = "eat"'),
        ('arms_for_tests:Sampler"', 'arms_for_tests:Flat"\nwait_s = 60.0'),
        ("seeds = [1, 2]", "seeds = [1]\nmemory_limit_mib = 700\ntime_limit_s = 12.0"),
    )

    code, out, err = ended(beside("run", "tiny.toml", "--only", "old", "--only", "draws", *on))

    assert code == 0, err
    assert "the memory limit is 700 MiB" in out
    assert "the time limit is 12 s" in out


@pytest.mark.study
def test_the_folder_datasets_is_never_imported(tiny, on, beside, monkeypatch):
    """A folder `datasets` where the command is given is no package to an arm on a node."""
    folder = tiny().parent
    Path("elsewhere/datasets").mkdir(parents=True)
    Path("elsewhere/datasets/__init__.py").write_text("raise SystemError('imported')\n")
    arms = Path("arms_for_tests.py")
    arms.write_text(
        arms.read_text() + "\n\nimport importlib.util\n\n"
        "found = importlib.util.find_spec('datasets')\n"
        "assert found is None or 'elsewhere' not in str(found), found\n"
    )
    monkeypatch.chdir("elsewhere")

    code, out, err = ended(beside("run", folder / "tiny.toml", "--only", "old", *on))

    assert code == 0, err
    assert "failed" not in out


def test_an_unknown_cluster_is_refused(tiny, refused):
    """Another executor, a client's address and no cluster are each refused in a line."""
    assert "expected ray or ray:ADDRESS" in refused("run", "tiny.toml", "--on", "dask")
    assert "expected ray, ray:auto" in refused("run", "tiny.toml", "--on", "ray:ray://head:10001")


@pytest.fixture
def order(tiny):
    """An order of the arm `old`, as a driver sends it, and its store."""
    store = open_store(Path("runs"))
    grid = prepare(read_experiment("tiny.toml"), [], store)
    executor = object.__new__(OnRay)
    executor._grid, executor._store, executor._data_folders = grid, store.root.resolve(), ()
    executor._sign = executor._store / "incoming" / ".sign"
    executor._sign.touch()
    work = works(grid, store, grid.cells).works[0]
    return executor._order(work.task), work.task


def refusal(order: Order) -> str:
    answer = carry_out_order(order)
    assert answer.left == ""
    assert [file.name for file in Path("runs/incoming").iterdir()] == [".sign"]
    return answer.refused


def test_an_order_makes_the_same_task(order):
    """What travels is text, and the node makes the very task from what it has itself."""
    sent, task = order
    text = json.dumps(dataclasses.asdict(sent))

    made, _ = task_of(sent)

    assert len(text) < 20_000
    assert [str(day) for day in made.jobs[0].cutoffs] == [str(d) for d in task.jobs[0].cutoffs]
    assert made.jobs[0].series.target.tolist() == task.jobs[0].series.target.tolist()


def test_a_changed_arm_is_refused(order):
    """A node whose arm has other code refuses the order in a line, and leaves nothing."""
    job = order[0].jobs[0]
    identity = {**job.identity, "source": "0" * 64}
    job = dataclasses.replace(job, identity=identity, fit=digest(identity))
    other = dataclasses.replace(order[0], jobs=(job,))

    assert "old/GOLD/1 would be computed with other code of the arm" in refusal(other)


def test_another_installation_is_refused(order, monkeypatch):
    """A node with another numpy, or other code of the harness, is named and leaves nothing."""
    environment = dict(order[0].environment)
    environment["libraries"] = {**environment["libraries"], "numpy": "1.0"}

    other = dataclasses.replace(order[0], environment=environment)
    assert "numpy (" in refusal(other)
    assert "1.0 here" in refusal(other)
    changed = dataclasses.replace(order[0], environment={**order[0].environment, "harness": "0"})
    assert "code of the harness" in refusal(changed)


def test_another_store_is_refused(order):
    """A node that does not share the store says so, also where a store of that name is there."""
    open_store(Path("elsewhere"))
    for name in ("elsewhere", "nowhere"):
        other = dataclasses.replace(order[0], store=str(Path(name).resolve()))

        assert "a folder that all nodes share" in refusal(other)


def test_what_another_driver_has_taken_is_no_result(order):
    """Of two drivers that see one delivery the first has it; the other asks the store again."""
    root = Path("runs").resolve()
    left = root / "incoming" / carry_out_order(order[0]).left
    executor = object.__new__(OnRay)
    executor._store = root
    answer = json.dumps({"node": "n", "left": left.name, "refused": "", "lost": ""})
    executor._ray = SimpleNamespace(
        get=lambda _: answer, exceptions=SimpleNamespace(RayError=OSError)
    )

    first, second = (executor._finished(None, order[1]) for _ in range(2))

    assert (first.ending.kind, first.left) == ("done", left.with_name(f".{left.name}"))
    assert (second.ending.kind, second.left) == ("no answer", None)
    assert "another process has taken" in second.ending.reason


def test_a_node_waits_for_what_is_timed(order, monkeypatch):
    """The lease that a measuring session holds is that of the node's own host."""
    taken = []

    def busy(kind, purpose, **_):
        taken.append((kind, purpose))
        raise ConfigError("this host is in use by a measuring session")

    monkeypatch.setattr(on_ray, "lease", busy)

    answer = carry_out_order(order[0])

    assert taken == [("shared", "abharness run tiny")]
    assert "in use by a measuring session" in answer.lost
