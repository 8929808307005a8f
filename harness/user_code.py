"""Code of users, run inside ours: it can neither end the program nor write into its results."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress

from harness.errors import QuitError


@contextmanager
def user_code() -> Iterator[None]:
    """Run what is not ours: what it prints goes to standard error, `sys.exit` is an error.

    An exit code says what a verdict was, and standard output holds the result alone. Ctrl-C stays
    what it is.

    Raises
    ------
    QuitError
        When the code asks to end the program.
    """
    with _output_aside(), redirect_stdout(sys.stderr):
        try:
            yield
        except SystemExit as problem:
            asked = "" if problem.code is None else repr(problem.code)
            raise QuitError(f"it asks to end the program: sys.exit({asked})") from problem


@contextmanager
def _output_aside() -> Iterator[None]:
    """Point the descriptor of standard output to standard error, for code below Python's own."""
    kept = _pointed_aside()
    try:
        yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


def _pointed_aside() -> int | None:
    """A copy of what the descriptor was; None where one of them was closed by who started us."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()  # what is ours goes where it belongs
    try:
        os.fstat(2)
        kept = os.dup(1)
    except OSError:
        return None
    os.dup2(2, 1)
    return kept
