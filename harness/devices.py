"""What networks that were written for a GPU are told on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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
