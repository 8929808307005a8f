"""A tiny experiment on built-in data, and an executor that needs no processes."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from in_process import InThisProcess

from harness import cli
from harness.gate.judge import Judgement
from harness.running import fill, grid, sources
from harness.verbs import compare
from harness.verbs import run as run_verb

TINY = """\
schema = 1
title = "Tiny"
datasets = ["GOLD"]

[plan]
horizon = 5
stride = 5
origins = 40
history = 200
validation = 60

[run]
seeds = [1, 2]

[[arms]]
name = "old"
use = "arms_for_tests:Flat"
role = "legacy"

[[arms]]
name = "new"
use = "arms_for_tests:Learner"
role = "candidate"

[[arms]]
name = "draws"
use = "arms_for_tests:Sampler"
role = "reference"

[policy]
baseline = "old"
candidate = "new"
mode = "replace"

[[policy.criteria]]
metric = "crps"
margin = 0.05
"""
"""Five units: `Flat` once, `Learner` and `Sampler` with two seeds each; ends in PROMOTE."""


@pytest.fixture(autouse=True)
def _clean_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a command line sets in this process inside one test."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONSAFEPATH"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    for name in ("ABHARNESS_STORE", "ABHARNESS_DATA_DIR", "ABHARNESS_WORKERS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def asked_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask arms what they are in the test's own process: a fork of it costs as much as a verdict."""

    def here(work: Callable[[], object], *, limits: object) -> Any:
        return json.loads(json.dumps(work()))  # as it is done where there are no forks

    for module in (grid, fill):
        monkeypatch.setattr(module, "in_isolation", here)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, asked_here: None) -> None:
    """Run units in the test's own process and try no arm: all of the loop, none of the start-up."""
    monkeypatch.setattr(fill, "LocalProcesses", InThisProcess)
    for verb in (compare, run_verb):  # its processes are its own
        monkeypatch.setattr(verb, "try_blindness", lambda *_, **__: None)


@pytest.fixture
def page_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `compare` write a line in place of the page, which takes longer than run and verdict."""

    def written_page(_: object, __: object, judgement: Judgement, ___: object) -> Path:
        page = judgement.folder / "report.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("drawn elsewhere", encoding="utf-8")
        return page

    monkeypatch.setattr(compare, "written_page", written_page)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """An empty folder for the temporary files of a command; its path leaves room for a socket."""
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        yield Path(folder)


@pytest.fixture
def edited_module(monkeypatch: pytest.MonkeyPatch):
    """Read the files of modules with some code added, as long as the context lasts."""
    module_file = cache(sources.ModuleFiles.module)

    @contextmanager
    def edited(*names: str, added: str) -> Iterator[None]:
        read = Path.read_bytes
        files = {importlib.util.find_spec(name).origin for name in names}  # type: ignore[union-attr]

        def read_anew() -> None:
            sources.harness_digest.cache_clear()
            sources._as_started.cache_clear()

        def edited_bytes(path: Path) -> bytes:
            return read(path) + (f"\n{added}\n".encode() if str(path) in files else b"")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", edited_bytes)
            patch.setattr(sources.ModuleFiles, "module", module_file)  # no file comes or goes
            read_anew()
            yield
        read_anew()

    return edited


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):
    """Write `tiny.toml` with some texts replaced, beside its arms; the test works there."""
    shutil.copy(Path(__file__).parent / "arms_for_tests.py", tmp_path)
    monkeypatch.chdir(tmp_path)

    def write(*changes: tuple[str, str], name: str = "tiny.toml") -> Path:
        text = TINY
        for old, new in changes:
            assert old in text, f"{old!r} is not in the experiment"
            text = text.replace(old, new)
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file

    write()
    return write


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line in this process; gives exit code, standard output and error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.run_cli([str(each) for each in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def ran(  # type: ignore[no-untyped-def]  # the writer of experiments
    tiny, in_process: None, call: Callable[..., tuple[int, str, str]], made_once
) -> Path:
    """Work beside `tiny.toml` and its store, `runs`, as `run tiny.toml` leaves it."""

    def make(folder: Path) -> None:
        assert call("run", "tiny.toml", "--store", folder / "runs")[0] == 0

    shutil.copytree(made_once("ran", make) / "runs", "runs")
    return Path("runs")


@pytest.fixture
def finished(ran: Path, call: Callable[..., tuple[int, str, str]], made_once) -> Path:  # type: ignore[no-untyped-def]
    """Work beside `tiny.toml` and its store, `runs`, as `compare tiny.toml` leaves it."""

    def make(folder: Path) -> None:
        assert call("compare", "tiny.toml")[0] == 0
        shutil.copytree("runs", folder / "runs")

    made = made_once("finished", make)
    shutil.rmtree("runs")
    shutil.copytree(made / "runs", "runs")
    return ran


@pytest.fixture
def refused(call: Callable[..., tuple[int, str, str]]) -> Callable[..., str]:
    """Run a command line that must end with code 2 and one line; gives that line."""

    def refused(*arguments: object) -> str:
        code, out, err = call(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("abharness: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        assert "internal error" not in err
        return err

    return refused
