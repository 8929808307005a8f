"""Texts of users, made fit for a terminal, a page and a file."""

from __future__ import annotations

import re

_UNSHOWN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]|\r(?!\n)"
)
"""Controls (but for tabs and line ends), what turns the direction of writing, half characters."""


def escaped(text: str) -> str:
    r"""Show what would steer a terminal, or what no file can hold, as Python writes it: ``\x1b``.

    Line ends and tabs stay.
    """
    return _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def one_line(text: str) -> str:
    """The same on one line; runs of white space become a space."""
    return escaped(" ".join(text.split()))
