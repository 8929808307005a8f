"""Which files an arm's forecasts come from, and that each of them counts."""

import re
import sys
from pathlib import Path

import pytest

from harness.running.sources import CodeReader, SourceMemory, place_of, read_source

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
    return CodeReader().arm_digest([f"{x}_arm"], **({"data": True} | options))


def reached(*modules):
    """Names of what some modules are made of: our modules, others as a whole."""
    found = CodeReader().reached(*modules)
    return {*found.ours, *found.others}


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
    blank = digest_of(x)
    path.write_text(path.read_text(encoding="utf-8") + "ADDED = 1\n", encoding="utf-8")

    assert blank == before or file.endswith((".csv", ".json"))
    decides = not any(word in file for word in ("unused", "hidden", "py.typed"))
    assert (digest_of(x) != before) == decides


def test_data_of_a_package_is_left_to_who_names_its_files(x, tmp_path):
    """Where an arm names its files itself, those alone count beside the code."""
    before = digest_of(x, data=False)
    (tmp_path / f"{x}_package/table.csv").write_text("3,4\n", encoding="utf-8")

    assert digest_of(x, data=False) == before
    (tmp_path / f"{x}_package/other.py").write_text("CHANGED = 1\n", encoding="utf-8")
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
    assert not {"abc", "harness", "torch"} & reached([f"{x}_arm"], others)


def test_an_arms_own_module_counts_wherever_it_lies():
    """An arm of an installed library has that library as its source."""
    assert reached(["json.tool"]) == set()
    assert reached(["numpy.ma.core"]) == {"numpy"}
    assert {"candidates", "candidates.fracast"} <= reached(["candidates.fracast"])
    assert "candidates.hf_bayesian_autoformer" not in reached(["candidates.fracast"])


def test_what_cannot_be_found_has_no_place(monkeypatch):
    """Names that are no module, and modules made by hand, are passed over."""
    monkeypatch.setitem(sys.modules, "made_by_hand", type(sys)("made_by_hand"))

    assert place_of("not_there_at_all") is None
    assert place_of("made_by_hand") is None
    assert place_of("sys") is None
    assert CodeReader().arm_digest(["not_there_at_all"], data=True) == "unknown"


def test_what_is_no_text_is_passed_over(tmp_path, monkeypatch):
    """Files that hold no text are hashed as they are, and not read for imports."""
    (tmp_path / "odd_bytes.py").write_bytes(b"\xff\xfe\x00 import this\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert (reached(["odd_bytes"])) == {"odd_bytes"}
    assert Path(tmp_path / "odd_bytes.py") == place_of("odd_bytes").file


SAME = """\
'''Words about the module.'''
import os  # a comment
LIMIT = 3
"What the limit is for."

class Arm:
    '''Words about the class.'''

    def fit(self, context: str = "x") -> None:
        '''Words about the method.'''
        # a comment
        return (
            None
        )
"""
OTHER_WORDS = """\
import os
LIMIT = 3
class Arm:
    "Other words."
    def fit(self, context: str = "x") -> None:
        return None
"""


def tree_of(text):
    return read_source(text.encode(), package="").digest


def test_words_and_layout_decide_nothing():
    """Docstrings, comments, texts after constants, blank lines and brackets are not the code."""
    assert tree_of(SAME) == tree_of(OTHER_WORDS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("3", "3.0"),
        ("3", "'3'"),
        ("3", "-3"),
        ("import os", "import os as os2"),
        ('"x"', "'y'"),
        ("None:", "int:"),
        ("        return None\n", "        return\n"),
        ("        return None\n", "        pass\n"),
        ("    def", "    async def"),
        ("class Arm:", "class Arm(os.PathLike):"),
        ("class Arm:", "@print\nclass Arm:"),
        ("self, context", "self, *, context"),
        ("self, context", "self, /, context"),
    ],
)
def test_any_code_decides(old, new):
    """A value, its type, a name, an annotation, a statement, a decorator: each is other code."""
    assert tree_of(OTHER_WORDS.replace(old, new)) != tree_of(OTHER_WORDS)


def test_nesting_decides():
    """The same parts nested otherwise are other code."""
    pairs = [("a - (b - c)", "(a - b) - c"), ("f(a, g(b))", "f(a, g)(b)"), ("[[a], b]", "[[a, b]]")]
    loops = [
        "for a in b:\n    if a: c()\n    d()",
        "for a in b:\n    if a:\n        c()\n        d()",
    ]

    for one, other in [*pairs, loops]:
        assert tree_of(one) != tree_of(other)


@pytest.mark.parametrize(
    "line",
    [
        "import harness.window",
        "from harness import window",
        "from harness.window import Context",
        "import harness\nharness.window.Context",
        "import harness.errors as e, harness\nharness.window",
        "from harness import running\nrunning.unit",
        "def late():\n    from harness.window import Context",
        "importlib.import_module('harness.window')",
        "USE = 'harness.fallback:WithFallback'",
        "try:\n    pass\nexcept ImportError:\n    from harness import window",
        "if TYPE_CHECKING:\n    pass\nelse:\n    from harness import window",
    ],
)
def test_ways_to_import_a_module_of_the_harness(line, tmp_path, monkeypatch):
    """However a module of the harness is imported, it is reached with what it imports."""
    (tmp_path / "importing_arm.py").write_text(line, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    assert {"harness.window", "harness.errors"} <= reached(["importing_arm"])


@pytest.mark.parametrize(
    "line",
    [
        "import harness",
        "from harness import compare",
        "if TYPE_CHECKING:\n    from harness import window",
        "if typing.TYPE_CHECKING:\n    from harness import window",
    ][:4],
)
def test_what_reaches_no_module_of_the_harness(line, tmp_path, monkeypatch):
    """Public functions and imports for type checking lead nowhere."""
    (tmp_path / "idle_arm.py").write_text(line, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    assert reached(["idle_arm"]) == {"idle_arm"}


def test_relative_imports_are_followed(tmp_path, monkeypatch):
    """Dots count from the package, in a package's own file as well as in a module."""
    assert "a.b" in read_source(b"from . import b", package="a").names
    assert "a.b.c" in read_source(b"from .b import c", package="a").names
    assert "a.c.d" in read_source(b"from ..c import d", package="a.b").names
    assert "a.b" in read_source(b"import_module('.b', 'a')", package="a").names


@pytest.mark.parametrize("torn", ["{", "[]", '{"a": 1}', "null"])
def test_what_was_read_is_remembered_by_its_content(tmp_path, monkeypatch, torn):
    """The same content is not parsed again, another is; what is torn is read anew."""
    file = tmp_path / "kept" / "sources.json"
    first = SourceMemory(file)
    source = first.read(b"import os", package="a")
    first.keep()
    second = SourceMemory(file)
    other = second.read(b"import os.path", package="a")
    monkeypatch.setattr("harness.running.sources.read_source", None)

    assert second.read(b"import os", package="a") == source
    assert other != source
    monkeypatch.undo()
    file.write_text(torn, encoding="utf-8")
    assert SourceMemory(file).read(b"import os", package="a") == source


def test_a_memory_with_other_content_under_a_key_is_passed_over(tmp_path, monkeypatch):
    """Entries that are no source are read again."""
    file = tmp_path / "sources.json"
    memory = SourceMemory(file)
    source = memory.read(b"import os", package="a")
    memory.keep()
    file.write_text(
        re.sub(r"\[.*?\]", "[1, 2]", file.read_text(encoding="utf-8")), encoding="utf-8"
    )

    assert SourceMemory(file).read(b"import os", package="a") == source


@pytest.mark.parametrize(
    ("named", "cache"), [("{0}/mine", "mine"), ("", ".cache"), ("not/absolute", ".cache")]
)
def test_what_was_read_is_remembered_where_python_compiles_nothing(
    tmp_path, monkeypatch, named, cache
):
    """Then it lies in the user's cache: the one named, if its path is absolute, or `~/.cache`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", named.format(tmp_path))
    memory = SourceMemory()
    source = memory.read(b"import os", package="a")
    memory.keep()
    monkeypatch.setattr("harness.running.sources.read_source", None)

    assert [file.name for file in tmp_path.iterdir()] == [cache]
    assert [file.suffix for file in (tmp_path / cache / "abharness").iterdir()] == [".json"]
    assert SourceMemory().read(b"import os", package="a") == source


def test_who_has_no_home_has_sources_read_again(monkeypatch):
    """Such as in a container: nothing is kept, and nothing fails."""
    source = SourceMemory().read(b"import os", package="a")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)

    assert SourceMemory().read(b"import os", package="a") == source


def no_home():
    """What a container may have."""
    raise RuntimeError("Could not determine home directory.")


def test_nothing_is_kept_where_nothing_can_be_written(tmp_path, monkeypatch):
    """A place that cannot be written to costs time, and nothing else."""
    (tmp_path / "in_the_way").write_text("")
    memory = SourceMemory(tmp_path / "in_the_way" / "sources.json")

    assert memory.read(b"import os", package="a").names == ("os",)
    memory.keep()
    assert (tmp_path / "in_the_way").read_text() == ""
