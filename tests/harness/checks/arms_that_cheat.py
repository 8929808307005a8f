"""Arms that know the future, each from another source; `path` is the file of the dataset."""

import csv
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.forecast import Forecast

LENGTH = 30


def around(path):
    """A narrow distribution around a path [W, H]."""
    levels = np.array([0.1, 0.5, 0.9])
    return Forecast.of_quantiles(path[..., None] * np.array([0.99, 1.0, 1.01]), levels)


def flat(contexts):
    """The last value, [W, H]."""
    return np.repeat(contexts.last[:, None], contexts.horizon, axis=1)


def days_of(contexts):
    """The last session seen, W ISO dates."""
    return [str(day) for day in contexts.dates[:, -1].astype("datetime64[D]")]


def rows_of(path):
    """Dates and closes of a file, oldest first."""
    with Path(path).open(newline="") as stream:
        rows = list(csv.reader(stream))
    return [row[0] for row in rows[1:]], np.array([float(row[1]) for row in rows[1:]])


@dataclass(slots=True)
class Honest:
    """The last value."""

    path: str = ""
    context_length: int = LENGTH

    def forecast(self, contexts):
        return around(flat(contexts))


@dataclass(slots=True)
class ReadsTheFile(Honest):
    """Looks the day up in the file."""

    def forecast(self, contexts):
        days, closes = rows_of(self.path)
        path = flat(contexts)
        for row, day in enumerate(days_of(contexts)):
            if day in days:
                future = closes[days.index(day) + 1 :][: contexts.horizon]
                path[row, : len(future)] = future
        return around(path)


@dataclass(slots=True)
class MatchesValues(Honest):
    """Looks the last values up in the file, whatever the dates say."""

    def forecast(self, contexts):
        _, closes = rows_of(self.path)
        path = flat(contexts)
        for row, seen in enumerate(contexts.target[:, -3:]):
            ends = np.flatnonzero((np.abs(closes - seen[-1]) < 1e-6) & (np.arange(len(closes)) > 2))
            for end in ends:
                if np.allclose(closes[end - 2 : end + 1], seen, atol=1e-6):
                    future = closes[end + 1 :][: contexts.horizon]
                    path[row, : len(future)] = future
        return around(path)


def told_by(contexts, known):
    """The last value, or what later windows say of the days that follow."""
    path = flat(contexts)
    days = sorted(known)
    for row, day in enumerate(days_of(contexts)):
        later = [known[each] for each in days if each > day][: contexts.horizon]
        path[row, : len(later)] = later
    return path


def seen_in(contexts):
    """Every day of every window with its value."""
    days = contexts.dates.astype("datetime64[D]").astype(str).reshape(-1).tolist()
    return dict(zip(days, contexts.target.reshape(-1).tolist(), strict=True))


@dataclass(slots=True)
class LaterWindows(Honest):
    """Looks at the later windows of a batch of eight or more."""

    def forecast(self, contexts):
        known = seen_in(contexts) if len(contexts) >= 8 else {}
        return around(told_by(contexts, known))


@dataclass(slots=True)
class SilentWhenFew(Honest):
    """The same, and no number where it is asked for few windows."""

    def forecast(self, contexts):
        if len(contexts) < 8:
            return around(np.full((len(contexts), contexts.horizon), np.nan))
        return around(told_by(contexts, seen_in(contexts)))


@dataclass(slots=True)
class Remembers(Honest):
    """Keeps what it saw in one call for the next; its first answer is honest."""

    known: dict = field(default_factory=dict)

    def forecast(self, contexts):
        self.known.update(seen_in(contexts))
        return around(told_by(contexts, self.known))


@dataclass(slots=True)
class LeavesNotes(Honest):
    """The same by a file outside of its scratch folder."""

    def forecast(self, contexts):
        file = Path(self.path).with_name("notes.json")
        known = json.loads(file.read_text()) if file.is_file() else {}
        known |= seen_in(contexts)
        file.write_text(json.dumps(known))
        return around(told_by(contexts, known))


@dataclass(slots=True)
class HonestWhenChecked(Honest):
    """Reads the file unless the battery's command asks."""

    def forecast(self, contexts):
        kind = Honest if "check" in sys.argv else ReadsTheFile
        return kind.forecast(self, contexts)


@dataclass(slots=True)
class ForgotItsScaling(Honest):
    """An honest rule on scaled values that are never scaled back: it has no unit."""

    def forecast(self, contexts):
        mean, scale = contexts.target.mean(axis=1), contexts.target.std(axis=1)
        return Forecast.of_point(((flat(contexts).T - mean) / scale).T)


@dataclass(slots=True)
class HidesBehindItsPoint(MatchesValues):
    """Looks the last values up in the file, and gives a point on another scale."""

    def forecast(self, contexts):
        found = MatchesValues.forecast(self, contexts)
        return Forecast.of_quantiles(found.quantiles, found.levels, 1e-4 * found.point)


@dataclass(slots=True)
class OwnHead(Honest):
    """A head of five steps, as of a checkpoint: it can answer no other number."""

    def forecast(self, contexts):
        if contexts.horizon != 5:
            raise ValueError(f"this head has 5 steps, not {contexts.horizon}")
        return Honest.forecast(self, contexts)


def followed(path, closes, row, last, at):
    """Put what follows a row of the file behind a price, in its unit."""
    future = closes[at + 1 :][: path.shape[1]]
    path[row, : len(future)] = last * future / closes[at]


@dataclass(slots=True)
class UndoesDates(Honest):
    """Looks the day up in the file, also 28 years later, and scales what follows."""

    def forecast(self, contexts):
        days, closes = rows_of(self.path)
        place = {day: at for at, day in enumerate(days)}
        path = flat(contexts)
        for row, (end, seen) in enumerate(
            zip(contexts.dates[:, -1].astype("datetime64[D]"), contexts.target[:, -3:], strict=True)
        ):
            for moved in (0, 10_227):
                at = place.get(str(end + moved), 0)
                if at > 2 and np.allclose(
                    closes[at - 2 : at + 1] / closes[at], seen / seen[-1], rtol=1e-9
                ):
                    followed(path, closes, row, contexts.last[row], at)
        return around(path)


@dataclass(slots=True)
class MatchesReturns(Honest):
    """Looks the last returns up in the file, whatever the dates and the unit are."""

    def forecast(self, contexts):
        _, closes = rows_of(self.path)
        path = flat(contexts)
        moves = np.round(closes[1:] / closes[:-1], 6)
        for row, seen in enumerate(np.round(contexts.target[:, 1:] / contexts.target[:, :-1], 6)):
            for at in np.flatnonzero(moves == seen[-1]) + 1:
                if at > 4 and np.array_equal(moves[at - 4 : at], seen[-4:]):
                    followed(path, closes, row, contexts.last[row], at)
        return around(path)


@dataclass(slots=True)
class ClaimsToLearn(MatchesValues):
    """Looks values up; a fit that does nothing spares it the question in another unit."""

    def fit(self, context, *, seed):
        from harness.arm import Training

        return Training()

    def save(self, folder):
        (Path(folder) / "state.json").write_text("{}")

    def restore(self, folder):
        pass


@dataclass(slots=True)
class ClaimsWeights(MatchesValues):
    """The same by calling the file its weights."""

    def weight_files(self):
        return [Path(self.path)]


@dataclass(slots=True)
class Replays(Honest):
    """Looks at later windows, and keeps its answers for when it is asked again, alone."""

    def forecast(self, contexts):
        file = Path(self.path).with_name("answers.json")
        kept = json.loads(file.read_text()) if file.is_file() else {}
        seen = np.round(contexts.target[:, -9:] / contexts.last[:, None], 9)
        keys = [str(row.tolist()) for row in seen]
        path = told_by(contexts, seen_in(contexts))
        for row, key in enumerate(keys):
            share = kept.setdefault(key, (path[row] / contexts.last[row]).tolist())
            path[row] = np.array(share) * contexts.last[row]
        file.write_text(json.dumps(kept))
        return around(path)


@dataclass(slots=True)
class DrawsUndeclared(Honest):
    """Random numbers that the harness was not told of."""

    def forecast(self, contexts):
        path = flat(contexts)
        return around(path * (1 + 0.001 * np.random.default_rng().standard_normal(path.shape)))


@dataclass(slots=True)
class CountsItsCalls(Honest):
    """Each call in a process answers a little higher than the last."""

    calls: int = 0

    def forecast(self, contexts):
        self.calls += 1
        return around(flat(contexts) * (1 + 0.001 * self.calls))
