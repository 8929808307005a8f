"""Batch mates, modes and randomness: T1, T2, T18, T19, T21."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.battery.guard import attempt
from harness.battery.nouns import Measured, NotApplicableError, worst
from harness.battery.parts import flags, levels_of, offers_uncertainty, uncertain
from harness.battery.probe import Batch, apart, forecast, make_batch, quiet
from harness.battery.registry import predicate
from harness.battery.subject import Subject

SCALE = "of the output's scale"
Call = tuple[str, Callable[[], Any]]


@predicate("T1", "a forecast does not depend on its batch mates", threshold=1e-5, unit=SCALE)
def batch_mates(subject: Subject) -> Measured:
    """Compare each sample's forecast in a batch with its forecast alone, in both modes."""
    import torch

    model, batch, found = quiet(subject), make_batch(subject.sizes, 8), dict[str, float]()
    for mode in ("eval", "train"):
        model.train(mode == "train")
        together = forecast(model, batch)
        if mode == "train" and apart(together, forecast(model, batch, seed=1)) > 0:
            break  # it draws at random in training: what differs may be the draws
        alone = [forecast(model, batch.rows(i, i + 1)) for i in range(len(together))]
        found[mode] = apart(together, torch.cat(alone))
    gaps = ", ".join(f"{gap:.2g} apart in {mode}" for mode, gap in found.items())
    said = f"alone and in a batch of 8: {gaps}; dropout off"
    return Measured(value=worst(found.values()), said=said, more=found)


@predicate(
    "T2", "without dropout, training forecasts as evaluation does", threshold=1e-5, unit=SCALE
)
def train_is_eval(subject: Subject) -> Measured:
    """Compare the forecasts of the two modes, dropout off."""
    model, batch = quiet(subject), make_batch(subject.sizes, 8)
    model.train()
    trained, again = forecast(model, batch, seed=1), forecast(model, batch, seed=2)
    if apart(trained, again) > 0:
        raise NotApplicableError("a training pass draws random numbers even without dropout")
    model.eval()
    gap = apart(trained, forecast(model, batch, seed=1))
    return Measured(value=gap, said=f"train and eval are {gap:.2g} apart at dropout 0")


@predicate("T18", "the point forecast in eval is not random", threshold=1e-6, unit=SCALE)
def point_is_fixed(subject: Subject) -> Measured:
    """Forecast twice in eval under different seeds."""
    model, batch = subject.build().eval(), make_batch(subject.sizes, 8)
    gap = apart(forecast(model, batch, seed=1), forecast(model, batch, seed=2))
    return Measured(value=gap, said=f"two eval passes under different seeds are {gap:.2g} apart")


@predicate("T19", "evaluating leaves the global generators alone", unit="calls that move one")
def generators_stay(subject: Subject) -> Measured:
    """Compare the states of all global generators before and after each evaluation call."""
    model, batch = subject.build().eval(), make_batch(subject.sizes, 2)
    moved = []
    for name, call in _calls(subject, model, batch):
        before = generator_states()
        call()
        if generator_states() != before:
            moved.append(name)
    return Measured(value=len(moved), said=_listed("moved a global generator", moved))


@predicate("T21", "a forecast leaves every training flag as it was", unit="calls that change one")
def flags_stay(subject: Subject) -> Measured:
    """Compare training flags before and after each call, in each mode, and after a failure."""
    batch, changed = make_batch(subject.sizes, 2), []
    for mode in ("train", "eval", "train, one part frozen"):
        for index, name in enumerate(name for name, _ in _calls(subject, subject.build(), batch)):
            model = subject.build().train(mode != "eval")
            if "frozen" in mode:
                list(model.modules())[-1].eval()
            before = flags(model)
            _calls(subject, model, batch)[index][1]()
            if flags(model) != before:
                changed.append(f"{name} in {mode}")
    changed += _after_failure(subject, batch)
    return Measured(value=len(changed), said=_listed("changed a flag", changed))


def _after_failure(subject: Subject, batch: Batch) -> list[str]:
    """Calls that fail on inputs too narrow and leave another flag behind."""
    changed = []
    model = subject.build().train()
    narrow = batch.with_values(x_enc=batch.x_enc[..., :0], x_dec=batch.x_dec[..., :0])
    before = flags(model)
    for name, call in _calls(subject, model, narrow):
        attempt(call)  # it is meant to fail, in any way it likes
        if flags(model) != before:
            changed.append(f"{name} that fails")
    return changed


def _calls(subject: Subject, model: Any, batch: Batch) -> list[Call]:
    """Every public way to a forecast the network has."""
    import torch

    def plain(call: Callable[[], Any]) -> Callable[[], Any]:
        return torch.no_grad()(call)

    calls: list[Call] = [("forecast", plain(lambda: model(*batch.inputs)))]
    if offers_uncertainty(subject, model):
        calls.append(("uncertainty call", plain(lambda: uncertain(subject, model, batch))))
    if callable(getattr(model, "predict_quantiles", None)) and levels_of(subject, model):
        calls.append(("predict_quantiles", plain(lambda: model.predict_quantiles(batch.inputs))))
    return calls


def generator_states() -> tuple[Any, ...]:
    """States of the global generators: Python's, numpy's, torch's where it is loaded."""
    import sys

    own: Any = np.random.get_state(legacy=True)  # noqa: NPY002  # the global state is the point
    state: tuple[Any, ...] = (random.getstate(), own[1].tobytes(), *own[2:])
    torch = sys.modules.get("torch")
    return state if torch is None else (*state, torch.get_rng_state().numpy().tobytes())


def _listed(what: str, names: list[str]) -> str:
    return f"{what}: {', '.join(names)}" if names else f"no call {what}"
