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

from harness.arm import Arm, Learns, Samples
from harness.battery.arms import (
    FIT_AT,
    HORIZON,
    VALIDATION,
    ArmSubject,
    contexts_for,
    fit_context,
    gap_of,
    made_up_series,
    seed_all,
)
from harness.battery.guard import attempt
from harness.battery.modes import generator_states
from harness.battery.nouns import Measured, NotApplicableError
from harness.battery.registry import predicate
from harness.forecast import Forecast
from harness.window import Context, Series

SHARE = "of the price"
ORIGINS = (FIT_AT, FIT_AT + 7, FIT_AT + 19, FIT_AT + 40)


def _forecast(arm: Arm, *origins: int, series: Series | None = None, seed: int = 0) -> Forecast:
    seed_all(seed)
    if isinstance(arm, Samples):
        arm.seed(1)
    return arm.forecast(contexts_for(arm, *origins, series=series))


@predicate(
    "T1", "a forecast does not depend on its batch mates", threshold=1e-5, unit=SHARE, on="arm"
)
def batch_mates(subject: ArmSubject) -> Measured:
    """Compare each window's forecast in a batch with its forecast alone."""
    arm = subject.fitted()
    if isinstance(arm, Samples) and arm.draws:
        raise NotApplicableError("it draws random numbers, in an order the batch decides")
    together = _forecast(arm, *ORIGINS)
    gaps = [
        gap_of(_row(together, index), _forecast(arm, origin))
        for index, origin in enumerate(ORIGINS)
    ]
    return Measured(value=max(gaps), said=f"alone and in a batch of {len(gaps)}: {max(gaps):.2g}")


def _row(forecast: Forecast, index: int) -> Forecast:
    part = slice(index, index + 1)
    quantiles = None if forecast.quantiles is None else forecast.quantiles[part]
    return (
        Forecast(point=forecast.point[part], levels=forecast.levels, quantiles=quantiles)
        if (forecast.samples is None)
        else Forecast.of_point(forecast.point[part])
    )


@predicate(
    "T10",
    "later sessions the arm has seen change no forecast",
    threshold=1e-5,
    unit=SHARE,
    on="arm",
)
def blind_to_future(subject: ArmSubject) -> Measured:
    """Forecast an early origin before, beside and after late ones, whose contexts hold its truth.

    An arm that draws in an order the batch decides is not asked beside them.
    """
    arm, late = subject.fitted(), (FIT_AT + HORIZON, FIT_AT + 40)
    before = _forecast(arm, FIT_AT)
    together = _row(_forecast(arm, FIT_AT, *late), 0)
    after = gap_of(before, _forecast(arm, FIT_AT))
    beside = 0.0 if isinstance(arm, Samples) and arm.draws else gap_of(before, together)
    said = f"beside later contexts the forecast is {beside:.2g} away, after them {after:.2g}"
    return Measured(value=max(beside, after), said=said)


@predicate(
    "T18",
    "the point forecast is not random beyond its declared seed",
    threshold=1e-6,
    unit=SHARE,
    on="arm",
)
def point_is_fixed(subject: ArmSubject) -> Measured:
    """Forecast twice under different global seeds, with the arm's own seed where it has one."""
    arm = subject.fitted()
    gap = gap_of(_forecast(arm, *ORIGINS, seed=1), _forecast(arm, *ORIGINS, seed=2))
    return Measured(value=gap, said=f"two forecasts under different global seeds: {gap:.2g}")


@predicate(
    "T19", "forecasting leaves the global generators alone", unit="calls that move one", on="arm"
)
def generators_stay(subject: ArmSubject) -> Measured:
    """Compare the states of the global generators before and after a forecast."""
    arm = subject.fitted()
    contexts = contexts_for(arm, *ORIGINS)
    before = generator_states()
    arm.forecast(contexts)
    moved = generator_states() != before
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
    _forecast(arm, FIT_AT)  # whatever it loads late is there now
    parts = [part for module in _modules(arm, depth=3) for part in module.modules()]
    if not parts:
        raise NotApplicableError("no torch module is found among its attributes")
    original, changed = [part.training for part in parts], list[str]()
    for mode in ("train", "eval"):
        for name, series in (("a forecast", made_up_series()), ("one on NaN", _nothing())):
            _set(parts, [mode == "train"] * len(parts))
            ask = partial(_forecast, arm, FIT_AT, series=series)
            attempt(ask) if "NaN" in name else ask()  # NaN may be refused
            if any(part.training != (mode == "train") for part in parts):
                changed.append(f"{name} in {mode}")
    _set(parts, original)
    said = f"changed by {', '.join(changed)}" if changed else "no forecast changes one"
    return Measured(value=len(changed), said=said)


def _set(parts: list[Any], training: list[bool]) -> None:
    for part, flag in zip(parts, training, strict=True):
        part.training = flag


def _nothing() -> Series:
    series = made_up_series()
    return dataclasses.replace(series, target=np.full(len(series), np.nan))


def _modules(value: Any, *, depth: int) -> Iterator[Any]:
    """Torch modules among the attributes of an object, and of their attributes."""
    torch = sys.modules.get("torch")
    if torch is None or depth == 0:
        return
    for held in _attributes(value):
        if isinstance(held, torch.nn.Module):
            yield held
        elif hasattr(held, "__dict__") and not isinstance(held, type) and not callable(held):
            yield from _modules(held, depth=depth - 1)


def _attributes(value: Any) -> list[Any]:
    names = list(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    return [getattr(value, name, None) for name in names]


@predicate(
    "T23",
    "quantiles never cross",
    unit="share of neighbours that cross",
    needs="quantiles",
    on="arm",
)
def quantiles_in_order(subject: ArmSubject) -> Measured:
    """Count the crossings of one batch of forecasts."""
    found = _forecast(subject.fitted(), *ORIGINS).quantiles
    if found is None or found.shape[-1] < 2:
        raise NotApplicableError("it gives no quantiles")
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
        arm.fit(fit_context(), seed=1)
    first = _forecast(arm, FIT_AT)
    if options != before:
        faults.append("its options are changed")
    for value in options.values():
        if isinstance(value, list | dict):
            value.clear()
    options.clear()
    gap, fault = attempt(lambda: gap_of(first, _forecast(arm, FIT_AT)))
    if fault:
        faults.append(f"emptying its options afterwards: {fault}")
    elif gap > 0:
        faults.append("emptying its options afterwards changes the forecast")
    return Measured(value=len(faults), said="; ".join(faults) or "options are left alone")


@predicate("T31", "it can be built, loaded, fitted, and asked", unit="faults", on="arm")
def life_works(subject: ArmSubject) -> Measured:
    """Go through an arm's life once."""
    found, fault = attempt(lambda: _forecast(subject.fitted(), *ORIGINS))
    if fault:
        return Measured(value=1, said=fault)
    wanted = (len(ORIGINS), HORIZON)
    if found.point.shape != wanted:
        return Measured(value=1, said=f"shape {list(found.point.shape)}, wanted {list(wanted)}")
    if not found.finite.all():
        return Measured(value=1, said="a forecast is not finite")
    return Measured(value=0, said=f"built, fitted and asked for {len(ORIGINS)} windows")


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
    found = _forecast(arm, *ORIGINS).point
    last = contexts_for(arm, *ORIGINS).last[:, None]
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
    arm, context = subject.fresh(), fit_context()
    if not isinstance(arm, Learns):
        raise NotApplicableError("it does not learn")
    done, refusal = attempt(lambda: arm.fit(_spoiled(context), seed=1))
    if refusal:  # a sound answer
        return Measured(value=0, said=f"it refuses to fit: {refusal}")
    if not done.curve:
        raise NotApplicableError("it reports no training curve")
    losses = {row.epoch: row.validation_loss for row in done.curve}
    if all(map(math.isfinite, losses.values())):
        raise NotApplicableError("its validation loss stays finite where the target is NaN")
    kept = losses.get(done.best_epoch) if done.best_epoch is not None else None
    fault = kept is not None and not math.isfinite(kept)
    return Measured(value=float(fault), said=f"kept epoch {done.best_epoch}, its loss {kept}")


def _spoiled(context: Context) -> Context:
    """The same with NaN in the later half of the validation span."""
    target = context.target.copy()
    target[-VALIDATION // 2 :] = np.nan
    return dataclasses.replace(context, target=target)


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
    arm, series = subject.fitted(), made_up_series()
    tripled = dataclasses.replace(series, target=3.0 * series.target)
    gap = gap_of(_forecast(arm, *ORIGINS), _forecast(arm, *ORIGINS, series=tripled))
    return Measured(value=gap, said=f"tripling the history changes the forecast by {gap:.2g}")
