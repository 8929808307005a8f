"""What a forecast reads, and how it follows: T5, T7, T9, T10, T12, T13, T28, T34."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from harness.battery.guard import attempt
from harness.battery.nouns import Measured, NotApplicableError, worst
from harness.battery.parts import part, take_its_word, training_loss, width_of
from harness.battery.probe import (
    Batch,
    apart,
    built,
    constant_batch,
    forecast,
    largest,
    make_batch,
    quiet,
)
from harness.battery.registry import predicate
from harness.battery.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

SWEEP = tuple((length, case) for length in (4, 7, 8, 12, 16, 33, 48, 97, 100) for case in (0, 1, 2))
"""History lengths; label lengths are half of it, all of it, and 15 more."""

LEVEL = 2.0


@predicate("T5", "every length is refused when built, or forecast in the right shape", unit="sizes")
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


def shape_fault(subject: Subject, model: Any, *, count: int = 2) -> str:
    """What is wrong with the shape of a forecast; empty when nothing is."""
    found, fault = attempt(lambda: tuple(forecast(model, make_batch(subject.sizes, count)).shape))
    if fault:
        return fault
    wanted = (count, subject.sizes.pred_len, width_of(subject, model))
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
        **_gradient_ratio(subject, batch),
    }
    said = f"output change {found['x_enc']:.2g} for x_enc, {found['x_dec']:.2g} for x_dec"
    if "gradients" in found:
        said += f"; gradient norm of encoder over decoder {found['gradients']:.2g}"
    return Measured(value=found["x_enc"], said=said, more=found)


def _gradient_ratio(subject: Subject, batch: Batch) -> dict[str, float]:
    """Gradient norm of `encoder` over that of `decoder`, where both are there."""
    from harness.battery.probe import tensor_of

    model = quiet(subject).train()
    sides = [part(model, name) for name in ("encoder", "decoder")]
    if any(side is None or not list(side.parameters()) for side in sides):
        return {}
    output = tensor_of(model(*batch.inputs))
    training_loss(subject, model, output, batch.truth).backward()
    encoder, decoder = (
        sum(float(p.grad.square().sum()) for p in side.parameters() if p.grad is not None) ** 0.5
        for side in sides
        if side is not None
    )
    return {"gradients": encoder / decoder} if decoder > 0 else {}


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


def _change(model: Any, batch: Batch, other: Batch) -> float:
    """Mean absolute change of the forecast, the same draws in both."""
    change: Tensor = forecast(model, other) - forecast(model, batch)
    return float(change.abs().mean())
