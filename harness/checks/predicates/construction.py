"""Building, modes, state and configuration: T1, T2, T11, T14, T18, T19, T21, T26, T27, T29, T31."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Mapping
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from harness.checks.predicate import (
    Measured,
    NotApplicableError,
    attempt,
    one_line,
    predicate,
    worst,
)
from harness.checks.predicates.input_data import shape_fault
from harness.checks.predicates.inside import (
    flags,
    levels_of,
    offers_uncertainty,
    training_loss,
    uncertain,
    width_of,
)
from harness.checks.predicates.probe import (
    ProbeBatch,
    apart,
    built,
    forecast,
    make_batch,
    quiet,
    tensor_of,
)
from harness.checks.subject import Subject

OPTIONAL = ("c_out_evaluation", "quantile_levels", "moving_avg", "n_levels", "wavelet_type")
LEVELS = [0.1, 0.5, 0.9]
SAVING = ("save_pretrained", "from_pretrained")


@predicate(
    "T11", "every parameter has a gradient after one backward pass", unit="parameters without"
)
def parameters_learn(subject: Subject) -> Measured:
    """Train for one step and look for parameters the loss does not reach."""
    model, batch = subject.build().train(), make_batch(subject.sizes, 8)
    output = tensor_of(model(*batch.inputs))
    training_loss(subject, model, output, batch.truth).backward()
    wanted = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    dead = [(name, p.numel()) for name, p in wanted if p.grad is None]
    count = sum(size for _, size in dead)
    said = f"{len(dead)} of {len(wanted)} tensors, {count} values"
    names = ", ".join(sorted({name.rsplit(".", 2)[0] for name, _ in dead})[:3])
    said += f", such as those of {names}" if dead else ""
    return Measured(value=len(dead), said=said, more={"values": count})


@predicate(
    "T14",
    "every combination of levels and widths is refused when built, or gives the right shape",
    unit="mixes",
)
def mixes_work(subject: Subject) -> Measured:
    """Try quantile levels and output widths in all combinations, with an uncertainty call.

    A network that cannot be built as it is refuses nothing: that is an error.
    """
    import torch

    built(subject)
    faults, tried, refused, inputs = [], 0, 0, subject.sizes.enc_in
    mixes: list[dict[str, Any]] = [
        {"quantile_levels": levels, "c_out": width, "c_out_evaluation": targets}
        for levels in ([], LEVELS[1:2], LEVELS)
        for targets in sorted({1, inputs})
        for width in sorted({targets, targets * max(1, len(levels))})
    ]
    for changes in mixes:
        tried += 1
        changed = subject.changed(**changes)
        model, refusal = attempt(partial(built, changed))
        if refusal:  # when built, which is what is asked for
            refused += 1
            continue
        fault = shape_fault(changed, model)
        if not fault and offers_uncertainty(changed, model):
            with torch.no_grad():
                call = partial(uncertain, changed, model, make_batch(changed.sizes, 2))
                _, stumbled = attempt(call)
            fault = f"uncertainty call: {stumbled}" if stumbled else ""
        if fault:
            width, levels = changes["c_out"], len(changes["quantile_levels"])
            faults.append(f"c_out {width}, {levels} levels: {fault}")
    if refused == tried:
        raise NotApplicableError(f"all of the {refused} combinations are refused when built")
    said = f"{len(faults)} of {tried} fail late, {refused} are refused when built"
    return Measured(value=len(faults), said="; ".join([said, *faults[:2]]))


@predicate(
    "T26",
    "stored weights restore the forecast, and their names never change",
    threshold=1e-6,
    unit="of the output's scale",
)
def weights_restore(subject: Subject) -> Measured:
    """Load one network's weights into another; compare names before and after a forecast.

    A network with `save_pretrained` and `from_pretrained` is also saved and loaded by these.
    """
    batch = make_batch(subject.sizes, 4)
    first, second = subject.build(seed=0).eval(), subject.build(seed=1).eval()
    names = list(first.state_dict())
    path = forecast(first, batch)
    grown = set(first.state_dict()) ^ set(names)
    if grown:
        said = f"a forecast changed the names: {', '.join(sorted(grown)[:3])}"
        return Measured(value=math.inf, said=said)
    try:
        second.load_state_dict(first.state_dict(), strict=True)
    except RuntimeError as problem:
        return Measured(value=math.inf, said=one_line(problem))
    gap = apart(path, forecast(second, batch))
    said = f"{len(names)} tensors stored; forecasts {gap:.2g} apart"
    if not all(callable(getattr(first, name, None)) for name in SAVING):
        return Measured(value=gap, said=said)

    def saved_and_loaded() -> float:
        with TemporaryDirectory() as folder:
            first.save_pretrained(folder)
            return apart(path, forecast(type(first).from_pretrained(folder).eval(), batch))

    saved, fault = attempt(saved_and_loaded)
    if fault:
        return Measured(value=math.inf, said=f"{said}; save_pretrained and back: {fault}")
    said += f"; by save_pretrained and back {saved:.2g} apart"
    return Measured(value=worst([gap, saved]), said=said, more={"save_pretrained": saved})


@predicate("T27", "it is called and configured like every other variant", unit="departures")
def contract_is_shared(subject: Subject) -> Measured:
    """Pass a mask in the fifth place, and leave out the fields only some variants have.

    The answer must have the form of the one without it: a tensor, or a tuple or dict of the same.
    """
    import torch

    batch, faults = make_batch(subject.sizes, 2), []
    mask = torch.ones(2, 1, subject.sizes.seq_len, subject.sizes.seq_len, dtype=torch.bool)
    model = subject.build().eval()
    with torch.no_grad():
        plain = _form(model(*batch.inputs))
        found, fault = attempt(lambda: _form(model(*batch.inputs, mask)))
    if fault:
        faults.append(f"a mask in the fifth place: {fault}")
    elif found != plain:
        faults.append("a mask in the fifth place changes what is returned")
    if subject.varies:
        fewer = {k: v for k, v in subject.config.items() if k not in OPTIONAL}
        fewer["c_out"] = subject.sizes.targets
        _, refusal = attempt(lambda: subject.build_from(subject.present(fewer)))
        faults += [f"without {', '.join(OPTIONAL)}: {refusal}"] if refusal else []
    said = "; ".join(faults) or "a mask is taken, and no field of its own is needed"
    return Measured(value=len(faults), said=said)


def _form(answer: Any) -> Any:
    """What an answer consists of: types, names and shapes, without values."""
    import torch

    if isinstance(answer, torch.Tensor):
        return tuple(answer.shape)
    if isinstance(answer, Mapping):
        return {name: _form(value) for name, value in answer.items()}
    if isinstance(answer, tuple | list):
        return [type(answer), *map(_form, answer)]
    return type(answer)


@predicate("T29", "the caller's configuration is neither changed nor read again", unit="faults")
def config_is_left_alone(subject: Subject) -> Measured:
    """Compare it before and after building, forecasting and failing; edit it afterwards."""
    if not subject.varies:
        raise NotApplicableError("it is built without a configuration")
    config, faults = subject.present(copy.deepcopy(dict(subject.config))), []
    before = copy.deepcopy(_fields(config))
    model = subject.build_from(config).eval()
    if _fields(config) != before:
        faults.append(f"building changes {_differing(before, _fields(config))}")
    edited, batch = copy.deepcopy(_fields(config)), make_batch(subject.sizes, 2)
    path = forecast(model, batch)
    if _fields(config) != edited:
        faults.append(f"forecasting changes {_differing(edited, _fields(config))}")
    for name in ("pred_len", "label_len", "seq_len"):
        half = _fields(config)[name] // 2
        if isinstance(config, Mapping):
            config[name] = half  # type: ignore[index]  # a dict, by `present`
        else:
            setattr(config, name, half)
    same, fault = attempt(lambda: bool((forecast(model, batch) == path).all()))
    if fault:
        faults.append(f"editing the lengths afterwards: {fault}")
    elif not same:
        faults.append("editing the lengths afterwards changes the forecast")
    config = subject.present({**copy.deepcopy(dict(subject.config)), "d_model": "none"})
    before = copy.deepcopy(_fields(config))
    _, failure = attempt(lambda: subject.build_from(config))
    if failure and _fields(config) != before:
        faults.append(f"a failed build changes {_differing(before, _fields(config))}")
    said = "; ".join(faults) or "unchanged by building, forecasting and failing; edits are unseen"
    return Measured(value=len(faults), said=said)


def _fields(config: Any) -> dict[str, Any]:
    return dict(config) if isinstance(config, Mapping) else dict(vars(config))


def _differing(before: dict[str, Any], after: dict[str, Any]) -> str:
    names = sorted(n for n in before.keys() | after.keys() if before.get(n) != after.get(n))
    return ", ".join(f"{name} {before.get(name)} to {after.get(name)}" for name in names)


@predicate("T31", "it can be built, called, and trained by its own loss", unit="faults")
def life_works(subject: Subject) -> Measured:
    """Build, forecast, take the loss and go backward once."""
    import torch

    batch = make_batch(subject.sizes, 2)
    held: dict[str, Any] = {}
    steps: dict[str, Callable[[dict[str, Any]], Any]] = {
        "building": lambda _: subject.build().train(),
        "forecasting": lambda done: tensor_of(done["building"](*batch.inputs)),
        "the loss": lambda done: training_loss(
            subject, done["building"], done["forecasting"], batch.truth
        ),
        "going backward": lambda done: done["the loss"].backward(),
    }
    for step, work in steps.items():
        held[step], fault = attempt(partial(work, held))
        if fault:
            return Measured(value=1, said=f"{step}: {fault}")
    model, output, loss = held["building"], held["forecasting"], held["the loss"]
    wanted = (2, subject.sizes.pred_len, width_of(subject, model))
    if tuple(output.shape) != wanted:
        return Measured(value=1, said=f"shape {list(output.shape)}, wanted {list(wanted)}")
    if not bool(torch.isfinite(output).all() and torch.isfinite(loss)):
        return Measured(value=1, said="the forecast or the loss is not finite")
    return Measured(value=0, said=f"built, called and trained; first loss {float(loss):.3g}")


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
    model = subject.build().train()
    narrow = batch.with_values(x_enc=batch.x_enc[..., :0], x_dec=batch.x_dec[..., :0])
    before = flags(model)
    for name, call in _calls(subject, model, narrow):
        attempt(call)  # it is meant to fail, in any way it likes
        if flags(model) != before:
            changed.append(f"{name} that fails")
    return Measured(value=len(changed), said=_listed("changed a flag", changed))


def _calls(subject: Subject, model: Any, batch: ProbeBatch) -> list[Call]:
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
