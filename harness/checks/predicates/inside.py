"""Inside the network, where it exposes the part: T3, T4, T6, T8, T30."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness.checks.predicate import SEVERAL, Measured, NotApplicableError, attempt, predicate
from harness.checks.predicates.probe import (
    ProbeBatch,
    calls_of,
    forecast,
    largest,
    make_batch,
    quiet,
    tensor_of,
)
from harness.checks.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor


VARIATIONAL = ("weight_mean", "weight_logvar", "bias_mean", "bias_logvar")
STATEMENTS: Mapping[str, tuple[bool, str]] = MappingProxyType(
    {
        "reads_covariates": (False, "reads no covariates"),
        "reads_tokens": (True, "rounds its input to tokens"),
        "draws_tokens": (True, "draws its passes token by token"),
    }
)
"""What a network may say of itself: the attribute, the value that counts, and what it means."""

PROJECTIONS = ("query_projection", "key_projection", "value_projection", "out_projection")


def offers_uncertainty(subject: Subject, model: Any) -> bool:
    """Whether the network has an uncertainty call."""
    called = inspect.signature(model.forward).parameters
    return subject.hooks.uncertainty is not None or "return_uncertainty" in called


def uncertain(subject: Subject, model: Any, batch: ProbeBatch) -> Mapping[str, Any]:
    """Make an uncertainty call.

    Raises
    ------
    NotApplicableError
        When there is none.
    """
    if subject.hooks.uncertainty is not None:
        return subject.hooks.uncertainty(model, batch.inputs)
    if not offers_uncertainty(subject, model):
        raise NotApplicableError("it has no uncertainty call")
    found = model(*batch.inputs, return_uncertainty=True)
    if not isinstance(found, Mapping) or "prediction" not in found:
        raise TypeError("the uncertainty call returned no mapping with 'prediction'")
    return found


def levels_of(subject: Subject, model: Any) -> tuple[float, ...]:
    """Quantile levels of the output: the network's own, else those of the configuration."""
    own = getattr(model, "quantiles", None)
    return subject.sizes.levels if own is None else tuple(float(level) for level in own)


def width_of(subject: Subject, model: Any) -> int:
    """Output channels the contract asks for: `c_out`, unless the network names its levels."""
    levels = getattr(model, "quantiles", None)
    return subject.sizes.targets * len(levels) if levels else subject.sizes.c_out


def take_its_word(model: Any, name: str) -> None:
    """Leave a predicate out where the network says of itself that it makes no sense.

    Raises
    ------
    NotApplicableError
        When the network makes the statement `name` of `STATEMENTS`; the reason says whose it is.
    """
    value, meaning = STATEMENTS[name]
    if getattr(model, name, None) is value:
        raise NotApplicableError(f"it declares that it {meaning} ({name})")


def part(model: Any, name: str) -> Any:
    """The first module inside whose own name is `name`; None where there is none."""
    named = model.named_modules()
    return next((each for path, each in named if path.rsplit(".", 1)[-1] == name), None)


def kl_of(subject: Subject, model: Any) -> Any:
    """The weighted KL term.

    Raises
    ------
    NotApplicableError
        When there is none.
    """
    if subject.hooks.kl is not None:
        return subject.hooks.kl(model)
    if not callable(getattr(model, "get_kl_loss", None)):
        raise NotApplicableError("it has no KL term")
    return model.get_kl_loss()


def training_loss(subject: Subject, model: Any, prediction: Tensor, truth: Tensor) -> Tensor:
    """The loss the subject would train on: its own, else squared error or quantile loss."""
    import torch

    if subject.hooks.loss is not None:
        found: Tensor = subject.hooks.loss(model, prediction, truth)
        return found
    if callable(getattr(model, "quantile_loss", None)):
        return model.quantile_loss(prediction, truth)  # type: ignore[no-any-return]  # a tensor
    levels = levels_of(subject, model)

    def plain(prediction: Tensor, truth: Tensor) -> Tensor:
        if not levels:
            return (prediction - truth).square().mean()
        error = truth.unsqueeze(-1) - prediction.unflatten(-1, (-1, len(levels)))
        share = torch.tensor(levels)
        return torch.maximum(share * error, (share - 1.0) * error).mean()

    if callable(getattr(model, "compute_loss", None)):
        return model.compute_loss(prediction, truth, plain)  # type: ignore[no-any-return]
    return plain(prediction, truth)


def variational_layers(model: Any) -> list[Any]:
    """Layers with normal weights."""
    return [m for m in model.modules() if all(hasattr(m, name) for name in VARIATIONAL)]


def attentions(model: Any) -> list[tuple[str, Any]]:
    """Auto-correlation modules by name."""
    named = model.named_modules()
    return [(n, m) for n, m in named if all(hasattr(m, part) for part in PROJECTIONS)]


def attend(module: Any, x: Tensor, source: Tensor) -> Tensor:
    """Call an auto-correlation module in the way it takes."""
    from harness.checks.predicates.probe import tensor_of

    taken = inspect.signature(module.forward).parameters.values()
    wide = sum(each.default is inspect.Parameter.empty for each in taken) > 2
    return tensor_of(module(x, source, source, None) if wide else module(x, source))


def cross_attentions(model: Any) -> list[tuple[str, Any]]:
    """Cross-attention modules by name."""
    return [(n, m) for n, m in model.named_modules() if n.rsplit(".", 1)[-1] == "cross_attention"]


def mask_arguments(model: Any) -> list[str]:
    """Arguments of the forward pass that are masks."""
    return [name for name in inspect.signature(model.forward).parameters if "mask" in name]


def flags(model: Any) -> dict[str, bool]:
    """Training flag of every module inside."""
    return {name: module.training for name, module in model.named_modules()}


def tensors_in(report: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors in a report, with the path to each."""
    import torch

    if isinstance(report, torch.Tensor):
        yield name, report
    elif isinstance(report, Mapping):
        for key, value in report.items():
            yield from tensors_in(value, f"{name}.{key}" if name else str(key))


EVEN, ODD = 96, 97
EVEN_LAGS, ODD_LAGS = (8, 24, 40), (12, 55, 90)
TIE = 1e-4  # of the heaviest lag's weight: far above rounding, far below what a bias makes


@predicate(
    "T3",
    "the lag of a rolled copy is found, at even and odd lengths and every scale",
    unit="steps away",
    white_box=True,
    needs="auto-correlation modules",
    draws=SEVERAL,
)
def lag_is_found(subject: Subject) -> Measured:
    """Give each attention a series and its rolled copy, its linear maps being the identity."""
    import torch

    found = attentions(subject.build().eval())
    if not found:
        raise NotApplicableError("it exposes no auto-correlation with its four projections")
    misses, tried = list[str](), 0
    worst = 0
    for name, module in found:
        maps = [getattr(module, each) for each in PROJECTIONS]
        if any(len(set(linear.weight.shape)) != 1 for linear in maps):
            continue
        with torch.no_grad():
            for linear in maps:
                torch.nn.init.eye_(linear.weight)
                if linear.bias is not None:
                    linear.bias.zero_()
            for label, true, lag in _lags(module):
                tried += 1
                if lag != true:
                    worst = max(worst, abs(lag - true))
                    misses.append(f"{name} {label}: {lag} for {true}")
    if not tried:
        raise NotApplicableError("its projections are not square")
    said = f"{len(misses)} of {tried} lags missed" + (f", such as {misses[0]}" if misses else "")
    return Measured(value=worst, said=said, more={"missed": len(misses), "tried": tried})


def _lags(module: Any) -> Iterator[tuple[str, int, int]]:
    """Length and scale, true lag and heaviest lag, for every case."""
    inner = getattr(module, "inner_correlation", None)
    scales = [int(scale) for scale in getattr(inner, "scales", (1,))]
    weights = getattr(inner, "scale_weights", None)
    for index, scale in enumerate(scales):
        if weights is not None:
            weights.data.fill_(-50.0)
            weights.data[index] = 50.0
        cases = [(EVEN, EVEN_LAGS)] + ([(ODD, ODD_LAGS)] if scale == 1 else [])
        for length, lags in cases:
            for lag in lags:
                label = f"at length {length}, scale {scale}"
                yield label, lag, _heaviest(module, length, lag)
        if weights is None:
            return


def _heaviest(module: Any, length: int, lag: int) -> int:
    """The lag with the largest weight when the source is the series `lag` steps on.

    `lag` itself where it ties with another but for rounding.
    """
    import torch

    width = module.query_projection.weight.shape[0]
    x = torch.randn(1, length, width, generator=torch.Generator().manual_seed(lag))
    source = x.roll(-lag, 1)
    bins, source_bins = (
        torch.fft.rfft(attend(module, x, source), dim=1),
        torch.fft.rfft(source, dim=1),
    )
    ratio = (bins * source_bins.conj()).sum(-1) / source_bins.abs().square().sum(-1)
    response = torch.fft.irfft(ratio.conj(), n=length)[0]
    heaviest = int(response.argmax())
    return lag if response[lag] >= (1.0 - TIE) * response[heaviest] else heaviest


@predicate(
    "T4",
    "cross-attention passes gradient to the newest encoder rows",
    limit="at least",
    threshold=1e-6,
    unit="of the median row's",
    white_box=True,
    needs="cross-attention modules",
)
def newest_rows_count(subject: Subject) -> Measured:
    """Compare the gradient of the newest rows with that of the median row that has any.

    They are the newest quarter of encoder rows, or as many as the decoder has: attention that lines
    both up keeps no more.
    """
    import torch

    model = subject.build().eval()
    names = {module: name for name, module in cross_attentions(model)}
    called = {
        names[module]: (module, (args[0].detach(), args[1].detach()))
        for module, args in calls_of(model, make_batch(subject.sizes, 4), names)
        if len(args) > 1 and all(isinstance(each, torch.Tensor) for each in args[:2])
    }
    if not called:
        raise NotApplicableError("it exposes no cross-attention called with tensors")
    shares = {}  # least gradient norm of a newest row over the median's; 0 where no row has any
    for name, (module, (x, seen)) in called.items():
        source = seen.clone().requires_grad_()
        with torch.enable_grad():
            attend(module, x, source).square().sum().backward()
        assert source.grad is not None
        rows = source.grad.square().sum((0, 2)).sqrt()
        reached = rows[rows != 0]  # NaN is not 0
        newest = rows[-_newest(x, source) :].min()
        shares[name] = float(newest / reached.median()) if len(reached) else 0.0
    name = min(shares, key=lambda key: -math.inf if math.isnan(shares[key]) else shares[key])
    x, seen = called[name][1]
    last = f"the newest {_newest(x, seen)} of {seen.shape[1]} rows"
    said = f"{name}: the least of {last} gets {shares[name]:.2g}"
    return Measured(value=shares[name], said=f"{said} of the median gradient")


def _newest(x: Tensor, source: Tensor) -> int:
    """How many of the source's newest rows are asked for."""
    return max(1, min(source.shape[1] // 4, x.shape[1]))


@predicate(
    "T6",
    "a mask changes the forecast",
    limit="at least",
    threshold=1e-6,
    unit="output change",
    white_box=True,
    needs="a mask argument or `mask_flag`",
)
def mask_works(subject: Subject) -> Measured:
    """Flip every `mask_flag`, or pass causal masks where the forward pass takes masks."""
    import torch

    model, batch = subject.build().eval(), make_batch(subject.sizes, 2)
    plain, flagged = forecast(model, batch), [m for m in model.modules() if hasattr(m, "mask_flag")]
    names = mask_arguments(model)
    for module in flagged:
        module.mask_flag = not module.mask_flag
    if flagged:
        change = largest(forecast(model, batch) - plain)
        return Measured(value=change, said=f"flipping {len(flagged)} flags changes {change:.2g}")
    if not names:
        raise NotApplicableError("it takes no mask and has no `mask_flag`")
    length = subject.sizes.decoder_len
    mask = torch.ones(2, 1, length, length, dtype=torch.bool).triu(1)
    torch.manual_seed(0)
    with torch.no_grad():
        masked = tensor_of(model(*batch.inputs, **dict.fromkeys(names, mask)))
    change = largest(masked - plain)
    return Measured(value=change, said=f"a causal mask as {', '.join(names)} changes {change:.2g}")


@predicate(
    "T8",
    "the decoder's history slots hold x_dec's history rows",
    unit="rows in another slot",
    white_box=True,
    needs="`dec_embedding`",
)
def slots_are_aligned(subject: Subject) -> Measured:
    """Put a spike on one history row at a time and see in which slot it arrives."""
    model, sizes = subject.build().eval(), subject.sizes
    if part(model, "dec_embedding") is None:
        raise NotApplicableError("it exposes no `dec_embedding`")
    base, wrong = make_batch(sizes, 1), []
    base = base.with_values(x_enc=base.x_enc * 0.0, x_dec=base.x_dec * 0.0)
    still = _decoder_values(model, base)
    last = sizes.label_len - 1  # the ends themselves are repeated by a moving average
    rows = sorted({min(1, last), last // 2, max(0, last - 1)})
    for row in rows:
        x_enc, x_dec = base.x_enc.clone(), base.x_dec.clone()
        x_dec[:, row, 0] = 1.0
        if sizes.seq_len - sizes.label_len + row >= 0:
            x_enc[:, sizes.seq_len - sizes.label_len + row, 0] = 1.0
        moved = _decoder_values(model, base.with_values(x_enc=x_enc, x_dec=x_dec)) - still
        slot = int(moved.abs().sum((0, 2)).argmax()) if largest(moved) > 0.3 else -1
        if slot != row:
            wrong.append(f"row {row} in {'no slot' if slot < 0 else f'slot {slot}'}")
    said = f"{len(wrong)} of {len(rows)} rows astray" + (f": {', '.join(wrong)}" if wrong else "")
    return Measured(value=len(wrong), said=said)


def _decoder_values(model: Any, batch: ProbeBatch) -> Tensor:
    """What the decoder's embedding is called with."""
    (_, args), *_ = calls_of(model, batch, [part(model, "dec_embedding")])
    values: Tensor = args[0]
    return values


@predicate(
    "T30",
    "every hand-written gradient is correct",
    unit="parts",
    white_box=True,
    needs="custom autograd functions or `decomposer`",
)
def gradients_are_true(subject: Subject) -> Measured:
    """Check each custom autograd function, and a `decomposer`, in float64 by differences."""
    from torch.autograd import gradcheck

    model, batch = quiet(subject).eval(), make_batch(subject.sizes, 2)
    faults, checked = list[str](), list[str]()
    cases, splitter = list(_functions(model, batch)), part(model, "decomposer")
    if splitter is not None:
        series = calls_of(model, batch, [splitter])[0][1][0].detach().double()
        splitter.double()
        cases.append(("decomposer", lambda x: tuple(splitter(x)), [series]))
    how = {"fast_mode": True, "raise_exception": False, "check_undefined_grad": False}
    for name, call, tensors in cases:
        checked.append(name)
        inputs = [tensor.clone().requires_grad_() for tensor in tensors]
        fine, fault = attempt(partial(gradcheck, call, inputs, nondet_tol=math.inf, **how))
        if fault or not fine:
            faults.append(f"{name}: {fault or 'differs from finite differences'}")
    if not checked:
        raise NotApplicableError("it has no custom autograd function and no `decomposer`")
    names = ", ".join(sorted(set(checked)))
    said = "; ".join(faults[:3]) or f"true for {names}"
    return Measured(value=len(faults), said=said, more={"checked": len(checked)})


def _functions(model: Any, batch: ProbeBatch) -> Iterator[tuple[str, Any, list[Tensor]]]:
    """Custom autograd functions of the forward pass with the inputs of their first call."""
    import torch

    with torch.enable_grad():
        output = tensor_of(model(*batch.inputs))
    for function in sorted(_custom(output), key=lambda kind: kind.__name__):
        args = _arguments(function, lambda: model(*batch.inputs))
        if args is None:
            continue
        places = [i for i, a in enumerate(args) if _is_float(a) and a.requires_grad]
        fixed = [a.detach().double() if _is_float(a) else a for a in args]

        def call(
            *tensors: Tensor, _fixed: Any = fixed, _at: Any = places, _f: Any = function
        ) -> Any:
            given = list(_fixed)
            for place, tensor in zip(_at, tensors, strict=True):
                given[place] = tensor
            return _f.apply(*given)

        yield function.__name__.strip("_"), call, [fixed[i] for i in places]


def _is_float(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _custom(output: Tensor) -> set[Any]:
    """Classes of the custom functions in an output's graph."""
    seen, found, waiting = set[Any](), set[Any](), [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        forward = getattr(type(node), "_forward_cls", None)
        if forward is not None:
            found.add(forward)
        waiting += [following for following, _ in node.next_functions]
    return found


def _arguments(function: Any, run: Any) -> tuple[Any, ...] | None:
    """Arguments of a function's first call in a run; None where it is called by another name."""
    import torch

    original, calls = function.apply, list[tuple[Any, ...]]()
    own = "apply" in vars(function)

    def apply(*args: Any) -> Any:
        calls.append(args)
        return original(*args)

    function.apply = apply
    try:
        with torch.enable_grad():
            run()
    finally:
        if own:
            function.apply = original
        else:
            del function.apply
    return calls[0] if calls else None
