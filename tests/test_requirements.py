"""What the distribution requires is what its code imports, no more and no less."""

import ast
import importlib.metadata
import re
import sys
from pathlib import Path

import harness

PACKAGES = ("harness", "baselines", "candidates", "reports")


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


def providers(name):
    """Distributions that bring a top-level module."""
    known = importlib.metadata.packages_distributions().get(name, [name])
    return {each.lower().replace("_", "-") for each in known}


def test_every_requirement_is_imported():
    """A distribution that nothing of ours imports is not required."""
    used = set().union(*(providers(name) for name in imported()))

    assert required() - used == set()


def test_every_import_is_required():
    """What our code imports is required itself, not only by something else that is."""
    assert {name for name in imported() if not providers(name) & required()} == set()
