"""From the text of an experiment to an arm."""

import dataclasses
import math
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from harness.arm import Epoch, Training, card_of, device_meant, training_of
from harness.arm_ref import ArmRef
from harness.errors import ArmError, ForecastError

GOOD = """
import {other} as helper

class Good:
    context_length = 3
    def __init__(self, *, size=helper.SIZE):
        self.size = size
        if size == 7:
            raise KeyError("no seven")
    def forecast(self, contexts):
        return None
"""


QUITS_WHEN_BUILT = """
class Good:
    context_length = 3
    def __init__(self):
        raise SystemExit(3)
    def forecast(self, contexts):
        return None
"""
BREAKS_WHEN_ASKED = """
class Good:
    @property
    def context_length(self):
        raise RuntimeError("not now")
    def forecast(self, contexts):
        return None
"""


@pytest.fixture
def ref(tmp_path, request):
    """A reference to a class in a module beside the experiment, with a name of its own."""
    name = f"made_{abs(hash(request.node.nodeid))}"

    def make(text=GOOD, use="{name}:Good", **options):
        (tmp_path / f"{name}.py").write_text(text.replace("{other}", f"{name}_helper"))
        (tmp_path / f"{name}_helper.py").write_text("SIZE = 5\n")
        return ArmRef(
            name="mine",
            use=use.replace("{name}", name),
            role="candidate",
            options=options,
            folder=tmp_path,
        )

    before = list(sys.meta_path)
    yield make
    sys.meta_path[:] = before
    for module in [m for m in sys.modules if m.startswith(name)]:
        del sys.modules[module]


def test_module_beside_the_experiment_is_found_with_its_helpers(ref):
    """A user's module and what it imports from its own folder need no installing."""
    assert ref().build().size == 5
    assert ref(size=6).build().size == 6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"use": "nowhere_at_all:X"}, "cannot import module 'nowhere_at_all'"),
        ({"use": "{name}:Missing"}, "has no class 'Missing'; it has Good"),
        ({"use": "{name}:Goud"}, "has no class 'Goud' (did you mean 'Good'?); it has Good"),
        ({"use": "{name}.py:Good"}, "expected 'module:Class' without the ending"),
        ({"use": "baselines.randomwalk:X"}, "(did you mean 'random_walk'?)"),
        ({"sise": 1, "colour": 1}, "unknown option 'sise' (did you mean 'size'?); unknown option"),
        (
            {"text": "class Good:\n    context_length = 'all'\n    forecast = print\n"},
            "= 'all': exp",
        ),
        ({"text": "class Good:\n    context_length = 0\n    forecast = print\n"}, "1 or more"),
        ({"use": "{name}"}, "expected 'module:Class'"),
        ({"use": ".{name}:Good"}, "expected 'module:Class'"),
        ({"text": "def broken(:\n"}, "SyntaxError"),
        ({"text": "import not_there_either\n"}, "No module named 'not_there_either'"),
        ({"text": "1 / 0\n"}, "ZeroDivisionError"),
        ({"text": "raise SystemExit(0)\n"}, "asks to end the program: sys.exit(0)"),
        ({"text": QUITS_WHEN_BUILT}, "asks to end the program: sys.exit(3)"),
        ({"text": BREAKS_WHEN_ASKED}, "RuntimeError: not now"),
        ({"colour": 1}, "unknown option 'colour'; known options are size"),
        ({"size": 7}, "KeyError: 'no seven'"),
        ({"text": "class Good:\n    pass\n"}, "lacks `forecast"),
    ],
)
def test_what_cannot_be_an_arm_is_one_line(ref, change, words):
    """Whatever is wrong with a user's arm is an error of one line that names the arm."""
    with pytest.raises(ArmError) as caught:
        _asked(ref(**change))

    assert words in str(caught.value)
    assert "arm 'mine'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("module", "name"), [("types", "Good"), ("random", "Random")])
def test_a_file_hidden_by_a_standard_module_is_named(ref, tmp_path, module, name):
    """A user's file that Python has a module of the same name for is said not to be read."""
    (tmp_path / f"{module}.py").write_text(GOOD)

    with pytest.raises(ArmError, match=rf"{module}\.py is not read.*rename the file"):
        ref(use=f"{module}:{name}").build()


def _asked(ref):
    """Build an arm and ask how far back it reads, as an experiment does."""
    arm = ref.build()
    with ref.asking():
        return arm.context_length


def test_what_an_arm_raises_is_named_once(ref):
    """An error that names the arm already is not prefixed again."""
    mine = ref()

    with pytest.raises(ArmError) as caught, mine.asking(), mine.asking():
        raise OSError("x")

    assert str(caught.value).count("arm 'mine'") == 1


def test_a_training_record_is_plain_numbers():
    """Numbers of a framework become Python's; what was not measured is NaN."""
    row = Epoch(
        epoch=np.int32(1),
        train_loss=np.float32(0.5),
        validation_loss=np.array([0.25]).reshape(()),
        learning_rate=1,
        gradient_norm=None,
    )

    found = training_of(Training(curve=[row], best_epoch=np.argmin([2.0, 1.0]), diverged=np.True_))

    assert (found.best_epoch, type(found.best_epoch)) == (1, int)
    assert found.diverged is True
    (kept,) = found.curve
    assert {type(getattr(kept, name)) for name in ("train_loss", "validation_loss")} == {float}
    assert (kept.epoch, kept.train_loss, kept.validation_loss) == (1, 0.5, 0.25)
    assert math.isnan(kept.gradient_norm)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "its fit returned NoneType, expected a Training"),
        (Training(best_epoch="first"), "best_epoch = 'first': expected a number"),
        (Training(best_epoch=math.nan), "best_epoch = nan: expected a whole number"),
        (Training(best_epoch=1.5), "best_epoch = 1.5: expected a whole number"),
    ],
)
def test_what_is_no_training_record_is_said(found, words):
    """What a fit must return, and what it returned, stand in the reason."""
    with pytest.raises(ForecastError, match=words):
        training_of(found)


def test_a_card_is_texts():
    """Whatever an arm puts on its card is shown as text, control characters too."""

    class Described:
        context_length = 1

        def forecast(self, contexts):
            return None

        def card(self):
            return {"loss": np.float32(1.5), 2: "\x1b[31m"}

    assert card_of(Described()) == {"loss": "1.5", "2": "\\x1b[31m"}


def test_a_card_that_is_no_mapping_is_refused():
    """Facts without titles cannot be shown."""

    class Listed:
        context_length = 1

        def forecast(self, contexts):
            return None

        def card(self):
            return ["one", "two"]

    with pytest.raises(ArmError, match="its card is of type list"):
        card_of(Listed())


def test_folder_of_data_is_never_a_module(ref, tmp_path):
    """A folder without Python beside the experiment is not importable as a namespace."""
    (tmp_path / "plain_folder").mkdir()

    with pytest.raises(ArmError, match="No module named 'plain_folder'"):
        ref(use="plain_folder:X").build()


def test_files_of_an_arm_lie_beside_its_experiment(tmp_path, monkeypatch):
    """An option that names a file is looked for beside the experiment file, then as it is."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.py").write_text(
        "class Mine:\n    context_length, paths = 1, ('file', 'other')\n"
        "    def __init__(self, file, other=''):\n        self.file, self.other = file, other\n"
        "    def forecast(self, contexts):\n        pass\n"
        "class Pair(Mine):\n    def __init__(self, primary):\n        self.primary = primary\n"
    )
    (tmp_path / "there" / "a.csv").write_text("")
    monkeypatch.chdir(tmp_path)
    options = {"file": "a.csv", "other": "b.csv"}
    ref = ArmRef(
        name="m", use="mine:Mine", role="legacy", options=options, folder=tmp_path / "there"
    )

    made = ref.build()

    assert made.file == str(tmp_path / "there" / "a.csv")
    assert made.other == "b.csv"
    assert ref.options["file"] == "a.csv"
    inner = {"use": "mine:Mine", **options}
    pair = dataclasses.replace(ref, use="mine:Pair", options={"primary": inner}).build()
    assert pair.primary == {**inner, "file": made.file}


class Torch:
    """As much of torch as says which devices there are."""

    def __init__(self, *, built, gpus):
        self.backends = SimpleNamespace(
            cuda=SimpleNamespace(is_built=lambda: built),
            mps=SimpleNamespace(is_available=lambda: False),
        )
        self.cuda = SimpleNamespace(device_count=lambda: gpus, is_available=lambda: gpus > 0)


@pytest.mark.parametrize(
    ("name", "built", "gpus", "said"),
    [
        ("cuda", False, 0, "device = 'cuda': this torch has no CUDA; use cpu or auto"),
        ("cuda", True, 0, "device = 'cuda': this machine has 0 GPUs that torch can use; use cpu"),
        ("cuda:2", True, 2, "device = 'cuda:2': this machine has 2 GPUs"),
        ("mps", True, 2, "device = 'mps': this torch has no Metal"),
    ],
)
def test_device_that_is_not_there_is_named(name, built, gpus, said):
    """A device that torch or the machine lacks is one line; one that is there is fine."""
    assert device_meant("cpu", Torch(built=False, gpus=0)) == "cpu"
    assert device_meant("auto", Torch(built=False, gpus=0)) == "cpu"
    assert device_meant("auto", Torch(built=True, gpus=1)) == "cuda"
    assert device_meant("cuda:1", Torch(built=True, gpus=2)) == "cuda:1"
    with pytest.raises(ArmError, match=re.escape(said)):
        device_meant(name, Torch(built=built, gpus=gpus))
