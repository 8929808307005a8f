"""No jumps under a smooth shift: T12."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from harness.battery.nouns import Measured, worst
from harness.battery.parts import take_its_word
from harness.battery.probe import Batch, forecast, largest, make_batch
from harness.battery.registry import predicate
from harness.battery.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

Path = Callable[[float], "Tensor"]

STEPS = 48
HALVINGS = 14
REACH = 2.0
_DECOMPOSITION = re.compile(r"decomp\d*")


@predicate(
    "T12",
    "the forecast follows a smooth shift of the history without jumps",
    threshold=1e-3,
    unit="output change",
)
def no_jumps(subject: Subject) -> Measured:
    """Shift the level of the history step by step; halve the largest step until it is nothing.

    A continuous forecast's step shrinks with the shift; what is left of it is a jump. Where
    there are decompositions, theirs tells whether they or the choice of lags make the jump.
    Rounding to tokens makes one at every edge between two.
    """
    model, batch = subject.build().eval(), make_batch(subject.sizes, 1)
    take_its_word(model, "reads_tokens")
    found = {"forecast": _jump(lambda shift: forecast(model, _shifted(subject, batch, shift)))}
    said = f"a jump of {found['forecast']:.2g} is left at a shift of {_finest():.0e}"
    trends = _decompositions(model, batch)
    if trends:
        found["decompositions"] = worst(map(_jump, trends))
        said += f"; of {found['decompositions']:.2g} in the decompositions alone"
    return Measured(value=found["forecast"], said=said, more=found)


def _finest() -> float:
    return REACH / STEPS / (1 << HALVINGS)


def _jump(path: Path) -> float:
    """The largest jump of a path over the shifts from 0 to `REACH`; NaN where the path is."""
    shifts = [REACH * index / STEPS for index in range(STEPS + 1)]
    walked = [path(shift) for shift in shifts]
    steps = [largest(b - a) for a, b in pairwise(walked)]
    if math.isnan(worst(steps)):
        return math.nan
    likely = sorted(range(STEPS), key=lambda index: -steps[index])[:4]
    left = [_left_of(path, shifts[index], shifts[index + 1]) for index in likely]
    return worst(left)


def _left_of(path: Path, low: float, high: float) -> float:
    """Halve an interval of shifts towards its larger change; the change that is left."""
    first, last = path(low), path(high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        between = path(middle)
        if largest(between - first) > largest(last - between):
            high, last = middle, between
        else:
            low, first = middle, between
    return largest(last - first)


def _shifted(subject: Subject, batch: Batch, shift: float) -> Batch:
    """Raise the whole history, in both inputs, by a level."""
    x_dec = batch.x_dec.clone()
    x_dec[:, : subject.sizes.label_len] += shift
    return batch.with_values(x_enc=batch.x_enc + shift, x_dec=x_dec)


def _decompositions(model: Any, batch: Batch) -> list[Path]:
    """The first part of each decomposition, as a path over shifts of what it was called with."""
    import torch

    called: dict[Any, Tensor] = {}
    named = [m for n, m in model.named_modules() if _DECOMPOSITION.fullmatch(n.rsplit(".")[-1])]

    def keep(module: Any, args: tuple[Any, ...]) -> None:
        if args and isinstance(args[0], torch.Tensor):
            called[module] = args[0].detach()

    handles = [module.register_forward_pre_hook(keep) for module in named]
    forecast(model, batch)
    for handle in handles:
        handle.remove()

    def path_of(module: Any, x: Tensor) -> Path:
        def path(shift: float) -> Tensor:
            with torch.no_grad():
                first: Tensor = module(x + shift)[0]
            return first

        return path

    return [path_of(module, x) for module, x in called.items()]
