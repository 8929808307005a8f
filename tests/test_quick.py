"""The main job as a user runs it: the built-in experiment, from the installed command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def abharness(*arguments, cwd):
    command = Path(sys.executable).with_name("abharness")
    return subprocess.run(
        [command, *arguments], cwd=cwd, capture_output=True, text=True, timeout=1200, check=False
    )


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_quick_ends_in_a_verdict_and_runs_nothing_twice(tmp_path):
    """The first call fills the grid without a failed window, the second runs nothing."""
    first = abharness("compare", cwd=tmp_path)
    again = abharness("compare", cwd=tmp_path)

    found = json.loads(next(tmp_path.rglob("verdict.json")).read_text(encoding="utf-8"))
    assert first.returncode in (0, 3, 4), first.stderr
    assert "24/24 units" in first.stderr
    assert "FAILED" not in first.stderr
    assert found["validity"]["declared"] == found["validity"]["present"] == 24
    assert again.returncode == first.returncode
    assert again.stdout == first.stdout
    assert again.stderr == ""
    assert len(list(tmp_path.rglob("report.html"))) == 1
