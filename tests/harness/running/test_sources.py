"""Which files an arm's forecasts come from, and that each of them counts."""

import sys
from pathlib import Path

import pytest

from harness.running import identity
from harness.running.identity import code_digest, place_of, reached

FILES = {
    "{x}_arm.py": """
from {x}_base import Base
import numpy as np, {x}_second as second; import json

class Arm(Base):
    context_length = 1

    def forecast(self, contexts):
        import \\
            {x}_inside
        if True: from {x}_package.part import NUMBER
        importlib.import_module("{x}_named")
        __import__('{x}_dunder')
""",
    "{x}_base.py": "import {x}_deep\nclass Base:\n    pass\n",
    "{x}_second.py": "",
    "{x}_deep.py": "import {x}_arm\n",
    "{x}_inside.py": "",
    "{x}_named.py": "",
    "{x}_dunder.py": "",
    "{x}_package/__init__.py": "",
    "{x}_package/part.py": "from . import other\nimport {x}_farther\n",
    "{x}_package/other.py": "",
    "{x}_package/table.csv": "1,2\n",
    "{x}_package/deeper/settings.json": "{}",
    "{x}_farther.py": "import not_there_at_all\nimport torch, scipy.stats\n",
    "{x}_unused.py": "",
    "{x}_package/.hidden": "",
    "{x}_package/py.typed": "",
}


@pytest.fixture
def x(tmp_path, monkeypatch, request):
    """Write the files under a prefix of their own, importable; gives the prefix."""
    name = f"made_{abs(hash(request.node.nodeid))}"
    for file, text in FILES.items():
        path = tmp_path / file.replace("{x}", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{x}", name), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


def digest_of(x, **options):
    identity._code_digest.cache_clear()
    return code_digest([f"{x}_arm"], **({"data": True} | options))


def test_all_that_is_imported_is_reached(x):
    """Imports count wherever they stand and however far they lead; libraries do not."""
    found = reached([f"{x}_arm"])

    names = ["arm", "base", "second", "deep", "inside", "named", "dunder", "package", "farther"]
    assert set(found) == {f"{x}_{name}" for name in names}


@pytest.mark.parametrize("file", FILES)
def test_every_file_that_is_reached_decides(x, tmp_path, file):
    """An edit of a helper, of one a helper imports, or of a package's data is another digest."""
    before = digest_of(x)
    path = tmp_path / file.replace("{x}", x)
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")

    decides = not any(word in file for word in ("unused", "hidden", "py.typed"))
    assert (digest_of(x) != before) == decides


def test_data_of_a_package_is_left_to_who_names_its_files(x, tmp_path):
    """Where an arm names its files itself, those alone count beside the code."""
    before = digest_of(x, data=False)
    (tmp_path / f"{x}_package/table.csv").write_text("3,4\n", encoding="utf-8")

    assert digest_of(x, data=False) == before
    (tmp_path / f"{x}_package/other.py").write_text("# changed\n", encoding="utf-8")
    assert digest_of(x, data=False) != before


def test_the_folder_decides_nothing(x, tmp_path, monkeypatch):
    """The same files elsewhere are the same code."""
    before = digest_of(x)
    there = tmp_path / "elsewhere"
    there.mkdir()
    for path in [*tmp_path.glob(f"{x}*")]:
        path.rename(there / path.name)
    monkeypatch.syspath_prepend(there)

    assert digest_of(x) == before


def test_bases_made_elsewhere_are_reached(x):
    """Modules named beside the arm's own, such as those of its bases, are followed as well."""
    others = ["abc", "harness.fallback", "torch.nn.modules.module", f"{x}_unused"]

    assert f"{x}_unused" in reached([f"{x}_arm"], others)
    assert not {"abc", "harness", "torch"} & set(reached([f"{x}_arm"], others))


def test_an_arms_own_module_counts_wherever_it_lies():
    """An arm of an installed library has that library as its source."""
    assert set(reached(["numpy.ma.core"])) == {"numpy"}
    assert set(reached(["baselines.random_walk"])) == {"baselines"}
    assert set(reached(["candidates.fracast"])) == {"candidates"}


def test_what_cannot_be_found_has_no_place(monkeypatch):
    """Names that are no module, and modules made by hand, are passed over."""
    monkeypatch.setitem(sys.modules, "made_by_hand", type(sys)("made_by_hand"))

    assert place_of("not_there_at_all") is None
    assert place_of("made_by_hand") is None
    assert place_of("sys") is None
    assert code_digest(["not_there_at_all"], data=True) == "unknown"


def test_what_is_no_text_is_passed_over(tmp_path, monkeypatch):
    """Files that hold no text are hashed as they are, and not read for imports."""
    (tmp_path / "odd_bytes.py").write_bytes(b"\xff\xfe\x00 import this\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert set(reached(["odd_bytes"])) == {"odd_bytes"}
    assert Path(tmp_path / "odd_bytes.py") == place_of("odd_bytes").file
