"""The one place of the battery where whatever a subject raises is caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness import escapes
from harness.battery.nouns import NotApplicableError
from harness.user_code import user_code


def attempt(
    work: Callable[[], Any], *, passing: tuple[type[Exception], ...] = ()
) -> tuple[Any, str]:
    """Do a subject's work: its result and '', or None and what it raised in one line.

    Raises
    ------
    NotApplicableError
        It is the predicate's own word, not the subject's; as are those of `passing`.
    """
    let_through: tuple[type[Exception], ...] = (NotApplicableError, *passing)
    try:
        with user_code():
            return work(), ""
    except let_through:
        raise
    except Exception as problem:  # noqa: BLE001  # a subject may fail in any way; it is a result
        return None, one_line(problem)


def one_line(problem: BaseException) -> str:
    """An exception in one short line; never empty."""
    text = escapes.one_line(str(problem))
    return f"{type(problem).__name__}: {text[:160]}" if text else type(problem).__name__
