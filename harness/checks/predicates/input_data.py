"""What a forecast reads, and how it follows: T5, T7, T9, T10, T12, T13, T28, T32 to T34."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.checks.predicate import (
    SEVERAL,
    Measured,
    NotApplicableError,
    attempt,
    predicate,
    worst,
)
from harness.checks.predicates.inside import part, take_its_word, training_loss, width_of
from harness.checks.predicates.probe import (
    ProbeBatch,
    apart,
    built,
    calls_of,
    constant_batch,
    forecast,
    largest,
    make_batch,
    quiet,
    tensor_of,
)
from harness.checks.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor


SWEEP = tuple((length, case) for length in (4, 7, 8, 12, 16, 33, 48, 97, 100) for case in (0, 1, 2))
"""History lengths; label lengths are half of it, all of it, and 15 more."""

LEVEL = 2.0


@predicate("T5", "every length is refused when built, or gives the right shape", unit="sizes")
def lengths_work(subject: Subject) -> Measured:
    """Build and call at short, odd and long histories and at labels beyond the history.

    A network that cannot be built at its own length refuses nothing: that is an error.
    """
    built(subject)
    faults, refused = [], 0
    for length, case in SWEEP:
        label = (max(1, length // 2), length, length + 15)[case]
        changed = subject.changed(seq_len=length, label_len=label)
        model, refusal = attempt(partial(built, changed))
        if refusal:  # when built, which is what is asked for
            refused += 1
            continue
        fault = shape_fault(changed, model)
        if fault:
            faults.append(f"seq_len {length}, label_len {label}: {fault}")
    if refused == len(SWEEP):
        raise NotApplicableError(f"all of the {refused} sizes are refused when built")
    said = f"{len(faults)} of {len(SWEEP)} sizes fail late, {refused} are refused when built"
    return Measured(value=len(faults), said="; ".join([said, *faults[:2]]))


def shape_fault(subject: Subject, model: Any) -> str:
    """What is wrong with the shape of a forecast of two samples; empty when nothing is."""
    found, fault = attempt(lambda: tuple(forecast(model, make_batch(subject.sizes, 2)).shape))
    if fault:
        return fault
    wanted = (2, subject.sizes.pred_len, width_of(subject, model))
    return "" if found == wanted else f"shape {list(found)}, wanted {list(wanted)}"


@predicate(
    "T7",
    "known future covariates change the forecast",
    limit="at least",
    threshold=1e-4,
    unit="output change",
    needs="covariate channels",
)
def covariates_matter(subject: Subject) -> Measured:
    """Change the horizon rows of the covariates in x_dec and nothing else."""
    import torch

    subject = subject.with_covariates()
    model, refusal = attempt(partial(built, subject))
    if refusal:
        raise NotApplicableError(f"it cannot be built with covariates: {refusal}")
    take_its_word(model, "reads_covariates")
    sizes, batch = subject.sizes, make_batch(subject.sizes, 8)
    x_dec = batch.x_dec.clone()
    future = x_dec[:, sizes.label_len :, sizes.targets :]
    future += torch.randn(future.shape, generator=torch.Generator().manual_seed(7))
    change = _change(model, batch, batch.with_values(x_dec=x_dec))
    return Measured(value=change, said=f"mean output change {change:.2g} for unit noise on them")


@predicate(
    "T9", "a history at a constant level is continued at that level", threshold=0.02, unit="levels"
)
def level_goes_on(subject: Subject) -> Measured:
    """Raise one target's constant history by a level and read the forecast's shift."""
    import torch

    model, sizes = subject.build().eval(), subject.sizes
    if sizes.levels or width_of(subject, model) != sizes.targets:
        raise NotApplicableError("its output axis is quantiles, not targets")
    base = forecast(model, constant_batch(sizes, 0.0, 0))
    gaps, gains = list[float](), list[float]()
    for channel in range(min(sizes.targets, 4)):
        raised = forecast(model, constant_batch(sizes, LEVEL, channel))
        shift = ((raised - base).mean((0, 1)) / LEVEL)[: sizes.targets]
        wanted = torch.zeros_like(shift)
        wanted[channel] = 1.0
        gaps.append(largest(shift - wanted))
        gains.append(float(shift[channel]))
    gain, away = sum(gains) / len(gains), worst(gaps)
    said = f"mean gain {gain:.3f} where it is 1, farthest shift {away:.3f} from where it should be"
    return Measured(value=away, said=said, more={"gain": gain})


@predicate(
    "T10", "the horizon's target rows of x_dec are never read", threshold=1e-5, unit="output change"
)
def blind_to_truth(subject: Subject) -> Measured:
    """Overwrite them with noise."""
    import torch

    model, sizes = subject.build().eval(), subject.sizes
    batch = make_batch(sizes, 8)
    x_dec = batch.x_dec.clone()
    rows = x_dec[:, sizes.label_len :, : sizes.targets]
    rows.copy_(torch.randn(rows.shape, generator=torch.Generator().manual_seed(7)))
    change = _change(model, batch, batch.with_values(x_dec=x_dec))
    return Measured(value=change, said=f"mean output change {change:.2g} for unit noise on them")


@predicate(
    "T13",
    "the history reaches the forecast",
    limit="at least",
    threshold=0.01,
    unit="output change for unit noise on x_enc",
    draws=SEVERAL,
)
def history_matters(subject: Subject) -> Measured:
    """Put unit noise on x_enc alone and on x_dec's label history alone; compare gradients."""
    import torch

    model, sizes = subject.build().eval(), subject.sizes
    batch, generator = make_batch(sizes, 16), torch.Generator().manual_seed(7)
    noisy = batch.x_enc + torch.randn(batch.x_enc.shape, generator=generator)
    label = batch.x_dec.clone()
    rows = label[:, : sizes.label_len]
    rows += torch.randn(rows.shape, generator=generator)
    found = {
        "x_enc": _change(model, batch, batch.with_values(x_enc=noisy)),
        "x_dec": _change(model, batch, batch.with_values(x_dec=label)),
    }
    model = quiet(subject).train()
    sides = [part(model, name) for name in ("encoder", "decoder")]
    if all(side is not None and list(side.parameters()) for side in sides):
        training_loss(subject, model, tensor_of(model(*batch.inputs)), batch.truth).backward()
        given = [[p.grad for p in s.parameters() if p.grad is not None] for s in sides]
        encoder, decoder = (sum(float(g.square().sum()) for g in side) ** 0.5 for side in given)
        if decoder > 0:
            found["gradients"] = encoder / decoder
    said = f"output change {found['x_enc']:.2g} for x_enc, {found['x_dec']:.2g} for x_dec"
    if "gradients" in found:
        said += f"; gradient norm of encoder over decoder {found['gradients']:.2g}"
    return Measured(value=found["x_enc"], said=said, more=found)


@predicate(
    "T28",
    "the steps of the horizon vary independently",
    limit="at least",
    threshold=1.0,
    unit="rank over horizon",
)
def full_rank(subject: Subject) -> Measured:
    """Count the singular values of the first channel's forecasts over many inputs."""
    import torch

    model, sizes = subject.build().eval(), subject.sizes
    paths = forecast(model, make_batch(sizes, 4 * sizes.pred_len + 8))[..., 0].double()
    values = torch.linalg.svdvals(paths - paths.mean(0))
    rank = int((values > 1e-5 * values[0]).sum())
    said = f"numerical rank {rank} of {sizes.pred_len} steps"
    return Measured(value=rank / sizes.pred_len, said=said, more={"rank": rank})


@predicate(
    "T34",
    "the forecast depends on the history",
    limit="at least",
    threshold=1e-6,
    unit="of the output's scale",
)
def reads_history(subject: Subject) -> Measured:
    """Scale x_enc by 100 and nothing else, under the same seed."""
    model, batch = subject.build().eval(), make_batch(subject.sizes, 4)
    scaled = batch.with_values(x_enc=100.0 * batch.x_enc)
    gap = apart(forecast(model, batch), forecast(model, scaled))
    return Measured(value=gap, said=f"scaling x_enc by 100 changes the forecast by {gap:.2g}")


def _change(model: Any, batch: ProbeBatch, other: ProbeBatch) -> float:
    """Mean absolute change of the forecast, the same draws in both."""
    change: Tensor = forecast(model, other) - forecast(model, batch)
    return float(change.abs().mean())


NAMES = ("open", "high", "low", "close")
TARGET = "close"
LOSSES = (0.9, 0.5, math.nan, 0.7, math.nan)


@predicate(
    "T32",
    "the truth is the target's column, wherever it stands in the file",
    unit="columns away",
    needs="the hook `truth_column`",
)
def truth_is_target(subject: Subject) -> Measured:
    """Give a table whose target stands last and see which column comes back as truth."""
    if subject.hooks.truth_column is None:
        raise NotApplicableError(
            "a network has no data pipeline: ask the arm around it, or offer `truth_column`"
        )
    rows = np.arange(40, dtype=np.float64)
    table = np.stack([rows + 1000.0 * index for index in range(len(NAMES))], axis=1)
    found = np.asarray(subject.hooks.truth_column(table, NAMES, TARGET), dtype=np.float64).ravel()
    ends = found[: len(rows)]
    gaps = [float(np.abs(ends - column[: len(ends)]).max()) for column in table.T]
    nearest = int(np.argmin(gaps))
    if not gaps[nearest] <= 1e-6:  # NaN is no column either
        return Measured(value=math.inf, said="the truth is no column of the table")
    away = abs(NAMES.index(TARGET) - nearest)
    return Measured(value=away, said=f"target '{TARGET}', truth '{NAMES[nearest]}'")


@predicate(
    "T33",
    "a validation loss of NaN never becomes the best",
    unit="faults",
    needs="the hook `keep_best`",
)
def nan_is_never_best(subject: Subject) -> Measured:
    """Give validation losses with NaN among them, and only NaN."""
    keep = subject.hooks.keep_best
    if keep is None:
        raise NotApplicableError(
            "a network has no training loop: ask the arm around it, or offer `keep_best`"
        )
    kept, none = keep(LOSSES), keep((math.nan, math.nan))
    faults = []
    if kept != 1:
        faults.append(f"of {', '.join(map(str, LOSSES))} it keeps index {kept}")
    if none is not None:
        faults.append("of losses that are all NaN it keeps one")
    said = "; ".join(faults) or "the best finite loss is kept, and none where there is none"
    return Measured(value=len(faults), said=said)


Path = Callable[[float], "Tensor"]

STEPS = 48
HALVINGS = 14
REACH = 2.0
FINEST = REACH / STEPS / (1 << HALVINGS)
"""The shift that is left when the largest step is halved no further."""
_DECOMPOSITION = re.compile(r"decomp\d*")


@predicate(
    "T12",
    "the forecast follows a smooth shift of the history without jumps",
    threshold=1e-3,
    unit="output change",
    draws=SEVERAL,
)
def no_jumps(subject: Subject) -> Measured:
    """Shift the level of the history step by step; halve the largest step until it is nothing.

    A continuous forecast's step shrinks with the shift; what is left of it is a jump. Where
    there are decompositions, theirs tells whether they or the choice of lags make the jump.
    Rounding to tokens makes one at every edge between two.
    """
    import torch

    model, batch = subject.build().eval(), make_batch(subject.sizes, 1)
    take_its_word(model, "reads_tokens")

    def shifted(shift: float) -> Tensor:
        x_dec = batch.x_dec.clone()
        x_dec[:, : subject.sizes.label_len] += shift
        return forecast(model, batch.with_values(x_enc=batch.x_enc + shift, x_dec=x_dec))

    found = {"forecast": _jump(shifted)}
    said = f"a jump of {found['forecast']:.2g} is left at a shift of {FINEST:.0e}"
    named = [m for n, m in model.named_modules() if _DECOMPOSITION.fullmatch(n.rsplit(".")[-1])]
    handed = {
        module: args[0].detach()
        for module, args in calls_of(model, batch, named)
        if args and isinstance(args[0], torch.Tensor)
    }

    def seasonal(module: Any, x: Tensor, shift: float) -> Tensor:
        with torch.no_grad():
            first: Tensor = module(x + shift)[0]
        return first

    if handed:
        trends = (partial(seasonal, module, x) for module, x in handed.items())
        found["decompositions"] = worst(map(_jump, trends))
        said += f"; of {found['decompositions']:.2g} in the decompositions alone"
    return Measured(value=found["forecast"], said=said, more=found)


def _jump(path: Path) -> float:
    """The largest jump of a path over the shifts from 0 to `REACH`; NaN where the path is."""
    shifts = [REACH * index / STEPS for index in range(STEPS + 1)]
    walked = [path(shift) for shift in shifts]
    steps = [largest(b - a) for a, b in pairwise(walked)]
    if math.isnan(worst(steps)):
        return math.nan
    likely = sorted(range(STEPS), key=lambda index: -steps[index])[:4]
    left = []
    for index in likely:  # the change that is left when it is halved towards its larger one
        low, high = shifts[index], shifts[index + 1]
        first, last = path(low), path(high)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            between = path(middle)
            if largest(between - first) > largest(last - between):
                high, last = middle, between
            else:
                low, first = middle, between
        left.append(largest(last - first))
    return worst(left)
