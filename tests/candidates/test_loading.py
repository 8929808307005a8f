"""Finding a checkpoint: from a folder or the hub, whole, soon, or one line."""

import shutil
import subprocess
import sys

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from candidates.replacement import loading
from candidates.replacement.loading import CHECKPOINT, Source, commit_of, fetch, load_pipeline
from harness.errors import ArmError
from harness.experiments.experiment import read_experiment
from harness.running.fill import prepare

HUB = """
import os, sys
os.environ["HF_HUB_OFFLINE"] = sys.argv[1]
os.environ["HF_ENDPOINT"] = "http://10.255.255.1:81"
os.environ["HF_HOME"] = sys.argv[2]
from candidates.hf_bayesian_autoformer import HFBayesianAutoformer
from candidates.replacement import loading
from harness.errors import ArmError
waited, answers = [], loading._answers
loading._answers = lambda address: waited.append(loading.PATIENCE_S) or answers(address)
try:
    HFBayesianAutoformer(model="amazon/chronos-bolt-small").load()
except ArmError as problem:
    print(sum(waited), problem)
"""


PAIR = """
schema = 1
title = "A pair on a hub's model"
datasets = ["GOLD"]

[plan]
horizon = 5
stride = 5
origins = 4

[[arms]]
name = "a"
use = "baselines.random_walk:RandomWalk"
role = "legacy"

[[arms]]
name = "b"
use = "harness.fallback:WithFallback"
role = "candidate"
fallback = { use = "baselines.random_walk:RandomWalk" }

[arms.primary]
use = "candidates.hf_bayesian_autoformer:HFBayesianAutoformer"
model = "some/chronos"

[policy]
baseline = "a"
candidate = "b"

[[policy.criteria]]
metric = "mae"
margin = 0.1
"""


@pytest.mark.parametrize("offline", ["0", "1"])
def test_missing_hub_model_is_one_line_after_five_seconds_at_most(offline, tmp_path):
    """Whether the hub is not asked or does not answer: what, where and how to get it.

    What is waited for the hub is counted, not the time it takes on a busy machine.
    """
    run = [sys.executable, "-P", "-c", HUB, offline, str(tmp_path)]

    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=60)

    seconds, _, said = done.stdout.strip().partition(" ")
    assert (float(seconds) > 0) == (offline == "0")
    assert float(seconds) < 5.0
    assert "\n" not in said
    assert "amazon/chronos-bolt-small" in said
    assert str(tmp_path) in said
    assert "`hf download amazon/chronos-bolt-small`" in said


def test_local_only_never_asks_the_hub(monkeypatch):
    """With the switch on, nothing is sent."""
    monkeypatch.setattr(loading, "_answers", lambda address: pytest.fail("asked"))

    with pytest.raises(ArmError, match="not asked"):
        load_pipeline(Source(model="amazon/no-such-model", local_only=True))


def test_revision_is_in_the_advice():
    """A pinned revision is what the user is told to download."""
    with pytest.raises(ArmError, match="--revision abc123"):
        load_pipeline(Source(model="amazon/no-such", revision="abc123", local_only=True))


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Put a model of a hub id into an empty local cache, at a commit that a branch means."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(folder, commit, *, branch="main"):
        place = tmp_path / "hub" / "models--some--chronos"
        shutil.copytree(folder, place / "snapshots" / commit)
        (place / "refs").mkdir(exist_ok=True)
        (place / "refs" / branch).write_text(commit, encoding="utf-8")
        return place / "snapshots" / commit

    return put


def test_a_hub_id_is_named_by_its_commit(cached, tiny, tmp_path):
    """Without the hub, the local cache says what a branch means; another commit, another key."""
    (tmp_path / "x.toml").write_text(PAIR, encoding="utf-8")
    found = []
    for commit in ("1" * 40, "2" * 40):
        cached(tiny["bolt"], commit)
        found.append(prepare(read_experiment(str(tmp_path / "x.toml")), []))

    revisions = [grid.cells[1].arm.options["primary"]["revision"] for grid in found]
    assert revisions == ["1" * 40, "2" * 40]
    assert found[0].cells[0].key == found[1].cells[0].key
    assert found[0].cells[1].key != found[1].cells[1].key


def test_what_names_its_weights_exactly_stays(tiny):
    """A whole commit is taken as it is, and a folder has none."""
    whole = "0123456789abcdef0123456789abcdef01234567"

    assert commit_of(Source(model="some/chronos", revision=whole, local_only=True)) == whole
    assert commit_of(Source(model=tiny["bolt"])) is None
    assert commit_of(Source()) is None


def test_a_hub_id_that_nobody_knows_is_refused(cached):
    """Neither hub nor cache tells what it means: one line says how to get it."""
    with pytest.raises(ArmError, match="hf download some/chronos") as caught:
        commit_of(Source(model="some/chronos", revision="v2"))

    assert "\n" not in str(caught.value)


def test_a_pinned_model_is_loaded_from_its_commit(cached, tiny):
    """The pipeline comes from the commit that was named, whatever the branch means since."""
    cached(tiny["bolt"], "1" * 40)
    cached(tiny["chronos2"], "2" * 40)

    pipeline = load_pipeline(Source(model="some/chronos", revision="1" * 40))

    assert loading.family_of(pipeline) == "Chronos-Bolt"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "it has no config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "it has no weights"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(
                (CHECKPOINT / "model.safetensors").read_bytes()[:5000]
            ),
            "model.safetensors: ",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "hub"])
def test_weights_are_looked_for_without_loading_them(cached, tmp_path, kind, spoil, said):
    """What a folder or a download lacks is one line before anything runs."""
    whole = cached(CHECKPOINT, "3" * 40) if kind == "hub" else tmp_path / "own"
    if kind == "folder":
        shutil.copytree(CHECKPOINT, whole)
    source = Source(model="some/chronos" if kind == "hub" else str(whole))
    fetch(source)
    spoil(whole)

    with pytest.raises(ArmError, match=said) as caught:
        fetch(source)

    assert "\n" not in str(caught.value)


def test_checkpoint_without_a_tensor_is_refused(tmp_path):
    """The library would make missing weights up; here they are named."""
    shutil.copytree(CHECKPOINT, tmp_path / "cut")
    weights = load_file(tmp_path / "cut" / "model.safetensors")
    gone = next(name for name in weights if "output_patch_embedding" in name)
    del weights[gone]
    save_file(weights, tmp_path / "cut" / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ArmError, match=f"lacks 1 tensors, such as {gone}"):
        load_pipeline(Source(model=str(tmp_path / "cut")))


def test_damaged_weights_are_one_line(tmp_path):
    """A file that is cut short is named with its folder."""
    shutil.copytree(CHECKPOINT, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])

    with pytest.raises(ArmError, match="is no Chronos checkpoint") as caught:
        load_pipeline(Source(model=str(weights.parent)))

    assert "\n" not in str(caught.value)


def test_other_number_formats_are_used(tiny):
    """The weights are in the format asked for."""
    pipeline = load_pipeline(Source(model=tiny["bolt"], dtype="bfloat16"))

    assert next(pipeline.inner_model.parameters()).dtype == torch.bfloat16


def test_kind_of_a_folder_is_read_without_loading(tiny):
    """The config alone tells the kind; a hub id tells nothing."""
    kinds = [Source(model=tiny[kind]).family for kind in ("t5", "bolt", "chronos2")]

    assert kinds == ["Chronos-T5", "Chronos-Bolt", "Chronos-2"]
    assert Source(model="amazon/chronos-2").family is None


@pytest.mark.slow
def test_opening_an_experiment_loads_no_network_library() -> None:
    """The arms of `quick` are built and their identities made without torch."""
    code = (
        "import sys; from harness.verbs.common import grid_of; "
        "grid_of('quick', [], seeds=None); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
