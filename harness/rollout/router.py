"""The router: the forecast of whoever serves a series now, in the process of the caller.

Each side answers in a process of its own, restored once from its kept fit, with limits on time and
memory: whatever the candidate does, the caller gets an answer of the other side and is told why.
The stage is read from the store's records before every answer, so that after a move no process
serves by the stage before it.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from harness.arm_ref import ArmRef
from harness.data.dataset import find, load
from harness.data.manifest import read_manifest
from harness.errors import ForecastError, InputError, StoreError, one_line
from harness.forecast import Forecast
from harness.records.journal import FILE
from harness.rollout.arm_process import ArmProcess
from harness.rollout.night import REQUEST, SERVING, OpenRollout
from harness.rollout.served_arm import Reply, Served
from harness.rollout.settings import LEGACY, Settings, read_rollout
from harness.rollout.stages import MovedMeanwhileError, RolloutState
from harness.rollout.stream import OBSERVED, WIDTHS
from harness.running.store_folder import open_store
from harness.window import Array, Dates, Series

_STAGE_S = 2.0
"""So long a request waits for the stage to be read before the legacy answers."""
_KEPT = 1000
"""Requests that the other side is still to answer."""
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedForecast:
    """What a caller gets for a series.

    Attributes
    ----------
    forecast
        Of one window, all steps of the plan.
    served_by
        Name of the arm that made it.
    stage
        That stood.
    reason
        Why it is not the arm of the stage; '' where it is.
    """

    forecast: Forecast
    served_by: str
    stage: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowAnswer:
    """What the other side made of a request; `forecast` is None where it has none, and why."""

    series: str
    cutoff: str
    arm: str
    forecast: Forecast | None
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Now:
    """What requests are answered by, as read from the records at a `mark` of the file."""

    mark: bytes
    state: RolloutState
    stage: str
    served_by: Mapping[str, str]
    serving: Mapping[str, Any]


class Rollout:
    """A migration as a serving process uses it. Open one with `Rollout.open`; any thread may ask.

    What touches the records runs in two threads of its own: one reads the stage, one writes.
    """

    def __init__(self, settings: Settings, root: Path, folders: Sequence[Path]) -> None:
        self._settings, self._root, self._folders = settings, root, folders
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rollout stage")
        self._writing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rollout records")
        self._sides: dict[str, ArmProcess] = {}
        self._shadows: dict[str, ArmProcess] = {}
        self._waiting: deque[tuple[str, str, Series]] = deque(maxlen=_KEPT)
        self._guard = threading.Lock()
        self._now: _Now | None = None
        self._seen: OpenRollout | None = None
        self._night: OpenRollout | None = None
        self._notes = _Notes(root, settings.name)
        self._shape: dict[str, dict[str, Any]] = {}

    @classmethod
    def open(
        cls, path: str | Path, *, store: str | Path = "runs", data_dir: Sequence[str | Path] = ()
    ) -> Rollout:
        """Open a rollout and load both sides, once.

        Raises
        ------
        InputError
            When file or store cannot be used, no night has made fits to serve yet, or neither side
            can be loaded.
        """
        settings = read_rollout(Path(path))
        found = cls(settings, Path(store), [Path(each) for each in data_dir])
        try:
            found._load()
        except BaseException:
            found.close()
            raise
        return found

    def _load(self) -> None:
        for name in self._settings.series:
            manifest = read_manifest(find(name, list(self._folders)))
            self._shape[name] = {
                "past_names": manifest.columns.past,
                "weekmask": manifest.calendar,
                "season": manifest.season,
            }
        self._seen = self._reading.submit(self._opened).result()
        self._night = self._by_writer(self._opened)
        now = self._reading.submit(self._refreshed).result()
        self._by_writer(self._acted_on_notes)
        if not now.serving:
            raise StoreError(
                f"{self._root}: no fits to serve for '{self._settings.name}' yet: "
                "`abharness rollout advance` enters the first stage, `abharness nightly` makes them"
            )
        self._sides = self._made(now)
        starts = [threading.Thread(target=side.start) for side in self._sides.values()]
        for each in starts:
            each.start()
        for each in starts:
            each.join()
        problems = [f"{each.name}: {each.problem}" for each in self._sides.values() if each.problem]
        if len(problems) == len(self._sides):
            raise InputError(f"{self._settings.source}: no side can be loaded: {problems}")

    def _opened(self) -> OpenRollout:
        return OpenRollout(
            settings=self._settings,
            store=open_store(self._root, create=False),
            folders=self._folders,
        )

    @property
    def _records(self) -> OpenRollout:
        assert self._night is not None
        return self._night

    def _made(self, now: _Now) -> dict[str, ArmProcess]:
        settings, serving = self._settings, now.serving
        found = {}
        for name, kept in serving["arms"].items():
            ref = ArmRef(
                name=name,
                use=kept["use"],
                role=settings.experiment.arm(name).role,
                options=kept["options"],
                folder=Path(kept["folder"]) if kept["folder"] else None,
            )
            served = Served(
                ref=ref,
                made_of={key: value for key, value in kept.items() if key != "folder"},
                plans=settings.experiment.plans,
                fits={
                    series: (self._root / "fits" / fits[name]).resolve()
                    for series, fits in serving["fits"].items()
                },
                seed=serving["seed"],
                threads=settings.experiment.run.threads,
            )
            found[name] = ArmProcess(
                served, limit_s=settings.latency_s, memory_mib=settings.memory_limit_mib
            )
        return found

    # -- requests ----------------------------------------------------------------------------

    def forecast(
        self, series: str, history: Any, *, dates: Any, past: Any = None
    ) -> ServedForecast:
        """Forecast the steps after the last session of a history.

        Parameters
        ----------
        series
            Id of a dataset of the experiment.
        history : [T]
            Values of the sessions up to now, the newest last.
        dates : [T]
            Their dates, increasing.
        past : [T, C], optional
            The covariates of the dataset, where it has any.

        Raises
        ------
        InputError
            When it is no such series or no such history.
        ForecastError
            When neither side can answer.
        """
        found = self.forecast_all({series: (history, dates, past)})[series]
        if isinstance(found, ForecastError):
            raise found
        return found

    def forecast_all(
        self, asked: Mapping[str, tuple[Any, ...]]
    ) -> dict[str, ServedForecast | ForecastError]:
        """Forecast many series in one batch.

        Parameters
        ----------
        asked
            Series to (history, dates) or (history, dates, past), as for `forecast`.

        Returns
        -------
        dict
            The forecast of each series; in its place the error, not raised, where neither side
            can answer: the others keep theirs.
        """
        parsed = {name: self._series(name, *found) for name, found in asked.items()}
        now, unread = self._current()
        legacy = self._settings.legacy
        by_arm: dict[str, list[str]] = {}
        for name in parsed:
            by_arm.setdefault(now.served_by.get(name, legacy), []).append(name)
        found: dict[str, ServedForecast | ForecastError] = {}
        for arm, names in by_arm.items():
            first = self._answers(now, arm, {name: parsed[name] for name in names})
            missed = {name: parsed[name] for name, (made, _) in first.items() if made is None}
            other = self._other(arm)
            second = self._answers(now, other, missed) if missed else {}
            for name in names:
                made, why = first[name]
                by, reason = arm, unread
                if made is None:
                    by, reason = other, f"{arm}: {why}"
                    exposed = arm == self._settings.candidate  # which that rolls back
                    self._note(now, name, parsed[name], arm, reason, exposed=exposed)
                    with suppress(RuntimeError):  # closed meanwhile: the next process takes it in
                        self._writing.submit(self._acted_on_notes)
                    made, why = second[name]
                if made is None:
                    found[name] = ForecastError(
                        f"{name}: neither side answers: {reason}; {other}: {why}"
                    )
                    continue
                if unread:  # a file, so that a store that is busy keeps it from nobody
                    self._note(now, name, parsed[name], "", unread, exposed=False)
                found[name] = ServedForecast(
                    forecast=made, served_by=by, stage=now.stage, reason=reason
                )
                self._waiting.append((self._other(by), name, parsed[name]))
        return {name: found[name] for name in asked}

    def _other(self, arm: str) -> str:
        return self._settings.legacy if arm != self._settings.legacy else self._settings.candidate

    def _answers(self, now: _Now, arm: str, asked: Mapping[str, Series]) -> dict[str, Reply]:
        """What a side says of some series, with a reason for what must not be served."""
        side = self._sides.get(arm)
        if side is None:
            return dict.fromkeys(asked, (None, "it was never loaded"))
        replies, _ = side.ask(list(asked.items()))
        while side is not self._sides[arm] and not any(made for made, _ in replies):
            side = self._sides[arm]  # it was closed meanwhile, after a night with other fits
            replies, _ = side.ask(list(asked.items()))
        return {
            name: self._checked(now, arm, name, series, reply)
            for (name, series), reply in zip(asked.items(), replies, strict=True)
        }

    def _checked(self, now: _Now, arm: str, name: str, series: Series, reply: Reply) -> Reply:
        made = reply[0]
        if made is None:
            return reply
        if not bool(made.finite.all()):
            return None, "forecast is not finite"
        if made.fallback and made.fallback[0]:
            return None, f"its own fallback answered: {made.fallback[0]}"
        wide = now.serving["widths"].get(name)
        if arm == self._settings.candidate and wide:
            apart = np.abs(made.point[0] - series.target[-1] - np.array(wide["path"]))
            if bool((apart > WIDTHS * np.array(wide["width"])).any()):
                return None, "point path beyond ten legacy widths"
        return reply

    def _series(self, name: str, history: Any, dates: Any, past: Any = None) -> Series:
        if name not in self._shape:
            raise InputError(f"series '{name}': expected one of {', '.join(self._settings.series)}")
        target: Array = np.asarray(history, dtype=np.float64)
        days: Dates = np.asarray(dates).astype("datetime64[D]")
        shape = self._shape[name]
        rows = np.empty((len(target), 0)) if past is None else np.asarray(past, dtype=np.float64)
        faults = []
        if target.ndim != 1 or not len(target):
            faults.append(f"history has shape {target.shape}, expected [T]")
        elif not np.isfinite(target).all():
            faults.append("history has values that are not finite")
        if days.shape != target.shape:
            faults.append(f"dates have shape {days.shape}, history has {target.shape}")
        elif (np.diff(days) <= np.timedelta64(0, "D")).any():
            faults.append("dates do not increase")
        if rows.shape != (len(target), len(shape["past_names"])):
            names = ", ".join(shape["past_names"]) or "none"
            faults.append(
                f"past has shape {rows.shape}, expected [T, {len(shape['past_names'])}] ({names})"
            )
        if faults:
            raise InputError(f"{name}: {'; '.join(faults)}")
        return Series(dates=days, target=target, past=rows, **shape)

    # -- the stage ---------------------------------------------------------------------------

    def _current(self) -> tuple[_Now, str]:
        """What stands now; and why it cannot be read, where the legacy answers for that."""
        now = self._now
        try:
            if now is not None and now.mark == _mark(self._root):
                return now, ""
            return self._reading.submit(self._refreshed).result(timeout=_STAGE_S), ""
        except (TimeoutError, InputError, OSError) as problem:
            assert now is not None
            legacy = dict.fromkeys(self._settings.series, self._settings.legacy)
            said = f"the stage cannot be read: {problem or 'the store is busy'}"
            return (
                _Now(
                    mark=b"", state=now.state, stage="legacy", served_by=legacy, serving=now.serving
                ),
                said,
            )

    def _refreshed(self) -> _Now:
        """Read the records; in the reading thread only."""
        mark = _mark(self._root)
        if self._now is not None and self._now.mark == mark:
            return self._now
        night = self._seen
        assert night is not None
        state = night.state
        serving = night.store.journal.latest(SERVING, self._settings.name) or {}
        last = state.since
        found = _Now(
            mark=mark,
            state=state,
            stage=last.stage if last else str(LEGACY),
            served_by=state.served_by,
            serving=serving,
        )
        before, self._now = self._now, found
        if before is not None and _fits(before) != _fits(found) and self._sides:
            threading.Thread(target=self._change_sides, args=(found,), daemon=True).start()
        return found

    def _change_sides(self, now: _Now) -> None:
        """Load what a later night fitted, and then let it serve."""
        with self._guard:
            made = self._made(now)
            for name, side in made.items():
                if not side.start():
                    former = self._sides.get(name)
                    self._sides = {**self._sides, name: side}
                    if former is not None:
                        former.close()
            for side in self._shadows.values():
                side.close()
            self._shadows = {}

    def _by_writer(self, work: Callable[[], _Found]) -> _Found:
        made: Future[_Found] = self._writing.submit(work)
        return made.result()

    # -- what is kept of requests --------------------------------------------------------------

    def _note(
        self, now: _Now, name: str, series: Series, arm: str, reason: str, *, exposed: bool
    ) -> None:
        note = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "series": name,
            "cutoff": str(series.dates[-1]),
            "arm": arm,
            "stage": now.stage,
            "reason": one_line(reason)[:300],
            "exposed": exposed,
        }
        self._notes.write(note)

    def _acted_on_notes(self) -> None:
        self._take_in_notes()
        with suppress(MovedMeanwhileError, StoreError):
            self._records.back_from_requests()

    def _take_in_notes(self) -> None:
        """Turn notes into records; in the writing thread only."""
        journal = self._records.store.journal
        for file in self._notes.files():
            with suppress(FileNotFoundError):  # another process took it in
                note = json.loads(file.read_text(encoding="utf-8"))
                journal.append_new(REQUEST, self._settings.name, note)
                file.unlink()

    def shadow(self) -> list[ShadowAnswer]:
        """Let the other side answer every request since the last call, in a process of its own.

        What it fails is a record; nothing of it reaches those who ask for forecasts.
        """
        now, _ = self._current()
        found = []
        while self._waiting:
            arm, name, series = self._waiting.popleft()
            side = self._shadows.get(arm)
            if side is None:
                side = self._shadows[arm] = self._made(now)[arm]
                side.start()
            replies, seconds = side.ask([(name, series)])
            if replies[0][0] is None and side is not self._shadows.get(arm):
                now, _ = self._current()  # it was closed, after a night with other fits
                self._waiting.appendleft((arm, name, series))
                continue
            made, why = self._checked(now, arm, name, series, replies[0])
            cutoff = str(series.dates[-1])
            found.append(
                ShadowAnswer(
                    series=name,
                    cutoff=cutoff,
                    arm=arm,
                    forecast=made,
                    reason=why if made is None else "",
                    seconds=seconds,
                )
            )
            if made is None:
                self._note(now, name, series, arm, f"{arm}: {why}", exposed=False)
        self._by_writer(self._take_in_notes)
        return found

    def observe(self, series: str, dates: Any, values: Any) -> None:
        """Record values that have come, with the time they came.

        A session may be reported again: `truth` of its plan says whether its first value counts or
        the latest. The last session of the data is recorded with them, so that it is known which
        of both was first.

        Raises
        ------
        InputError
            When it is no such series, or dates and values do not fit together.
        """
        days = np.atleast_1d(np.asarray(dates)).astype("datetime64[D]")
        numbers = np.atleast_1d(np.asarray(values, dtype=np.float64))
        if series not in self._settings.series or days.shape != numbers.shape:
            raise InputError(
                f"observe '{series}': {days.shape} dates and {numbers.shape} values of one of "
                f"{', '.join(self._settings.series)} were expected"
            )
        if not all(map(math.isfinite, numbers.tolist())):
            raise InputError(f"observe '{series}': values that are not finite")
        body = {
            "dates": days.astype(str).tolist(),
            "values": numbers.tolist(),
            "until": str(load(series, list(self._folders)).series.dates[-1]),
        }
        self._by_writer(lambda: self._records.store.journal.append(OBSERVED, series, body))

    # -- moves -------------------------------------------------------------------------------

    def status(self) -> RolloutState:
        """Where the migration stands."""
        return self._reading.submit(self._refreshed).result().state

    def advance(self, owner: str = "") -> RolloutState:
        """Enter the next stage; see `harness.rollout.night.OpenRollout.advance`."""
        return self._by_writer(lambda: self._records.advance(owner))

    def hold(self, why: str, owner: str, *, release: bool = False) -> RolloutState:
        """Let no stage be entered until the hold is released."""
        return self._by_writer(lambda: self._records.hold(why, owner, release=release))

    def rollback(self, why: str, owner: str = "") -> RolloutState:
        """Let the legacy serve everything, from the next request on."""
        return self._by_writer(lambda: self._records.rollback(why, owner))

    def close(self) -> None:
        """End both sides; requests after that are not answered."""
        for thread, night in ((self._writing, self._night), (self._reading, self._seen)):
            if night is not None:
                thread.submit(night.store.journal.close).result()
            thread.shutdown(wait=True)
        for side in [*self._sides.values(), *self._shadows.values()]:
            side.close()

    def __enter__(self) -> Rollout:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _fits(now: _Now) -> Any:
    return [now.serving.get(name) for name in ("fits", "arms", "seed")]


def _mark(root: Path) -> bytes:
    """What changes with every transaction of the records: SQLite's change counter, and the file."""
    handle = os.open(root / FILE, os.O_RDONLY)
    try:
        return os.pread(handle, 4, 24) + os.fstat(handle).st_ino.to_bytes(8, "big")
    finally:
        os.close(handle)


class _Notes:
    """Notes about requests on their way to the records, a file each: they outlive a kill."""

    def __init__(self, root: Path, name: str) -> None:
        self._folder, self._name = root / "requests", name

    def write(self, note: Mapping[str, Any]) -> None:
        """Leave a note."""
        name = f"{self._name}.{time.time_ns()}.{os.getpid()}.{threading.get_ident()}"
        with suppress(OSError):  # a full disk costs the note, not the answer
            self._folder.mkdir(exist_ok=True)
            draft = self._folder / f".{name}"
            draft.write_text(json.dumps(note), encoding="utf-8")
            draft.rename(self._folder / name)

    def files(self) -> list[Path]:
        """Those of this rollout, of whatever process, the oldest first."""
        return sorted(self._folder.glob(f"{self._name}.*")) if self._folder.is_dir() else []
