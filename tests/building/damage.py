"""A store with one byte changed or an end cut off, and what the verbs say of it."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import NamedTuple


class Damage(NamedTuple):
    """What was done to which file."""

    file: Path
    at: int
    cut: bool

    def __str__(self) -> str:
        return f"{'cut at' if self.cut else 'flip at'} {self.at} of {self.file}"


def damaged(root: Path, chance: Random) -> Damage:
    """Change one bit of a random file of a store, or cut the file there."""
    files = sorted(file for file in root.rglob("*") if file.is_file() and file.stat().st_size)
    file = chance.choice(files)
    content = bytearray(file.read_bytes())
    found = Damage(file=file, at=chance.randrange(len(content)), cut=chance.random() < 0.3)
    if found.cut:
        del content[found.at :]
    else:
        content[found.at] ^= 1 << chance.randrange(8)
    file.write_bytes(content)
    return found
