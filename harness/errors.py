"""Everything that goes wrong on purpose.

::

    AbharnessError
    ├── InputError            what the user gave cannot be used: one line, exit code 2
    │   ├── ConfigError       an experiment file, a flag or an environment variable
    │   ├── DataError         a data file or its manifest
    │   ├── ArmError          an arm's name, its options or its weights
    │   └── StoreError        the folder that holds the results
    │       └── NewerRecordError  a record that a newer version made
    ├── NoAnswerError         the system, not the arm, kept a unit from its result: it runs again
    ├── QuitError             a user's code asked to end the program, which is not its to end
    └── ForecastError         an arm returned something inadmissible: becomes a failed row
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class AbharnessError(Exception):
    """Base of all errors this package raises on purpose."""


class InputError(AbharnessError):
    """Something the user gave cannot be used; the message is one line."""


class ConfigError(InputError):
    """An experiment file, a flag or an environment variable is wrong."""


class DataError(InputError):
    """A data file or its manifest is wrong."""


class ArmError(InputError):
    """An arm cannot be found, built or loaded."""


class StoreError(InputError):
    """The store cannot be read or written."""


class DamagedRecordsError(StoreError):
    """The records of a store are not what was written."""


class ChangedFileError(StoreError):
    """A file is not what the process that wrote it said it wrote."""


class NewerRecordError(StoreError):
    """A record was made by a newer version, which alone can read it."""


class NoAnswerError(AbharnessError):
    """The system refused an arm something: that says nothing about the arm."""


class QuitError(AbharnessError):
    """A user's code asked to end the program."""


class ForecastError(AbharnessError):
    """An arm returned something that is not an admissible forecast."""


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


def meant(name: object, known: Iterable[str]) -> str:
    """`` (did you mean 'crps'?)`` where a known name is near, whatever its case; else ''."""
    near = nearest(name, known)
    return f" (did you mean '{near}'?)" if near else ""


def nearest(name: object, known: Iterable[str]) -> str:
    """The known name that is spelt most like another, whatever its case; '' where none is."""
    names = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(str(name).casefold(), names, n=1)
    return names[near[0]] if near else ""


class FaultCollector:
    """Faults of one input on their way, so that one line tells all of them.

    Parameters
    ----------
    where
        What each fault's text begins with, a file; said once.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.found: list[str] = []

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note the wrong input that is met inside, and go on behind it."""
        try:
            yield
        except InputError as problem:
            file, _, table = self.where.partition(": ")
            said = str(problem).removeprefix(f"{self.where}: ").removeprefix(f"{file}: ")
            self.found.append(said.removeprefix(f"{table} ") if table else said)

    def raise_any(self) -> None:
        """Raise what was noted, if anything was, each text once."""
        if self.found:
            raise ConfigError(f"{self.where}: {'; also '.join(dict.fromkeys(self.found))}")


def refuse(where: str, faults: Iterable[str]) -> None:
    """Raise a `ConfigError` of all faults of one table, if there are any."""
    if said := "; ".join(faults):
        raise ConfigError(f"{where} {said}")


_REFUSED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})


def refused_by_system(problem: BaseException | None) -> str:
    """What the system refused where that is behind an error: a full or broken disk; '' otherwise.

    What raised the error, or was being handled when it was raised, counts as well.
    """
    seen: set[int] = set()
    while problem is not None and id(problem) not in seen:
        seen.add(id(problem))
        if isinstance(problem, NoAnswerError):
            return str(problem)
        if isinstance(problem, OSError) and problem.errno in _REFUSED:
            return f"{problem.filename or 'a file'}: {problem.strerror or problem}"
        problem = problem.__cause__ or problem.__context__
    return ""


_LONGEST = 5000
"""Characters of a message that are looked at: some print all they know."""


def exception_line(problem: BaseException) -> str:
    """An exception as one line that can be stored: its class and what it says."""
    text = one_line(str(problem)[:_LONGEST]) or "no message"
    return f"{type(problem).__name__}: {text}"[:500]
