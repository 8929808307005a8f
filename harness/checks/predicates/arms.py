"""The predicates that make sense on the arm contract alone."""

from __future__ import annotations

import copy
import dataclasses
import math
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.arm import Arm, Learns, Samples, expect_answer, training_of
from harness.checks.arm_subject import (
    NO_NUMBERS,
    ArmSubject,
    expect_numbers,
    gap_of,
    seed_all,
)
from harness.checks.predicate import Measured, NotApplicableError, attempt, predicate
from harness.checks.predicates.construction import generator_states
from harness.forecast import Forecast
from harness.window import Contexts, Series

SHARE = "of the price"
BATCH = 16
"""Windows at once where batch mates matter: some arms look at those of a large batch only."""
SAME = 1e-5
"""Forecasts that are no farther apart are the same."""
_FIRST = slice(0, 1)


def _origins(subject: ArmSubject, arm: Arm) -> tuple[int, ...]:
    return tuple(subject.first_origin(arm) + later for later in (0, 7, 19, 40))


def _forecast(
    subject: ArmSubject, arm: Arm, *origins: int, series: Series | None = None, seed: int = 0
) -> Forecast:
    return _answer(arm, subject.contexts(arm, *origins, series=series), seed=seed)


def _answer(arm: Arm, contexts: Contexts, *, seed: int = 0) -> Forecast:
    """Ask under a seed; again where the arm loaded torch only now, whose generator had none."""
    early = "torch" not in sys.modules
    seed_all(seed)
    if isinstance(arm, Samples):
        arm.seed(1)
    found = arm.forecast(contexts)
    expect_answer(found, contexts)
    return _answer(arm, contexts, seed=seed) if early and "torch" in sys.modules else found


@predicate(
    "T1", "a forecast does not depend on its batch mates", threshold=SAME, unit=SHARE, on="arm"
)
def batch_mates(subject: ArmSubject) -> Measured:
    """Compare each window's forecast in a batch with its forecast alone."""
    arm = subject.fitted()
    if isinstance(arm, Samples) and arm.draws:
        raise NotApplicableError("it draws random numbers, in an order the batch decides")
    origins = _origins(subject, arm)
    together = _forecast(subject, arm, *origins)
    gaps = [
        gap_of(together.part(slice(index, index + 1)), _forecast(subject, arm, origin))
        for index, origin in enumerate(origins)
    ]
    return Measured(value=max(gaps), said=f"alone and in a batch of {len(gaps)}: {max(gaps):.2g}")


@predicate(
    "T10",
    "later sessions the arm has seen change no forecast",
    threshold=SAME,
    unit=SHARE,
    on="arm",
)
def blind_to_future(subject: ArmSubject) -> Measured:
    """Forecast an early origin before, beside and after late ones, whose contexts hold its truth.

    Beside them it is asked twice, with other values in their later sessions: so the order in which
    an arm draws random numbers is the same, and its own context too.
    """
    arm = subject.fitted()
    early = subject.first_origin(arm)
    before = _forecast(subject, arm, early)
    if not before.finite.all():
        among = _answer(arm, subject.contexts(arm, early, *_later(subject, early)))
        if among.finite.all():
            return Measured(value=math.inf, said="it answers beside later contexts, and not alone")
    if gap_of(before, _forecast(subject, arm, early)) > SAME:
        raise NotApplicableError("it answers the same question differently each time")
    batch = subject.contexts(arm, early, *_later(subject, early))
    later = batch.dates > batch.dates[0, -1]
    beside = _answer(arm, batch).part(_FIRST)
    told = gap_of(beside, _answer(arm, _with_others(batch, later)).part(_FIRST))
    seed_all(0)
    declared = isinstance(arm, Samples) and arm.draws
    if declared or _moves_a_generator(arm, subject.contexts(arm, early)):
        if told > SAME and _beside_earlier(subject, arm, early) > SAME:
            raise NotApplicableError("its batch mates decide what it draws, later ones or not")
    else:
        told = max(told, gap_of(before, beside))
    after = gap_of(before, _forecast(subject, arm, early))
    said = f"beside later contexts the forecast is {told:.2g} away, after them {after:.2g}"
    return Measured(value=max(told, after), said=said)


def _later(subject: ArmSubject, early: int) -> list[int]:
    """Origins whose contexts hold the truth of an early one: as many as make a batch."""
    return [early + subject.horizon + 2 * number for number in range(BATCH - 1)]


def _beside_earlier(subject: ArmSubject, arm: Arm, early: int) -> float:
    """How far other values in batch mates move a forecast where none of them holds its truth."""
    mates_at = [early - subject.horizon - 2 * number for number in range(BATCH - 1)]
    batch = subject.contexts(arm, early, *mates_at)
    mates = np.zeros(batch.dates.shape, dtype=bool)
    mates[1:] = np.isfinite(batch.target[1:])
    pair = [_answer(arm, each).part(_FIRST) for each in (batch, _with_others(batch, mates))]
    return gap_of(*pair)


def _with_others(contexts: Contexts, where: npt.NDArray[np.bool_]) -> Contexts:
    """The same with other values in some sessions."""
    rng = np.random.default_rng(1)
    target, past = contexts.target.copy(), contexts.past.copy()
    target[where] *= np.exp(0.3 * rng.standard_normal(int(where.sum())))
    past[where] += rng.standard_normal(past[where].shape)
    target.flags.writeable = past.flags.writeable = False
    return dataclasses.replace(contexts, target=target, past=past)


def _moves_a_generator(arm: Arm, contexts: Contexts) -> bool:
    """Whether a forecast draws from a global generator."""
    before = generator_states()
    arm.forecast(contexts)
    return generator_states() != before


@predicate(
    "T18",
    "the forecast is not random beyond its declared seed",
    threshold=1e-6,
    unit=SHARE,
    on="arm",
)
def point_is_fixed(subject: ArmSubject) -> Measured:
    """Forecast twice under different global seeds, with the arm's own seed where it has one."""
    arm = subject.fitted()
    gap = gap_of(
        _forecast(subject, arm, *_origins(subject, arm), seed=1),
        _forecast(subject, arm, *_origins(subject, arm), seed=2),
    )
    return Measured(value=gap, said=f"two forecasts under different global seeds: {gap:.2g}")


@predicate(
    "T19", "forecasting leaves the global generators alone", unit="calls that move one", on="arm"
)
def generators_stay(subject: ArmSubject) -> Measured:
    """Compare the states of the global generators before and after a forecast."""
    arm = subject.fitted()
    contexts = subject.contexts(arm, *_origins(subject, arm))
    _answer(arm, contexts)  # whatever it loads late is there now
    moved = _moves_a_generator(arm, contexts)
    said = "a forecast moves a global generator" if moved else "a forecast moves none"
    return Measured(value=float(moved), said=said)


@predicate(
    "T21",
    "a forecast leaves every training flag as it was",
    unit="forecasts that change one",
    needs="a torch module inside",
    on="arm",
)
def flags_stay(subject: ArmSubject) -> Measured:
    """Compare flags before and after a forecast and one on NaN, from train and from eval."""
    arm = subject.fitted()
    at = subject.first_origin(arm)
    _forecast(subject, arm, at)  # whatever it loads late is there now
    parts = [part for module in _modules(arm, depth=3) for part in module.modules()]
    if not parts:
        raise NotApplicableError("no torch module is found among its attributes")
    original, changed = [part.training for part in parts], list[str]()
    whole = subject.series(arm)
    nothing = dataclasses.replace(whole, target=np.full(len(whole), np.nan))
    for mode in ("train", "eval"):
        for name, series in (("a forecast", whole), ("one on NaN", nothing)):
            _set(parts, [mode == "train"] * len(parts))
            ask = partial(_forecast, subject, arm, at, series=series)
            attempt(ask) if "NaN" in name else ask()  # NaN may be refused
            if any(part.training != (mode == "train") for part in parts):
                changed.append(f"{name} in {mode}")
    _set(parts, original)
    said = f"changed by {', '.join(changed)}" if changed else "no forecast changes one"
    return Measured(value=len(changed), said=said)


def _set(parts: list[Any], training: list[bool]) -> None:
    for part, flag in zip(parts, training, strict=True):
        part.training = flag


def _modules(value: Any, *, depth: int) -> Iterator[Any]:
    """Torch modules among the attributes of an object, and of their attributes."""
    torch = sys.modules.get("torch")
    if torch is None or depth == 0:
        return
    names = list(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    for held in [getattr(value, name, None) for name in names]:
        if isinstance(held, torch.nn.Module):
            yield held
        elif hasattr(held, "__dict__") and not isinstance(held, type) and not callable(held):
            yield from _modules(held, depth=depth - 1)


@predicate(
    "T23",
    "quantiles never cross",
    unit="share of neighbours that cross",
    needs="quantiles",
    on="arm",
)
def quantiles_in_order(subject: ArmSubject) -> Measured:
    """Count the crossings of one batch of forecasts."""
    arm = subject.fitted()
    found = _forecast(subject, arm, *_origins(subject, arm)).quantiles
    if found is None or found.shape[-1] < 2:
        raise NotApplicableError("it gives no quantiles")
    if not np.isfinite(found).all():
        raise NotApplicableError(NO_NUMBERS)
    share = float((np.diff(found, axis=-1) < 0).mean())
    return Measured(value=share, said=f"{100 * share:.1f} % of neighbours cross")


@predicate(
    "T29", "the caller's options are neither changed nor read again", unit="faults", on="arm"
)
def options_are_left_alone(subject: ArmSubject) -> Measured:
    """Compare them before and after a life; empty them and forecast again."""
    options, faults = copy.deepcopy(dict(subject.options)), []
    before = copy.deepcopy(options)
    arm = subject.fresh(options)
    if isinstance(arm, Learns):
        arm.fit(subject.fit_context(arm), seed=1)
    at = subject.first_origin(arm)
    first = _forecast(subject, arm, at)
    if options != before:
        faults.append("its options are changed")
    for value in options.values():
        if isinstance(value, list | dict):
            value.clear()
    options.clear()
    gap, fault = attempt(lambda: gap_of(first, _forecast(subject, arm, at)))
    if fault:
        faults.append(f"emptying its options afterwards: {fault}")
    elif gap > 0:
        faults.append("emptying its options afterwards changes the forecast")
    return Measured(value=len(faults), said="; ".join(faults) or "options are left alone")


@predicate("T31", "it can be built, loaded, fitted and run", unit="faults", on="arm")
def life_works(subject: ArmSubject) -> Measured:
    """Go through an arm's life once."""
    arm, fault = attempt(subject.fitted)
    if fault:
        return Measured(value=1, said=fault)
    origins = _origins(subject, arm)
    found, fault = attempt(lambda: _forecast(subject, arm, *origins))
    if fault:
        return Measured(value=1, said=fault)
    wanted = (len(origins), subject.horizon)
    if found.point.shape != wanted:
        return Measured(value=1, said=f"shape {list(found.point.shape)}, wanted {list(wanted)}")
    if not found.finite.all():
        return Measured(value=1, said="a forecast is not finite")
    return Measured(value=0, said=f"built, fitted and run on {len(origins)} windows")


@predicate(
    "T32",
    "it forecasts the target's column, not another",
    threshold=math.log(2),
    unit="log of forecast over last target",
    on="arm",
)
def forecasts_target(subject: ArmSubject) -> Measured:
    """Compare the forecast with the target near 100; the only other column is near 0."""
    arm = subject.fitted()
    found = expect_numbers(_forecast(subject, arm, *_origins(subject, arm))).point
    last = subject.contexts(arm, *_origins(subject, arm)).last[:, None]
    with np.errstate(all="ignore"):
        away = float(np.abs(np.log(found / last)).max())
    middle = float(np.median(found))
    return Measured(
        value=away, said=f"median forecast {middle:.4g}, median target {np.median(last):.4g}"
    )


@predicate(
    "T33",
    "a validation loss of NaN never becomes the best",
    unit="faults",
    needs="an arm that learns",
    on="arm",
)
def nan_is_never_best(subject: ArmSubject) -> Measured:
    """Fit with NaN in the validation span's target; see which epoch is kept."""
    arm = subject.fresh()
    if not isinstance(arm, Learns):
        raise NotApplicableError("it does not learn")
    whole = subject.fit_context(arm)
    target = whole.target.copy()
    target[-subject.validation // 2 :] = np.nan  # the later half of the validation span
    context = dataclasses.replace(whole, target=target)
    returned, refusal = attempt(lambda: arm.fit(context, seed=1))
    if refusal:  # a sound answer
        return Measured(value=0, said=f"it refuses to fit: {refusal}")
    done = training_of(returned)
    if not done.curve:
        raise NotApplicableError("it reports no training curve")
    losses = {row.epoch: row.validation_loss for row in done.curve}
    if all(map(math.isfinite, losses.values())):
        raise NotApplicableError("its validation loss stays finite where the target is NaN")
    kept = losses.get(done.best_epoch) if done.best_epoch is not None else None
    fault = kept is not None and not math.isfinite(kept)
    return Measured(value=float(fault), said=f"kept epoch {done.best_epoch}, its loss {kept}")


@predicate(
    "T34",
    "the forecast depends on the history",
    limit="at least",
    threshold=1e-6,
    unit=SHARE,
    on="arm",
)
def reads_history(subject: ArmSubject) -> Measured:
    """Triple every price of the history."""
    arm = subject.fitted()
    series = subject.series(arm)
    tripled = dataclasses.replace(series, target=3.0 * series.target)
    gap = gap_of(
        _forecast(subject, arm, *_origins(subject, arm)),
        _forecast(subject, arm, *_origins(subject, arm), series=tripled),
    )
    return Measured(value=gap, said=f"tripling the history changes the forecast by {gap:.2g}")
