"""Keys of fits and cells: another whenever a number could differ, the same one otherwise."""

import dataclasses
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.arm_ref import ArmRef
from harness.data.dataset import load
from harness.experiments.experiment import read_experiment
from harness.running import identity
from harness.running.fill import prepare
from harness.running.grid import declare
from harness.running.identity import (
    arm_identity,
    device_name,
    library_versions,
    machine,
    visible_gpus,
)
from harness.running.sources import CodeReader, digest, file_digest


@pytest.fixture
def experiment(tiny):
    return read_experiment(str(tiny()))


@pytest.fixture
def gold():
    return load("GOLD")


def keys(experiment, gold):
    return [cell.key for cell in declare(experiment, {"GOLD": gold}).cells]


def fits(experiment, gold):
    return [fit.key for cell in declare(experiment, {"GOLD": gold}).cells for fit in cell.fits]


def environments(experiment, gold):
    return [digest(cell.environment) for cell in declare(experiment, {"GOLD": gold}).cells]


def with_values(gold, **arrays):
    return dataclasses.replace(gold, series=dataclasses.replace(gold.series, **arrays))


def longer(gold):
    """The same data with one session more."""
    series = gold.series
    return with_values(
        gold,
        dates=np.append(series.dates, series.dates[-1] + 3),
        target=np.append(series.target, 1.0),
        past=np.append(series.past, [[1.0]], axis=0),
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("horizon = 5", "horizon = 6"),
        ("stride = 5", "stride = 6"),
        ("origins = 40", "origins = 41"),
        ("history = 200", "history = 201"),
        ("history = 200\n", ""),
        ("validation = 60", "validation = 61"),
        ("horizon = 5", "horizon = 5\ngap = 1"),
        ("horizon = 5", "horizon = 5\nrefit = 10"),
        ("horizon = 5", "horizon = 5\nskip_repeats = true"),
        ("[run]", "[run]\nthreads = 2"),
    ],
)
def test_what_decides_all_numbers(tiny, experiment, gold, old, new):
    """Plan and threads are in every cell's key."""
    other = read_experiment(str(tiny((old, new))))

    assert not set(keys(experiment, gold)) & set(keys(other, gold))


def test_the_seed_decides_what_is_by_chance(tiny, experiment, gold):
    """Other seeds are other keys of arms that draw or learn by chance, and of no other."""
    other = read_experiment(str(tiny(("seeds = [1, 2]", "seeds = [3, 4]"))))

    before, after = keys(experiment, gold), keys(other, gold)

    assert before[0] == after[0]
    assert not set(before[1:]) & set(after[1:])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stride = 5", "stride = 10"),
        ("origins = 40", "origins = 20"),
        ("horizon = 5", "horizon = 5\nrefit = 20"),
        ("horizon = 5", "horizon = 4\ngap = 1"),
        ("[run]", "[run]\nbatch = 7"),
    ],
)
def test_a_fit_is_shared_by_plans(tiny, gold, old, new):
    """Stride, count, refit, batch, and where the judged steps start are in no fit's key."""
    begins = ("origins = 40", "origins = 40\nfirst = 5000")
    one = read_experiment(str(tiny(begins)))
    changes = [begins, (old, new)]
    other = read_experiment(str(tiny(*changes, name="other.toml")))

    assert set(fits(one, gold)) <= set(fits(other, gold))


class _On:
    """As much of an arm as is asked for its device."""

    def __init__(self, device, *parts):
        self.device = device
        if parts:
            self.parts = lambda: parts


def test_an_open_device_is_what_the_machine_has(monkeypatch):
    """`device = "auto"`, of an arm or of one it is made of, stands for what is there."""
    pair = _On(None, _On(None), _On("auto"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(identity, "_gpu_files", list)
    assert [device_name(arm) for arm in (_On(None), _On("cuda:1"), _On("auto"), pair)] == [
        "", "cuda:1", "cpu", "cpu"
    ]  # fmt: skip
    monkeypatch.setattr(identity, "_gpu_files", lambda: [Path("0"), Path("1")])

    assert device_name(pair) == "cuda"
    assert device_name(_On(None, _On("cpu"), _On("cuda"))) == "cuda"
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert device_name(pair) == "cpu"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-a")
    assert visible_gpus() == ["3", "GPU-a"]


def test_option_and_class_decide_their_arm(tiny, experiment, gold):
    """Another option or class is another key of that arm only."""
    before = keys(experiment, gold)
    for old, new in (
        ('role = "legacy"', 'role = "legacy"\ncontext = 31'),
        ("arms_for_tests:Flat", "arms_for_tests:Sampler"),
    ):
        after = keys(read_experiment(str(tiny((old, new)))), gold)
        assert after[0] != before[0]
        assert after[-4:] == before[-4:]


@pytest.mark.parametrize("row", [0, 9000, 9131])
@pytest.mark.parametrize("column", ["target", "past", "dates"])
def test_every_value_decides(experiment, gold, row, column):
    """One changed price, covariate or date changes every key, also before any window's history."""
    values = getattr(gold.series, column).copy()
    values[row] += 1

    other = keys(experiment, with_values(gold, **{column: values}))

    assert not set(keys(experiment, gold)) & set(other)


@pytest.mark.slow
def test_later_rows_decide_nothing(experiment, gold):
    """Sessions after the last judged one change no fit, and no key of a plan that is closed."""
    plan = dataclasses.replace(experiment.plans["GOLD"], first="2010-01-04")
    fixed = dataclasses.replace(experiment, plans={"GOLD": plan})

    assert keys(fixed, gold) == keys(fixed, longer(gold))
    assert keys(experiment, gold) != keys(experiment, longer(gold))


def test_names_decide_nothing(tiny, experiment, gold):
    """Names of arms, roles, titles, policy, limits and file are in no key."""
    other = read_experiment(
        str(
            tiny(
                ('"old"', '"was"'),
                ('"legacy"', '"reference"'),
                ('"Tiny"', '"Huge"'),
                ("margin = 0.05", "margin = 0.5"),
                ("[run]", "[run]\ntime_limit_s = 9.5\nmemory_limit_mib = 99"),
                name="other.toml",
            )
        )
    )

    assert keys(other, gold) == keys(experiment, gold)


def test_name_of_the_dataset_decides_nothing(experiment, gold):
    """The same rows under another id, title and file name have the same keys."""
    manifest = dataclasses.replace(gold.manifest, id="AU", title="Other", file="AU.csv")
    named = dataclasses.replace(gold, manifest=manifest, path=Path("AU.csv"), digest="0" * 64)
    moved = dataclasses.replace(experiment, plans={"AU": experiment.plans["GOLD"]})

    after = [cell.key for cell in declare(moved, {"AU": named}).cells]

    assert after == keys(experiment, gold)


PRINT_KEYS = """\
import sys
from harness.experiments.experiment import read_experiment
from harness.running.fill import prepare
print([cell.key for cell in prepare(read_experiment(sys.argv[1]), []).cells])
"""


def keys_elsewhere(file):
    """Keys as a process of its own finds them."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", PRINT_KEYS, str(file)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(file).parent,
    )
    return eval(done.stdout)


@pytest.mark.slow
def test_folder_decides_nothing_and_source_does(tiny, experiment, tmp_path):
    """Another folder has the same keys; code in an arm's file changes them, a comment does not."""
    here = [cell.key for cell in prepare(experiment, []).cells]
    there = tmp_path / "elsewhere"
    there.mkdir()
    for name in ("tiny.toml", "arms_for_tests.py"):
        shutil.copy(tmp_path / name, there)

    assert keys_elsewhere(there / "tiny.toml") == here

    with (there / "arms_for_tests.py").open("a", encoding="utf-8") as stream:
        stream.write("\n# another comment\n")
    assert keys_elsewhere(there / "tiny.toml") == here

    with (there / "arms_for_tests.py").open("a", encoding="utf-8") as stream:
        stream.write("\nANOTHER = 'source'\n")
    assert not set(keys_elsewhere(there / "tiny.toml")) & set(here)


@pytest.mark.slow
def test_a_helper_beside_the_experiment_decides(tiny, tmp_path):
    """A module that an arm's module imports from its folder is part of what decides."""
    text = "import {}\nfrom arms_for_tests import Flat\n\n\nclass Helped(Flat):\n    pass\n"
    (tmp_path / "helped_arm.py").write_text(text.format("its_helper"), encoding="utf-8")
    (tmp_path / "its_helper.py").write_text("WIDTH = 1\n", encoding="utf-8")
    file = tiny(("arms_for_tests:Flat", "helped_arm:Helped"))
    before = keys_elsewhere(file)

    (tmp_path / "its_helper.py").write_text("WIDTH = 2\n", encoding="utf-8")
    after = keys_elsewhere(file)

    assert after[0] != before[0]
    assert after[1:] == before[1:]


def test_the_module_an_experiment_names_decides(experiment, tmp_path, monkeypatch):
    """A class that is only handed on by the module named, or whose base is made up, counts it."""
    (tmp_path / "handing_on.py").write_text(
        "from arms_for_tests import Flat as Arm\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    ref = dataclasses.replace(experiment.arms[0], use="handing_on:Arm")

    def source():
        return arm_identity(ref, ref.build())["source"]

    before = source()
    with (tmp_path / "handing_on.py").open("a", encoding="utf-8") as stream:
        stream.write("Arm.context_length = 7\n")

    assert source() != before


def test_library_versions_are_the_environment(experiment, gold, monkeypatch):
    """Another version of a library, or of Python, is another environment, and no other key."""
    before, around = keys(experiment, gold), environments(experiment, gold)
    monkeypatch.setattr(identity, "library_versions", lambda: {"numpy": "0"})

    assert keys(experiment, gold) == before
    assert not set(environments(experiment, gold)) & set(around)
    assert set(library_versions()) >= {"python", "numpy", "torch"}


CARRIED_OUT = """\
import pickle, sys
from pathlib import Path
from harness.running.split import Split
from harness.running.work import carry_out_all
carry_out_all(pickle.loads(sys.stdin.buffer.read()), Path(sys.argv[1]))
print(*[name for name in sys.modules if name.split(".")[0] == "harness"])
"""


@pytest.fixture
def between_data_and_forecast(experiment, gold, tmp_path):
    """Modules of the harness that a process loads which carries out jobs and writes them."""
    grid = declare(experiment, {"GOLD": gold})
    done = subprocess.run(
        [sys.executable, "-P", "-c", CARRIED_OUT, str(tmp_path)],
        input=pickle.dumps((grid.job(grid.cells[1]),)),
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    return set(done.stdout.decode().split()) - {"harness"}


@pytest.mark.slow
def test_code_between_data_and_forecast_is_the_environment(
    experiment, gold, between_data_and_forecast, edited_module
):
    """Code in any module that carries out a job is another environment; words are none."""
    before, around = keys(experiment, gold), environments(experiment, gold)

    assert {"harness.window", "harness.running.parts"} <= between_data_and_forecast
    with edited_module(*between_data_and_forecast, added="'''Other words.'''"):
        assert environments(experiment, gold) == around
    for module in between_data_and_forecast:
        with edited_module(module, added="CHANGED = True"):
            assert not set(environments(experiment, gold)) & set(around), module
            assert keys(experiment, gold) == before


@pytest.mark.slow
def test_a_module_of_the_harness_that_an_arm_alone_imports_decides_it(
    tiny, gold, tmp_path, edited_module
):
    """The reader of network outputs is in the environment of arms that use it, wherever they do."""
    (tmp_path / "reading_arm.py").write_text(
        "from arms_for_tests import Flat\n\n\n"
        "class Reading(Flat):\n    def forecast(self, contexts):\n"
        "        from harness.network_answers import prediction_in\n\n"
        "        return prediction_in(super().forecast(contexts))\n",
        encoding="utf-8",
    )
    experiment = read_experiment(str(tiny(("arms_for_tests:Flat", "reading_arm:Reading"))))
    before = environments(experiment, gold)

    with edited_module("harness.network_answers", added="CHANGED = True"):
        after = environments(experiment, gold)

    assert after[0] != before[0]
    assert after[1:] == before[1:]


def test_arms_are_read_again_for_each_grid(tiny, gold, tmp_path):
    """In one process, such as a notebook, an edited arm has another key."""
    file = tmp_path / "arm_to_edit.py"
    file.write_text("from arms_for_tests import Flat as Edited\n", encoding="utf-8")
    experiment = read_experiment(str(tiny(("arms_for_tests:Flat", "arm_to_edit:Edited"))))
    before = keys(experiment, gold)
    file.write_text("from arms_for_tests import Flat as Edited\nADDED = 1\n", encoding="utf-8")

    assert keys(experiment, gold)[0] != before[0]


def test_the_modules_of_parts_decide(tmp_path):
    """A module of the harness that only a part of a pair imports is in the pair's identity."""
    parts = {"use": "baselines.random_walk:RandomWalk"}
    pair = ArmRef(
        name="pair",
        role="candidate",
        use="harness.fallback:WithFallback",
        options={"primary": parts, "fallback": parts},
    )
    roots = set(identity._modules_of(pair.build(), use=pair.use))

    assert {"harness.fallback", "baselines.random_walk"} <= roots
    assert "harness.parsing" in CodeReader().reached(roots).ours


@pytest.mark.slow
def test_weights_decide(experiment, tmp_path):
    """One changed byte of a weight file changes the identity; its folder does not."""
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        (folder / "model.bin").write_bytes(b"weights")
    ref = experiment.arms[0]

    def found(folder):
        arm = ref.build()
        body = {
            "weight_files": lambda _: [folder / "model.bin"],
            "__module__": type(arm).__module__,
        }
        heavy = type("Heavy", (type(arm),), body)()
        return arm_identity(ref, heavy)

    assert digest(found(folders[0])) == digest(found(folders[1]))
    before = digest(found(folders[0]))
    (folders[0] / "model.bin").write_bytes(b"Weights")
    assert digest(found(folders[0])) != before


def test_digest_ignores_the_order_of_keys():
    """A digest is of the content."""
    assert digest({"a": 1, "b": [1.5, None]}) == digest({"b": [1.5, None], "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.0})
    assert len(digest([])) == 64


def test_file_digest_is_sha256(tmp_path):
    """A file's digest is what `sha256sum` prints."""
    file = tmp_path / "x"
    file.write_bytes(b"abc")

    assert file_digest(file) == ("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")


def test_machine_is_plain_text():
    """Facts of the machine are short texts, and hold no path."""
    found = machine()

    assert set(found) == {"processor", "cores", "memory_gib", "system", "gpu"}
    assert int(found["cores"]) >= 1
    assert int(found["memory_gib"]) >= 1
    assert all("\n" not in text for text in found.values())


def test_cores_without_affinity(monkeypatch):
    """Where the system has no affinities, all cores count."""
    monkeypatch.delattr(identity.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(identity.os, "cpu_count", lambda: None)

    assert identity.allowed_cores() == 1
