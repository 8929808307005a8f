"""Files a user asks for by name."""

from __future__ import annotations

from pathlib import Path

from harness.errors import ConfigError


def write_out(path: Path, text: str) -> None:
    """Write a text where the user wants it.

    Raises
    ------
    ConfigError
        When it cannot be written there; the reason is the system's.
    """
    from harness.running.store import write_text

    try:
        write_text(path, text)
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be written: {problem.strerror or problem}") from None
