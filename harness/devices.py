"""Devices by name, and what networks that were written for a GPU are told on a CPU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NAMES = re.compile(r"auto|cpu|mps|(cuda|xpu)(:\d+)?")


def check_device(name: str) -> None:
    """Refuse what names no device.

    Raises
    ------
    ValueError
        In the form of an arm's option.
    """
    if not _NAMES.fullmatch(name):
        raise ValueError(f"device = '{name}': expected cpu, cuda, cuda:1 or auto")


@contextmanager
def staying(*kinds: Any) -> Iterator[None]:
    """Let `.cuda()` of some classes do nothing for a while: early models call it on any device.

    Parameters
    ----------
    kinds
        Torch's tensor and module classes; nothing is imported here.
    """
    originals = [kind.cuda for kind in kinds]
    try:
        for kind in kinds:
            kind.cuda = _stay
        yield
    finally:
        for kind, original in zip(kinds, originals, strict=True):
            kind.cuda = original


def _stay(value: Any, *_: Any, **__: Any) -> Any:
    return value
