"""The main job as a user runs it: the built-in experiment, from the installed command.

The sample is the same experiment with small networks and one dataset: every arm, real processes.
"""

import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

SMALLER = {
    "datasets": '["GOLD"]',
    "seq_len": 24, "label_len": 12, "d_model": 8, "n_heads": 2, "d_ff": 16, "epochs": 1,
    "train_stride": 8, "origins": 12, "history": 900, "validation": 120, "seeds": "[1]",
}  # fmt: skip


def abharness(*arguments, cwd):
    command = Path(sys.executable).with_name("abharness")
    return subprocess.run(
        [command, *arguments], cwd=cwd, capture_output=True, text=True, timeout=1200, check=False
    )


def small_quick(file):
    """Write the built-in experiment with small networks and few origins."""
    text = (resources.files("harness") / "experiments" / "quick.toml").read_text(encoding="utf-8")
    for key, value in SMALLER.items():
        text = re.sub(rf"(?m)^{key} = [^#\n]*", f"{key} = {value} ", text)
    layers = 'use = "baselines.legacy:LegacyForecaster"\n'
    file.write_text(text.replace(layers, f"{layers}e_layers = 1\n"), encoding="utf-8")
    return file.name


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_quick_ends_in_a_verdict_and_runs_nothing_twice(tmp_path, sized):
    """The first call fills the grid without a failed window, the second runs nothing."""
    whole = sized(0, 1)
    asked = ["compare"] if whole else ["compare", small_quick(tmp_path / "small.toml")]
    first = abharness(*asked, cwd=tmp_path)
    again = abharness(*asked, cwd=tmp_path)

    found = json.loads(next(tmp_path.rglob("verdict.json")).read_text(encoding="utf-8"))
    cells = 24 if whole else 8
    assert first.returncode in (0, 3, 4), first.stderr
    assert f"{cells}/{cells} units" in first.stderr
    assert "FAILED" not in first.stderr
    assert found["validity"]["declared"] == found["validity"]["present"] == cells
    assert again.returncode == first.returncode
    assert again.stdout == first.stdout
    assert again.stderr == ""
    assert len(list(tmp_path.rglob("report.html"))) == 1
