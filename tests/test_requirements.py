"""What the distribution requires is what its code imports, no more and no less."""

import ast
import importlib.metadata
import re
import sys
from functools import cache
from pathlib import Path

import pytest

import harness

PACKAGES = ("harness", "baselines", "candidates", "reports")
READ_BY_PYTHON = {"tzdata"}
"""Data that the standard library's `zoneinfo` reads where the system has none."""


def imported():
    """Top-level names that a file of our packages imports."""
    found = set()
    for package in PACKAGES:
        for file in (Path(harness.__file__).parents[1] / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_bytes())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    found.add(node.module.partition(".")[0])
    return found - {*PACKAGES, *sys.stdlib_module_names}


def required():
    """Distributions required for use, those of extras but `test` included, in lower case."""
    lines = [
        line for line in importlib.metadata.requires("abharness") if "extra == 'test'" not in line
    ]
    names = {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in lines}
    return names - {"editables"}  # what an editable install adds


known_distributions = cache(importlib.metadata.packages_distributions)


def providers(name):
    """Distributions that bring a top-level module."""
    known = known_distributions().get(name, [name])
    return {each.lower().replace("_", "-") for each in known}


@pytest.mark.slow
def test_every_requirement_is_imported():
    """A distribution that nothing of ours imports is not required."""
    used = set().union(*(providers(name) for name in imported()))

    assert required() - used == READ_BY_PYTHON


@pytest.mark.slow
@pytest.mark.smoke
def test_every_import_is_required():
    """What our code imports is required itself, not only by something else that is."""
    assert {name for name in imported() if not providers(name) & required()} == set()


def pins(name):
    """Versions in a constraints file of the checkout, by distribution."""
    file = Path(__file__).resolve().parents[1] / name
    if not file.is_file():
        pytest.skip("needs the checkout")
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if "==" in line]
    return dict(line.split("==") for line in lines)


def test_the_sets_of_versions_differ_where_they_must():
    """Torch is one version in all sets; with pandas 2 only what pandas and pyarrow need differs."""
    usual, second, torch = map(
        pins, ("constraints.txt", "constraints-pandas2.txt", "constraints-torch.txt")
    )
    other = {name for name in {*usual, *second} if usual.get(name) != second.get(name)}

    assert torch == {"torch": usual["torch"]}
    assert other == {
        *("pandas", "pandas-stubs", "pyarrow", "pytz"),
        *("cachetools", "python-dateutil", "six"),  # mlflow takes no newer ones
    }
    assert second["pandas"].startswith("2.3.")
    assert second["pyarrow"].startswith("25.")
