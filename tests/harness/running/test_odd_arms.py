"""Whatever kinds of values an arm returns or raises, what it leaves can be written and read."""

import math
import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness.arm_ref import ArmRef
from harness.errors import StoreError
from harness.running.unit import Job
from harness.running.work import carry_out_all, read_left, read_plain
from harness.window import RollingOrigin, up_to

PLAN = RollingOrigin(horizon=2, stride=20, origins=6, validation=60)
ODD = """
import numpy as np
from harness.arm import Epoch, Training
from harness.forecast import Forecast

class Plain:
    context_length = 4

    def forecast(self, contexts):
        point = np.repeat(contexts.last[:, None], contexts.horizon, axis=1)
        return Forecast.of_gaussian(point, np.ones_like(point))

class FitsNothing(Plain):
    def fit(self, context, *, seed):
        pass

class NumbersOfNumpy(Plain):
    def fit(self, context, *, seed):
        row = Epoch(
            epoch=np.int64(1), train_loss=np.float32(2), validation_loss=np.nan,
            learning_rate=1, gradient_norm=None,
        )
        return Training(curve=[row], best_epoch=np.argmin([2.0, 1.0]), diverged=np.False_)

    def card(self):
        return {"loss": np.float32(1.5), "not known": float("nan")}

class HalfCharacter(Plain):
    def forecast(self, contexts):
        if (contexts.dates[:, -1] == np.datetime64("DAY")).any():
            raise OSError("file \\udc80 \\x1b[31m\\x00 is not there")
        return super().forecast(contexts)

class Quits(Plain):
    def forecast(self, contexts):
        raise SystemExit(0)

class Masked(Plain):
    def forecast(self, contexts):
        found = super().forecast(contexts)
        hidden = np.zeros_like(found.point, dtype=bool)
        hidden[contexts.dates[:, -1] == np.datetime64("DAY")] = True
        return Forecast.of_gaussian(np.ma.masked_array(found.point, hidden), found.deviation)
"""


@pytest.fixture
def stored(series, tmp_path, request):
    """Carry out one of the odd arms, and read what its process would leave."""
    windows = PLAN.over(series.dates)
    day = str(series.dates[windows.origin[2] - 1])
    module = f"odd_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{module}.py").write_text(ODD.replace("DAY", day), encoding="utf-8")

    def stored(name):
        ref = ArmRef(name="odd", use=f"{module}:{name}", role="legacy", folder=tmp_path)
        job = Job(
            ref=ref,
            seed=1,
            plan=PLAN,
            series=up_to(series, int(windows.origin[-1])),
            windows=windows,
            threads=1,
            batch=4,
        )
        carry_out_all((job,), tmp_path)
        return read_left(tmp_path / "0", job)

    return stored


def test_a_fit_without_a_record_says_what_it_must_return(stored):
    """A `fit` that returns nothing fails every window with what was expected of it."""
    left = stored("FitsNothing")

    words = "ForecastError: its fit returned NoneType, expected a Training"
    assert set(left.part.reason) == {words}
    assert left.fit.problem == words


def test_numbers_of_numpy_are_stored_as_numbers(stored, tmp_path):
    """Epochs, losses and cards in numpy's types come back as plain numbers and texts."""
    left = stored("NumbersOfNumpy")

    assert left.part.reason == ("",) * 6
    assert (left.fit.epochs, left.fit.best_epoch, left.fit.diverged) == (1, 1, False)
    assert left.fit.card == {"loss": "1.5", "not known": "nan"}
    curve = pq.read_table(tmp_path / "0" / "curve.parquet").to_pydict()
    assert curve["train_loss"] == [2.0]
    assert math.isnan(curve["gradient_norm"][0])


def test_a_message_no_file_can_hold_fails_its_window_alone(stored):
    """Half characters and control characters of a message are shown; the other windows stand."""
    left = stored("HalfCharacter")

    assert left.part.reason[2] == "OSError: file \\udc80 \\x1b[31m\\x00 is not there"
    assert [place for place, text in enumerate(left.part.reason) if text] == [2]
    assert "\\udc80" in left.report.trace


def test_an_arm_that_quits_fails_its_windows(stored):
    """`sys.exit` in a forecast is a failure like any other."""
    left = stored("Quits")

    assert set(left.part.reason) == {"QuitError: it asks to end the program: sys.exit(0)"}


def test_masked_values_are_missing(stored):
    """What an arm masks is no forecast: the window failed, and no number behind it is kept."""
    part = stored("Masked").part

    assert part.reason == ("", "", "forecast is not finite", "", "", "")
    assert np.isnan(part.forecast.point[2]).all()
    assert np.isfinite(np.delete(part.forecast.point, 2, axis=0)).all()


@pytest.mark.parametrize("name", ["folder", "link", "pipe"])
def test_only_a_plain_file_is_read(tmp_path, name):
    """A folder, a link or a pipe in the place of what a process leaves is refused, in one line."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "x")
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(StoreError, match=r"not a plain file|cannot be read") as caught:
        read_plain(tmp_path / name)

    assert "\n" not in str(caught.value)
