"""Gather from a store every verdict that was passed, with what changed in between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from urllib.parse import quote

from harness.errors import StoreError
from harness.gate.history import Entry, before, change, history
from harness.gate.inputs import read_inputs
from harness.judging.verdict import Verdict, from_json
from harness.measure.records import machine_class
from harness.running.store import Store
from reports import wording
from reports.index_inputs import IndexInput, Passed, Run, Track
from reports.index_trends import newest, track_of

_FACTS = {"processor": "{}", "cores": "{} cores", "memory_gib": "{} GiB", "gpu": "GPU {}"}


def collect_index(store: Store, *, linked: bool = True) -> IndexInput:
    """Read every verdict of a store; what cannot be read is named and the rest goes on.

    Parameters
    ----------
    linked
        Link the pages that were drawn: for an index that lies beside the verdicts.
    """
    reader = _Reader(store=store, linked=linked)
    found = [each for name in reader.names() for each in reader.passed(name)]
    return IndexInput(
        passed=sorted(found, key=_age, reverse=True),
        tracks=reader.tracks(found),
        problems=tuple(dict.fromkeys(reader.problems)),
    )


def _age(each: Passed) -> tuple[str, int, str]:
    """Later evidence is newer; within an experiment the order in which verdicts were passed."""
    return (each.until, each.entry.sequence, each.experiment)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Reads records of a store, each once."""

    store: Store
    linked: bool
    problems: list[str] = field(default_factory=list)
    _machines: dict[str, str] = field(default_factory=dict)
    _verdicts: dict[Path, Verdict | None] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Experiments with verdicts."""
        root = self.store.root / "verdicts"
        return sorted(file.parent.name for file in root.glob("*/index.json"))

    def passed(self, name: str) -> Iterator[Passed]:
        """Every verdict on an experiment, the oldest first."""
        try:
            entries = history(self.store, name)
        except StoreError as problem:
            self.problems.append(self._said(problem))
            return
        dates = accumulate((_last_origin(entry) for entry in entries), max)
        for entry, until in zip(entries, dates, strict=True):
            yield self._one(name, entry, entries, until)

    def _one(self, name: str, entry: Entry, entries: Sequence[Entry], until: str) -> Passed:
        earlier = before(entries, entry)
        folder = self.store.verdict_folder(name) / entry.folder
        return Passed(
            experiment=name,
            entry=entry,
            until=until,
            change=change(earlier, entry) if earlier else None,
            machine=self._machine(folder),
            page=self._page(folder),
            problem="" if (folder / "verdict.json").is_file() else "its record is gone",
        )

    def _page(self, folder: Path) -> str:
        there = self.linked and (folder / "report.html").is_file()
        return quote(f"{folder.parent.name}/{folder.name}/report.html") if there else ""

    def _machine(self, folder: Path) -> str:
        """The classes of machine the units of a verdict ran on."""
        try:
            cells = read_inputs(folder).cells
        except StoreError:
            return "not recorded"
        found = {self._machine_of(cell.unit) for cell in cells if cell.scores}
        return "; ".join(sorted(found - {""})) or "not recorded"

    def _machine_of(self, unit: str) -> str:
        if unit not in self._machines:
            self._machines[unit] = self._described(unit)
        return self._machines[unit]

    def _described(self, unit: str) -> str:
        try:
            facts = self.store.unit(unit).get("machine") or {}
        except StoreError:
            return ""
        return f"{_words(facts)} ({machine_class(facts)})" if facts else ""

    def tracks(self, passed: Sequence[Passed]) -> list[Track]:
        """The runs of each pair on each class of machine; the pair that decides comes first."""
        groups: dict[tuple[str, str, str, str], list[Passed]] = {}
        for each in passed:
            pair = (each.entry.candidate, each.entry.legacy)
            groups.setdefault((each.experiment, *pair, each.machine), []).append(each)
        found = [track for runs in groups.values() for track in self._track(runs)]
        return sorted(found, key=lambda track: (track.experiment, not track.decides))

    def _track(self, passed: Sequence[Passed]) -> Iterator[Track]:
        last, left_out = newest(passed)
        runs = [
            Run(passed=each, verdict=verdict)
            for each in last
            if (verdict := self._verdict(each)) is not None
        ]
        if runs:
            yield track_of(runs, left_out=left_out)

    def _verdict(self, each: Passed) -> Verdict | None:
        file = self.store.verdict_folder(each.experiment) / each.entry.folder / "verdict.json"
        if file not in self._verdicts:
            self._verdicts[file] = self._read(file)
        return self._verdicts[file]

    def _read(self, file: Path) -> Verdict | None:
        try:
            return from_json(file.read_text(encoding="utf-8"))
        except OSError:
            return None  # told with the verdict itself
        except (StoreError, UnicodeDecodeError) as problem:
            where = file.relative_to(self.store.root)
            self.problems.append(f"{where}: {self._said(problem)}")
            return None

    def _said(self, problem: Exception) -> str:
        """A problem without the path of the store, which is no one else's business."""
        return str(problem).replace(f"{self.store.root}/", "")


def _last_origin(entry: Entry) -> str:
    return max((span.last for span in entry.spans.values()), default="")


def _words(facts: Mapping[str, str]) -> str:
    said = [text.format(facts[name]) for name, text in _FACTS.items() if facts.get(name)]
    return wording.printable(", ".join(said))
