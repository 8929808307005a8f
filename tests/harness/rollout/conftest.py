"""A migration for each test, its nights carried out in the test's own process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from in_process import InThisProcess
from made_up_migration import Migration

from harness.running import fill


@pytest.fixture
def migration(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked_here: None,
    made_once: Callable[..., Path],
) -> Callable[..., Migration]:
    """Make a migration: `migration(stages='["all"]', keys="budget = 2.0", options="")`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fill, "LocalProcesses", InThisProcess)

    def make(
        stages: str = '["shadow", "all"]',
        keys: str = "",
        options: str = "",
        first_day: str = "2031-01-01",
    ) -> Migration:
        found = Migration(first_day=first_day, made_once=made_once)
        found.write(stages=stages, keys=keys, options=options)
        return found

    return make
