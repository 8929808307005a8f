"""What is allowed in a series but worth knowing: gaps, jumps, filled days, shifted days.

None of it can be told from a real event for certain, so all of it is a warning that names the rows
and the option of `data import` that would settle it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.data.tables import count_text, weekdays
from harness.window import Dates, Series

LONG_GAP = 10
"""Days between daily sessions from which on a gap is worth a warning."""

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_JUMP = (0.336, 12.0)  # smallest log move, and multiple of a typical one: DOW_JONES has 0.256
_SPIKE = (0.15, 15.0)  # the same for a move that is undone at once
_HUGE = 3.9  # log move that is worth a warning in any series: 50-fold
_UNDONE = 0.25  # share of a spike that may be left three sessions later
_DECADE = 0.06  # log10 by which a change of unit may miss a power of ten
_FILLED = 0.9  # share of a weekday's sessions that repeat, from which on they are filled
_STILL = 10  # repeats in a row, and
_MANY_REPEATS = 0.2  # share of repeats, that are worth a warning
_REGULAR = 0.03  # share of sessions that a day of the week has when it is no exception
_SHOWN = 3
_ENOUGH = 15
"""Sessions from which on a share of them says something."""

At = Callable[[int], str]
"""Where a row stands in the file, such as ``line 17``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Days without a session, from the last one before to the first one after."""

    days: int
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """Sessions on which the target is what it was the session before.

    Attributes
    ----------
    count, share
        How many, and of all sessions that have one before them.
    longest, since
        Most of them in a row, and the date of the first of that run; None without repeats.
    """

    count: int
    share: float
    longest: int
    since: str | None


def oddities(series: Series, at: At | None = None) -> list[str]:
    """Everything worth a warning, one sentence each without a full stop.

    Parameters
    ----------
    series
        At least two sessions.
    at
        Where each row stands in its file; left out, rows are named by their date alone.
    """
    found = []
    typical = int(np.median(np.diff(series.dates).astype(np.int64)))
    over = max(LONG_GAP, 3 * typical)
    if gaps := gaps_of(series.dates, over=over):
        some = f"{count_text(len(gaps), 'gap')} of more than {over} days"
        found.append(f"{some}, the longest {gap_text(gaps[0])}")
    closed = np.flatnonzero(~np.is_busday(series.dates, weekmask=series.weekmask))
    if closed.size:
        first = series.dates[closed[0]]
        day = _DAYS[first.item().weekday()]
        some = count_text(closed.size, "session")
        found.append(f"{some} on days its calendar leaves out, first {first} ({day})")
    return [
        *found,
        *_shifted_days(series),
        *_jumps(series, at),
        *_covariate_units(series, at),
        *_fills(series),
    ]


def gaps_of(dates: Dates, *, over: int = LONG_GAP) -> list[Gap]:
    """Gaps of more than `over` days, longest first."""
    days = np.diff(dates).astype(np.int64)
    rows = np.flatnonzero(days > over)
    rows = rows[np.argsort(-days[rows], kind="stable")]
    return [
        Gap(days=int(days[row]), before=str(dates[row]), after=str(dates[row + 1]))
        for row in rows.tolist()
    ]


def gap_text(gap: Gap) -> str:
    """A gap in words."""
    return f"{count_text(gap.days, 'day')}, {gap.before} to {gap.after}"


def repeats_of(series: Series) -> Repeats:
    """Count sessions that repeat the target of the session before."""
    same = np.flatnonzero(np.diff(series.target) == 0) + 1  # rows that repeat
    if not same.size:
        return Repeats(count=0, share=0.0, longest=0, since=None)
    longest = max(np.split(same, np.flatnonzero(np.diff(same) > 1) + 1), key=len)
    return Repeats(
        count=len(same),
        share=len(same) / (len(series) - 1),
        longest=len(longest),
        since=str(series.dates[longest[0]]),
    )


def _shifted_days(series: Series) -> Iterator[str]:
    days = weekdays(series.dates)
    if len(days) < _ENOUGH or np.median(np.diff(series.dates).astype(np.int64)) > 1:
        return
    share = np.bincount(days, minlength=7) / len(days)
    last, zone = series.dates[-1], "--timezone ZONE takes the dates of the exchange's zone"
    for day, other, step, shift in ((6, 4, 5, "early"), (5, 0, -5, "late")):
        found = series.dates[days == day]
        far = found + np.timedelta64(step, "D")
        inside = far[(far >= series.dates[0]) & (far <= last)]
        if share[day] > _REGULAR and inside.size and np.isin(inside, series.dates).mean() < 0.1:
            some = f"{count_text(len(found), 'session')} on {_DAYS[day]}s, first {found[0]}"
            yield (
                f"{some}, in weeks without a {_DAYS[other]}: either the market is open on "
                f"{_DAYS[day]}s, or time zones make dates one day {shift}; {zone}"
            )
            return
    sundays = series.dates[days == 6]
    if share[6] > _REGULAR and share[4] > _REGULAR and share[5] < 0.02:
        some = f"{count_text(len(sundays), 'session')} on Sundays, first {sundays[0]}"
        yield (
            f"{some}, but none on Saturdays: short Sunday bars of a currency feed? "
            "--drop-days Sun leaves them out"
        )


def _jumps(series: Series, at: At | None) -> Iterator[str]:
    """Moves that are undone at once, and moves after which the level stays another."""
    logs = np.log(series.target)
    moves = np.diff(logs)
    size = np.abs(moves)
    typical = float(np.median(size[size > 0])) if (size > 0).any() else np.inf
    spikes, lasting, done = [], [], -1
    for row in (
        np.flatnonzero(size > min(_HUGE, max(_SPIKE[0], _SPIKE[1] * typical))) + 1
    ).tolist():
        if row <= done:
            continue
        later = np.abs(logs[row + 1 : row + 4] - logs[row - 1])  # undone within three sessions
        if (near := later < _UNDONE * abs(moves[row - 1])).any():
            back = int(np.argmax(near)) + 1
            done = row + back
            spikes.append((row, back))
        elif size[row - 1] > min(_HUGE, max(_JUMP[0], _JUMP[1] * typical)):
            lasting.append(row)

    def where(row: int) -> str:
        place = f" ({at(row)})" if at else ""
        return f"{100 * np.expm1(moves[row - 1]):+,.2f} % on {series.dates[row]}{place}"

    for row, back in spikes[:_SHOWN]:
        drop = " ".join(f"--drop {day}" for day in series.dates[row : row + back])
        undone = f"back {count_text(back, 'session')} later"
        yield f"{where(row)} and {undone}: a bad tick? {drop} leaves it out"
    for row in lasting[:_SHOWN]:
        yield f"{where(row)}, {_level_text(float(moves[row - 1]), str(series.dates[row]))}"
    for what, found in (("bad ticks", len(spikes)), ("changes of level", len(lasting))):
        if found > _SHOWN:
            yield f"{found} moves like {what} in all"


def _level_text(move: float, day: str) -> str:
    """What a lasting move looks like, and the option that would undo it."""
    tens = abs(move) / np.log(10)
    factor = 10 ** round(tens)
    if factor == 1 or abs(tens - round(tens)) > _DECADE:
        undoing = float(np.exp(-move))  # said as a split: 4 for 4.01, 1/8 for 0.124
        size = max(undoing, 1 / undoing)
        whole = round(2 * size) / 2
        text = f"{whole:g}" if abs(size / whole - 1) < 0.05 else f"{size:.3g}"
        option = f"--scale-from {day}={text if undoing >= 1 else f'1/{text}'} would undo it"
        return f"and prices stay there: a split, or another series? {option}"
    way, by = ("smaller", f"{factor}") if move < 0 else ("larger", f"1/{factor}")
    option = f"--scale-from {day} multiplies the rows from there on by {by}"
    return f"and prices stay about {factor} times {way}: a change of unit? {option}"


def _covariate_units(series: Series, at: At | None) -> Iterator[str]:
    """Covariates whose level changes by 100 or more from one session on."""
    for column, name in enumerate(series.past_names):
        values = series.past[:, column]
        if len(values) < _ENOUGH or (values <= 0).any():
            continue
        logs = np.log10(values)
        for row in (np.flatnonzero(np.abs(np.diff(logs)) > 1.5) + 1).tolist():
            if not 5 <= row <= len(logs) - 5:
                continue
            before, after = logs[max(0, row - 10) : row], logs[row : row + 10]
            change = float(np.median(after) - np.median(before))
            power = round(abs(change))
            if power >= 2 and abs(abs(change) - power) < 0.15:
                way = "smaller" if change < 0 else "larger"
                place = f" ({at(row)})" if at else ""
                yield (
                    f"covariate '{name}' is about {10**power} times {way} from "
                    f"{series.dates[row]}{place} on: a change of unit?"
                )
                break


def _fills(series: Series) -> Iterator[str]:
    """Days that were filled: forward, between two others, or from sparser data."""
    same = np.append(False, np.diff(series.target) == 0)
    days = weekdays(series.dates)
    count = np.bincount(days, minlength=7)
    repeats = np.bincount(days[same], minlength=7)
    filled = [day for day in range(7) if count[day] >= 5 and repeats[day] >= _FILLED * count[day]]
    few = bool(filled) and len(filled) <= 3
    steps = np.diff(series.target)
    bend = np.append(np.append(np.inf, np.abs(np.diff(steps))), np.inf)
    straight = np.bincount(days[bend < 0.02 * float(np.median(np.abs(steps)))], minlength=7)
    between = [day for day in (5, 6) if count[day] >= 5 and straight[day] >= _FILLED * count[day]]
    bent = straight[:5].sum() <= 0.5 * count[:5].sum()  # else no filling drew the line
    if few:
        yield _filled_text(filled, int(repeats[filled].sum()), len(series), "repeat the one before")
    elif between and bent:
        yield _filled_text(
            between, int(count[between].sum()), len(series), "lie on a straight line"
        )
    found = repeats_of(series)
    if not few and found.share > _MANY_REPEATS and len(series) >= _ENOUGH:
        yield (
            f"{100 * found.share:.1f} % of sessions repeat the one before, up to {found.longest} "
            "in a row: were sparser data filled forward? skip_repeats = true in the plan drops them"
        )
    elif found.longest >= _STILL:
        yield (
            f"the target stands still for {found.longest} sessions from {found.since} on: "
            "a feed that stopped? --drop DATE leaves sessions out"
        )


def _filled_text(days: Sequence[int], some: int, sessions: int, how: str) -> str:
    names = " and ".join(f"{_DAYS[day]}s" for day in days)
    short = ",".join(_DAYS[day][:3] for day in days)
    share = f"{100 * some / sessions:.1f} %"
    return (
        f"{share} of sessions are {names} that {how}: filled days flatter every forecaster; "
        f"--drop-days {short} leaves them out, skip_repeats = true in the plan drops repeats"
    )
