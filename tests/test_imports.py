"""Importing our modules does nothing but define; and every test says what it shows."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ["harness", "baselines", "candidates", "reports"]
ARM_LIBRARIES = [
    *("torch", "transformers", "chronos", "safetensors", "accelerate"),
    *("pandas", "matplotlib", "statsmodels", "arch"),
]

LOOK = """\
import importlib.util, json, logging, os, pkgutil, random, signal, sys, threading, warnings
packages, watched = json.loads(sys.argv[1])
import numpy as np

def state():
    root = logging.getLogger()
    found = {
        "warnings": repr(warnings.filters),
        "handlers": repr([root.handlers, root.level, root.disabled]),
        "numpy random": repr(np.random.get_state()),
        "random": repr(hash(random.getstate())),
        "numpy errors": repr(np.geterr()),
        "environment": repr(sorted(os.environ.items())),
        "folder": os.getcwd(),
        "path": repr(sys.path),
        "excepthook": repr(sys.excepthook),
        "sigint": repr(signal.getsignal(signal.SIGINT)),
        "threads": threading.active_count(),
    }
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        found["torch random"] = repr(torch.get_rng_state().tolist())
        found["torch threads"] = torch.get_num_threads()
        found["torch type"] = repr(torch.get_default_dtype())
    return found

if watched == "torch":
    import torch
start = state()
names = []
for package in packages:
    found = importlib.util.find_spec(package)
    names += [package] + [
        each.name
        for each in pkgutil.walk_packages(found.submodule_search_locations, package + ".")
        if not each.name.endswith("__main__")
    ]
effects = {"enumerated": [key for key in start if start[key] != state()[key]]}
for name in names:
    before = state()
    importlib.import_module(name)
    after = state()
    changed = [key for key in before if before[key] != after[key]]
    effects[name] = changed
effects = {name: changed for name, changed in effects.items() if changed}
print(json.dumps({"names": names, "effects": effects, "loaded": sorted(sys.modules)}))
"""


def look(packages, watched=""):
    """Import all modules of some packages in a fresh process and say what changed."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOOK, json.dumps([packages, watched])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout.splitlines()[-1]), done.stdout.count("\n")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_importing_the_harness_and_reports_loads_no_arm_library():
    """Judging and reporting import neither a deep-learning library nor pandas or matplotlib."""
    found, lines = look(["harness", "reports"])

    assert len(found["names"]) > 40
    assert lines == 1, "an import prints"
    assert found["effects"] == {}
    assert [name for name in ARM_LIBRARIES if name in found["loaded"]] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.smoke
def test_importing_any_module_has_no_effect():
    """No import touches warnings, logging, random states, environment, path, signals or threads."""
    found, lines = look(PACKAGES, "torch")

    assert {name.partition(".")[0] for name in found["names"]} == set(PACKAGES)
    assert lines == 1, "an import prints"
    assert found["effects"] == {}


@pytest.mark.slow
def test_importing_an_arm_is_cheap():
    """The modules of the arms import their heavy libraries only when an arm is used."""
    found, _ = look(["candidates"])

    assert [name for name in ("chronos", "transformers", "pandas") if name in found["loaded"]] == []


def functions_of(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def checks_something(function, helpers):
    """Whether a function asserts, expects an error or a warning, or calls one that does."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            name = called.rpartition(".")[2]
            if name in helpers or name in ("raises", "warns") or "testing.assert_" in called:
                return True
    return False


@pytest.mark.slow
def test_every_test_says_and_checks_something():
    """Each test function has a docstring, and asserts or expects something."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    found = [(file, function) for file in files for function in functions_of(file)]
    plain = [each for _, each in found if not each.name.startswith("test_")]
    helpers = {each.name for each in plain if checks_something(each, set())}
    tests = [(file, each) for file, each in found if each.name.startswith("test_")]

    mute = [f"{file.name}: {each.name}" for file, each in tests if not ast.get_docstring(each)]
    idle = [
        f"{file.name}: {each.name}" for file, each in tests if not checks_something(each, helpers)
    ]

    assert len(tests) > 100
    assert mute == []
    assert idle == []
