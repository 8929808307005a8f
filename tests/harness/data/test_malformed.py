"""A sample of the study of malformed tables: no traceback, nothing silently wrong."""

import importlib.util
import itertools
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

STUDY = Path(__file__).resolve().parents[2] / "studies" / "malformed_tables.py"


@pytest.fixture(scope="module")
def study() -> ModuleType:
    """The study as a module; running it is for its own command line."""
    spec = importlib.util.spec_from_file_location("malformed_tables", STUDY)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["malformed_tables"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", range(4))
def test_planted_faults_are_found_or_refused(study: ModuleType, tmp_path: Path, seed: int) -> None:
    """A sound table comes back as it was; a fault is refused in one line or warned of."""
    for case in itertools.islice(study.tables(seed), 20):
        assert study.verdict(case, *study.outcome(case, tmp_path)) == "", (case.planted, case.shape)


def test_every_fault_of_the_study_is_noticed(study: ModuleType, tmp_path: Path) -> None:
    """The study can fail: an import that finds nothing wrong is not let pass."""
    seen = set()
    for case in itertools.islice(study.tables(99), 150):
        if (case.must_refuse or case.must_warn) and case.planted not in seen:
            seen.add(case.planted)
            sound = next(study.tables(1))
            made, _ = study.outcome(sound, tmp_path)
            assert study.verdict(case, made, "") != ""

    assert len(seen) > 12


def test_damaged_files_end_in_one_line(study: ModuleType, tmp_path: Path) -> None:
    """Bytes lost, doubled or changed anywhere give a dataset or one line, never a crash."""
    rng = random.Random(5)
    for case in itertools.islice(study.tables(5), 60):
        made, problem = study.outcome(study.damaged(case, rng), tmp_path)

        assert (made is None) == bool(problem)
        assert "\n" not in problem
