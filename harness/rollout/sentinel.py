"""The sentinel: a watch, night by night, for a candidate that has become worse than its limit.

A one-sided cumulative sum (Page 1954) of the candidate's loss beyond its limit. The boundary comes
from a *stretch* of nights before the watch: it lends its spread, never its mean, to paths of nights
on which the candidate stands exactly at the limit. Only harm is capped, so that one night cannot
set the watch off, and where nights have become noisier than the stretch, each counts for less.

NaN never helps: a night the candidate has no loss for is harm without limit, which the cap makes
an ordinary bad night. A night without a legacy loss allows no comparison and leaves the sum as it
is.

Shapes: n nights of the stretch, T nights of the watch, B paths. A night is one origin at stride 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.stats.longrun import bartlett_share, choose_lag
from harness.window import Array

NIGHTS = 250
"""Nights over which the chance of a false alarm is stated."""
LEAST_STRETCH, WHOLE_STRETCH = 120, 250
ERROR_RATE = 0.035
"""Share of the paths at the limit that set the watch off; with what they leave out, at most 6 %."""
STEPS = 5
"""Judged steps of a night, so that so many neighbours share a session."""
SLACK = 0.05
"""What a night may lie beyond the limit without adding to the sum."""
_HALF_LIFE = 10
_PATHS = 2000
_RECENT, _PRIOR = 80, 10
"""Nights that say how noisy it is now, and how many the stretch counts for."""


def harm_beyond(candidate: Array, legacy: Array, *, limit: float, gap: int = 0) -> Array:
    """Candidate's loss beyond its limit, in units of the legacy's usual loss, [T].

    ``(c - (1 + limit) l) / s``, where s is the mean of the legacy losses so far at a half-life of
    ten nights, as known when the forecast was issued: of origins whose judged steps had all come.

    Parameters
    ----------
    candidate, legacy : [T]
        Mean losses over steps 1 to `STEPS`, one origin a night; NaN where there is none.
    gap
        Sessions between the origin and the first judged step.

    Returns
    -------
    [T]
        Infinite where the candidate has no loss, NaN where the legacy has none or its usual loss
        is not known yet.
    """
    decay = 0.5 ** (1 / _HALF_LIFE)
    usual = np.full(len(legacy), math.nan)
    total = weight = 0.0
    for night in range(STEPS + gap, len(legacy)):
        known = float(legacy[night - STEPS - gap])
        total, weight = decay * total, decay * weight
        if math.isfinite(known):
            total, weight = total + known, weight + 1.0
        usual[night] = total / weight if weight else math.nan
    beyond = candidate - (1 + limit) * legacy
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Array = np.where(beyond == 0, 0.0, beyond / usual)
    found[np.isnan(usual) | ~np.isfinite(legacy)] = math.nan
    found[~np.isfinite(candidate) & ~np.isnan(usual)] = math.inf
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinel:
    """A watch with its boundary. Make one with `calibrated`.

    Attributes
    ----------
    cap
        Most harm that a night may count for.
    jump
        Mean square of differences `STEPS` nights apart, in the stretch.
    boundary
        The sum goes off above it.
    paths : [B, NIGHTS]
        Capped, centred nights at the limit.
    """

    cap: float
    jump: float
    boundary: float
    paths: Array

    def sums(self, harm: Array) -> Array:
        """Cumulative sum after each night, [T], from `harm_beyond` [T].

        Harm counts in standard deviations of the nights up to it over the stretch's, at least 1.
        """
        known = ~np.isnan(harm)
        capped = np.minimum(harm[known], self.cap)
        found = np.zeros(len(harm))
        if len(capped):
            squares = np.square(capped[STEPS:] - capped[:-STEPS])
            reach = np.concatenate([[0.0], np.cumsum(squares)])
            stop = np.maximum(np.arange(1, len(capped) + 1) - STEPS, 0)
            start = np.maximum(stop - _RECENT, 0)
            over = (reach[stop] - reach[start]) / self.jump
            noise = np.sqrt(np.maximum(1.0, (_PRIOR + over) / (_PRIOR + stop - start)))
            after = _sums((capped / noise)[None])[0]
            places = np.cumsum(known)  # a night without a value leaves the sum as it is
            found[places > 0] = after[places[places > 0] - 1]
        return found

    def crossed(self, harm: Array) -> int | None:
        """The night, from 0, on which the watch goes off; None where it does not."""
        beyond = np.flatnonzero(self.sums(harm) > self.boundary)
        return int(beyond[0]) if len(beyond) else None

    def found_by(self, harm: float) -> int | None:
        """Night, from 1, by which harm from the start on is found on eight paths of ten.

        Parameters
        ----------
        harm
            Loss beyond the limit, in units of the legacy's usual loss.

        Returns
        -------
        int or None
            None where it takes longer than `NIGHTS`.
        """
        sums = _sums(np.minimum(self.paths + harm, self.cap))
        crossed = np.maximum.accumulate(sums, axis=1) > self.boundary
        reached = np.flatnonzero(crossed.mean(axis=0) >= 0.8)
        return int(reached[0]) + 1 if len(reached) else None


def calibrated(stretch: Array, *, streams: int, generator: np.random.Generator) -> Sentinel:
    """Set the boundary from nights before the watch.

    The largest sum in `NIGHTS` nights exceeds the boundary on `ERROR_RATE` / `streams` of the
    paths. A path joins circular blocks of the centred, capped stretch, as long as its HAC lag and
    one. Blocks miss part of the long-run variance and the stretch has only an estimate of it, so
    each path is multiplied by ``bartlett_share^-1/2 sqrt(f / chi2_f)``, f = 1.5 n / (lag + 1).

    The cap lies 2.5 robust standard deviations above the median of the stretch, moved with it when
    it is centred: a candidate that was much better in the stretch would otherwise have a cap below
    the limit, and no break could ever be seen. Cap and boundary are at least so large that a single
    session, which five nights share, cannot set off a watch over two sides that hardly differ, and
    the stretch counts as at least so noisy that any difference after it is not taken for noise.

    Parameters
    ----------
    stretch : [n]
        From `harm_beyond`, up to the watch; the last `WHOLE_STRETCH` that can be told count.
    streams
        Watches that share the error rate.

    Raises
    ------
    ValueError
        When there are fewer nights than `LEAST_STRETCH`.
    """
    known = stretch[~np.isnan(stretch)][-WHOLE_STRETCH:]
    count = len(known)
    if count < LEAST_STRETCH:
        raise ValueError(f"a stretch of {count} nights: expected {LEAST_STRETCH} or more")
    middle = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - middle)))
    capped = np.minimum(known, middle + 2.5 * spread)
    centred = capped - capped.mean()
    lag = choose_lag(capped, STEPS)
    block = lag + 1
    starts = generator.integers(count, size=(_PATHS, -(-NIGHTS // block)))
    rows = (starts[:, :, None] + np.arange(block)) % count
    freedom = 1.5 * count / block
    scale = np.sqrt(freedom / generator.chisquare(freedom, _PATHS) / bartlett_share(count, lag))
    paths = centred[rows.reshape(_PATHS, -1)[:, :NIGHTS]] * scale[:, None]
    highest = _sums(paths).max(axis=1)
    boundary = float(np.quantile(highest, 1 - ERROR_RATE / streams, method="higher"))
    return Sentinel(
        cap=max(middle + 2.5 * spread - float(capped.mean()), 2 * SLACK),
        jump=max(float(np.mean(np.square(capped[STEPS:] - capped[:-STEPS]))), (2 * SLACK) ** 2),
        boundary=max(boundary, (STEPS + 1) * SLACK),
        paths=paths,
    )


def _sums(nights: Array) -> Array:
    """Cumulative sums of paths [B, T], night by night."""
    sums, total = np.empty_like(nights), np.zeros(len(nights))
    for night in range(nights.shape[1]):
        total = np.maximum(0.0, total + nights[:, night] - SLACK)
        sums[:, night] = total
    return sums
