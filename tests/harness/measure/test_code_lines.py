"""Counting source lines."""

import pytest

from harness.errors import ArmError, ConfigError
from harness.measure.code_lines import arm_size, checkout_sizes, count_lines, folder_size, together

LAYER = (
    '"""A docstring\nof two lines."""\n\n# a comment\nimport os\n\n\ndef layer():\n    return os\n'
)


@pytest.fixture
def checkout(tmp_path):
    """A checkout with two legacy models, a shared layer, a replacement and what nobody imports."""
    files = {
        "models/__init__.py": "",
        "models/Autoformer.py": "from layers.one import layer\nmodel = layer\n",
        "models/BayesAutoformer.py": "from .Autoformer import model\nother = model\n",
        "models/HFAutoformer.py": "def model():\n    from layers import one\n    return one\n",
        "models/DLinear.py": "a = 1\n" * 50,
        "layers/one.py": LAYER,
        "layers/two.py": "b = 2\n" * 50,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_comments_docstrings_and_blanks_are_not_source(checkout):
    """Only lines that do something count."""
    assert count_lines([checkout / "layers" / "one.py"]) == 3


def test_checkout_counts_what_the_models_reach(checkout):
    """Models and the layers they import count, wherever the import stands; others do not."""
    found = checkout_sizes(checkout)

    names = {side: [file.name for file in size.files] for side, size in found.items()}
    assert names["legacy"] == ["one.py", "Autoformer.py", "BayesAutoformer.py", "__init__.py"]
    assert names["replacement"] == ["one.py", "HFAutoformer.py", "__init__.py"]
    assert (found["legacy"].lines, found["replacement"].lines) == (3 + 2 + 2, 3 + 3)


def test_checkout_that_cannot_be_parsed_is_counted(checkout):
    """A file that does not compile counts with what can be read of it."""
    (checkout / "models" / "BadAutoformer.py").write_text("a = 1\nself.x = (\n")

    assert checkout_sizes(checkout)["legacy"].lines == 7 + 2


def test_folder_without_models_is_refused(tmp_path):
    """A folder that is no checkout is named with what was expected."""
    with pytest.raises(ConfigError, match=r"expected a checkout with models/\*Autoformer.py"):
        checkout_sizes(tmp_path)


def test_arm_counts_its_own_package_alone():
    """An arm's size is what its module reaches inside its package: no harness, no other arm."""
    small = arm_size("baselines.random_walk:RandomWalk")
    large = arm_size("baselines.legacy:LegacyForecaster")

    assert {file.parent.name for file in small.files} == {"baselines"}
    assert "random_walk.py" not in [file.name for file in large.files]
    assert small.lines < large.lines


def test_arm_in_one_file_is_counted(tmp_path):
    """A user's arm that is a single file is counted as that file."""
    (tmp_path / "my_own_arm.py").write_text("class Arm:\n    size = 1\n")

    assert arm_size("my_own_arm:Arm", tmp_path).lines == 2


def test_unknown_source_is_refused():
    """An arm whose source is nowhere is an error, not a size of 0."""
    with pytest.raises(ArmError, match="nowhere"):
        arm_size("nowhere:Arm")


def test_sizes_together_count_a_shared_file_once(checkout):
    """What two parts both reach is not counted twice."""
    one, other = (folder_size(checkout, f"models.{n}") for n in ("Autoformer", "HFAutoformer"))
    both = together("both", one, other)

    assert [file.name for file in one.files] == ["one.py", "Autoformer.py", "__init__.py"]
    assert (one.lines, other.lines, both.lines) == (3 + 2, 3 + 3, 3 + 2 + 3)
    assert both.what == "both"
