"""Cells as plain text: one kind of space, digit, dash and letter, and what stands for no value."""

from __future__ import annotations

import re
import unicodedata

_SIGNS = {
    "\u2212": "-",
    "\u2010": "-",
    "\u2011": "-",
    "\u2019": "'",
    "\u02bc": "'",
    "\u066b": ".",  # Arabic decimal mark
    "\u066c": ",",  # Arabic thousands
    "\u200b": "",
    "\u200e": "",
    "\u200f": "",
    "\ufeff": "",
}
_MISSING = frozenset(
    {
        *("", ".", "..", "...", "-", "--", "---", "\u2013", "\u2014", "*", "?", "/", "\\n"),
        *("na", "n/a", "n.a.", "n.a", "nan", "-nan", "nd", "n/d"),
        *("n.d.", "null", "none", "nil", "nat", "missing", "void", "empty"),
        *("k.a.", "k. a.", "n.v."),
        *("1.#qnan", "-1.#ind", "1.#ind", "-1.#qnan", "undefined"),
        *("not available", "holiday", "closed", "no data", "nv", "n. a.", "s/d", "\u2026"),
    }
)


def plain(cell: str) -> str:
    """A cell in ASCII digits, spaces, dashes and apostrophes, without any around it."""
    if not cell.isascii():
        cell = "".join(_plain_sign(sign) for sign in unicodedata.normalize("NFKC", cell))
    return " ".join(cell.split()).strip("'")


def is_missing(cell: str) -> bool:
    """Whether a plain cell stands for a missing value."""
    word = cell.casefold()
    error = word.startswith("#") and not re.search("[1-9]", word)  # of a spreadsheet: #WERT!
    return error or word in _MISSING or word.strip("*[](){}<>$€£¥₹% ") in _MISSING


def fold(word: str) -> str:
    """A word without case, accents and a full stop at its end."""
    letters = unicodedata.normalize("NFKD", word.casefold())
    return "".join(sign for sign in letters if not unicodedata.combining(sign)).rstrip(".")


def _plain_sign(sign: str) -> str:
    if sign in _SIGNS:
        return _SIGNS[sign]
    return str(unicodedata.decimal(sign)) if sign.isdecimal() else sign
