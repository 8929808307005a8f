"""The guide's arm that learns does what the guide says."""

import re
from pathlib import Path

import numpy as np
import pytest

from harness.arm_ref import ArmRef
from harness.running.unit import Job, carry_out
from harness.window import RollingOrigin, context_at

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "writing-an-arm.md"
PLAN = RollingOrigin(horizon=4, stride=10, origins=8, validation=80, refit=4)


def guides_arm(folder) -> ArmRef:
    code = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[1]
    (folder / "learning_arm_of_the_guide.py").write_text(code)
    return ArmRef(
        name="learned",
        use="learning_arm_of_the_guide:LearnedVolatility",
        role="candidate",
        folder=folder,
    )


@pytest.mark.skipif(not GUIDE.is_file(), reason="needs the checkout's docs")
def test_learning_arm_of_the_guide_keeps_its_fit(tmp_path, series):
    """What it saved as the page says, another object of its class restores."""
    fitted, restored = (guides_arm(tmp_path).build() for _ in range(2))
    fitted.fit(context_at(series, 400, plan=PLAN), seed=1)
    (tmp_path / "fit").mkdir()

    fitted.save(tmp_path / "fit")
    restored.restore(tmp_path / "fit")

    assert fitted.volatility == restored.volatility > 0


@pytest.mark.skipif(not GUIDE.is_file(), reason="needs the checkout's docs")
def test_learning_arm_of_the_guide_runs_as_printed(tmp_path, series):
    """Copied out of the page it is fitted twice, and its intervals widen with the step."""
    job = Job(
        ref=guides_arm(tmp_path),
        seed=1,
        plan=PLAN,
        series=series,
        windows=PLAN.over(series.dates),
        threads=1,
        batch=64,
    )

    found = carry_out(job).forecast

    width = found.deviation / found.point
    assert found.finite.all()
    assert np.allclose(width[:, 3], 2 * width[:, 0])
    assert len(np.unique(width[:, 0].round(12))) == 2
