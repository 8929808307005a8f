"""Where predicates are listed: a decorator puts a function on the list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from harness.battery.nouns import Kind, Limit, Measured, Predicate

_Function = TypeVar("_Function", bound=Callable[[Any], Measured])

REGISTERED: dict[tuple[Kind, str], Predicate] = {}


def predicate(
    code: str,
    title: str,
    *,
    limit: Limit = "at most",
    threshold: float = 0.0,
    unit: str = "",
    on: Kind = "network",
    white_box: bool = False,
    needs: str = "",
) -> Callable[[_Function], _Function]:
    """List a function as the predicate `code`.

    Raises
    ------
    ValueError
        When the code is taken.
    """

    def listed(function: _Function) -> _Function:
        if (on, code) in REGISTERED:
            raise ValueError(f"{code} on a {on} is defined twice")
        REGISTERED[on, code] = Predicate(
            code=code,
            title=title,
            on=on,
            white_box=white_box,
            needs=needs,
            limit=limit,
            threshold=threshold,
            unit=unit,
            function=function,
        )
        return function

    return listed
