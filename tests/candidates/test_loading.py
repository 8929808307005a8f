"""Finding a checkpoint: from a folder or the hub, whole, soon, or one line."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from candidates.replacement import loading
from candidates.replacement.loading import CHECKPOINT, Source, load_pipeline
from harness.errors import ArmError

HUB = """
import os, sys, time
os.environ["HF_HUB_OFFLINE"] = sys.argv[1]
os.environ["HF_ENDPOINT"] = "http://10.255.255.1:81"
os.environ["HF_HOME"] = sys.argv[2]
started = time.perf_counter()
from candidates.hf_bayesian_autoformer import HFBayesianAutoformer
from harness.errors import ArmError
try:
    HFBayesianAutoformer(model="amazon/chronos-bolt-small").load()
except ArmError as problem:
    print(f"{time.perf_counter() - started:.2f}", problem)
"""


@pytest.mark.parametrize("offline", ["0", "1"])
def test_missing_hub_model_is_one_line_within_five_seconds(offline, tmp_path):
    """Whether the hub is not asked or does not answer: what, where and how to get it, at once."""
    run = [sys.executable, "-P", "-c", HUB, offline, str(tmp_path)]

    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=60)

    seconds, _, said = done.stdout.strip().partition(" ")
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


def test_bundled_checkpoint_loads_in_a_second():
    """Once the libraries are imported."""
    load_pipeline(Source())
    started = time.perf_counter()

    load_pipeline(Source())

    assert time.perf_counter() - started < 1.0
    assert Path(CHECKPOINT / "config.json").is_file()


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
