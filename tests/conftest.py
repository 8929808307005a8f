"""Shared by all tests: the checkout stays off the import path, and small made-up material."""

from __future__ import annotations

import functools
import gc
import inspect
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from filelock import FileLock

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors: more threads only wait
os.environ.setdefault("ABHARNESS_COSTS", "no")  # a session needs the machine for itself
_MEMORY = Path("/dev/shm")  # where there is room: on a disk, a third of the time is waiting for it
if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= 4 * 2**30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

_ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != _ROOT]

from harness.data import dataset  # noqa: E402  # after the path is clean
from harness.window import Series  # noqa: E402


def take_pretraining_from(folder: str) -> None:
    """Let `candidates.pretraining` be found in a checkout: the wheel leaves it out."""
    import importlib.util
    import sys

    import candidates

    name = "candidates.pretraining"
    if importlib.util.find_spec(name) is None:
        spec = importlib.util.spec_from_file_location(
            name, f"{folder}/__init__.py", submodule_search_locations=[folder]
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = candidates.pretraining = importlib.util.module_from_spec(spec)  # type: ignore[attr-defined]
        spec.loader.exec_module(sys.modules[name])


PRETRAINING = str(_ROOT / "candidates" / "pretraining")
if Path(PRETRAINING).is_dir():
    take_pretraining_from(PRETRAINING)

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the studies run whole."""
    parser.addoption(
        "--study", action="store_true", help="run tests/studies whole, not the sample of them"
    )


@pytest.fixture(scope="session")
def sized(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """How much a torture takes: `sized(sample, whole)`."""

    def sized(sample: int, whole: int) -> int:
        return whole if request.config.getoption("--study") else sample

    return sized


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only a study runs; begin with the samples, so that no worker ends with one."""
    items.sort(key=lambda each: "studies" not in each.path.parts)
    if config.getoption("--study"):
        return
    left_out = [each for each in items if each.get_closest_marker("study")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [each for each in items if not each.get_closest_marker("study")]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Leave nothing in memory where all went well."""
    if exitstatus == pytest.ExitCode.OK and not hasattr(session.config, "workerinput"):
        made = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        if made.is_relative_to(_MEMORY):
            shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _built_in_data_are_read_once() -> Iterator[None]:
    """Nothing changes the files that come with the harness, and nearly every test loads one."""
    read = dataset._read_once
    once = cache(read)

    def read_here(path: Path) -> dataset.Dataset:
        if path.parent != dataset.builtin_folder():
            return read(path)
        series = once(path).series
        for values in (series.dates, series.target, series.past):
            values.flags.writeable = False  # a test that writes into them says so
        return once(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "_read_once", read_here)
        yield


def pytest_collection_finish() -> None:
    """Take what was imported and collected off the garbage collector's hands: it stays."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def made_once(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Make a folder once for all workers of a session: `made_once(name, make)`.

    `make` is handed a folder that is there; what it leaves in it is handed to every test that
    asks for the name, and none may change it.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if hasattr(request.config, "workerinput") else base) / "made-once"
    shared.mkdir(exist_ok=True)

    def made(name: str, make: Callable[[Path], None]) -> Path:
        with FileLock(shared / f"{name}.lock"):
            if not (shared / name).exists():
                half = shared / f"{name}-half"
                shutil.rmtree(half, ignore_errors=True)  # a worker that failed left it
                half.mkdir()
                make(half)
                half.rename(shared / name)
        return shared / name

    return made


@pytest.fixture(scope="session")
def known_charts() -> Iterator[dict[bytes, str]]:
    """Charts drawn so far: one that is asked for again, under the same settings, is handed out.

    Drawing charts is nearly all of drawing a page. A test that wants them drawn anew empties the
    dictionary.
    """
    import matplotlib as mpl

    from reports import charts
    from reports.sections import placements
    from reports.svg import PICTURES

    known: dict[bytes, str] = {}

    def once(draw: Callable[..., str]) -> Callable[..., str]:
        @functools.wraps(draw)
        def drawn(*args: Any, **kwargs: Any) -> str:
            settings = PICTURES.get(), list(dict.items(mpl.rcParams))
            key = pickle.dumps((draw.__name__, args, kwargs, settings))
            if key not in known:
                known[key] = draw(*args, **kwargs)
            return known[key]

        return drawn

    placements()  # imports every section
    drawing = {
        draw: once(draw)
        for _, draw in inspect.getmembers(charts, inspect.isfunction)
        if {"name", "alt"} <= set(inspect.signature(draw).parameters)
        and draw.__module__ == charts.__name__
    }
    assert len(drawing) >= 8
    with pytest.MonkeyPatch.context() as patch:
        for module in [each for name, each in sys.modules.items() if name.startswith("reports.")]:
            for name, value in inspect.getmembers(module, inspect.isfunction):
                if value in drawing:
                    patch.setattr(module, name, drawing[value])
        yield known


@pytest.fixture
def series() -> Series:
    """600 weekdays of a made-up price with one covariate."""
    return make_series(600)


def make_series(length: int, *, seed: int = 0) -> Series:
    """Weekdays from 2000 on, a geometric random walk and a covariate of noise."""
    rng = np.random.default_rng(seed)
    first = np.datetime64("2000-01-03")
    dates = np.busday_offset(first, np.arange(length), "forward").astype("datetime64[D]")
    return Series(
        dates=dates,
        target=100 * np.exp(np.cumsum(0.01 * rng.standard_normal(length))),
        past=rng.standard_normal((length, 1)),
        past_names=("noise",),
        weekmask="1111100",
        season=5,
    )


@pytest.fixture
def made_series():  # type: ignore[no-untyped-def]  # a factory
    """The maker of series, for tests that need several."""
    return make_series


@pytest.fixture(scope="session")
def with_pretraining() -> str:
    """Code that a process of its own runs first, so that it finds the recipe as this one does."""
    return f"{inspect.getsource(take_pretraining_from)}\ntake_pretraining_from({PRETRAINING!r})\n"
