"""From the text of an experiment to an arm."""

import sys

import pytest

from harness.arm import ArmRef
from harness.errors import ArmError

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
        ({"use": "{name}"}, "expected 'module:Class'"),
        ({"use": ".{name}:Good"}, "expected 'module:Class'"),
        ({"text": "def broken(:\n"}, "SyntaxError"),
        ({"text": "import not_there_either\n"}, "No module named 'not_there_either'"),
        ({"text": "1 / 0\n"}, "ZeroDivisionError"),
        ({"colour": 1}, "unexpected keyword argument 'colour'; known options are size"),
        ({"size": 7}, "KeyError: 'no seven'"),
        ({"text": "class Good:\n    pass\n"}, "lacks `forecast"),
    ],
)
def test_what_cannot_be_an_arm_is_one_line(ref, change, words):
    """Whatever is wrong with a user's arm is an error of one line that names the arm."""
    with pytest.raises(ArmError) as caught:
        ref(**change).build()

    assert words in str(caught.value)
    assert "arm 'mine'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folder_of_data_is_never_a_module(ref, tmp_path):
    """A folder without Python beside the experiment is not importable as a namespace."""
    (tmp_path / "plain_folder").mkdir()

    with pytest.raises(ArmError, match="No module named 'plain_folder'"):
        ref(use="plain_folder:X").build()
