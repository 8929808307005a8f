"""What an arm is.

An arm is any class with a `forecast` method and a `context_length`; what else it can do it shows
by having the method: `fit` (it learns), `seed` (it draws random numbers), `load` (it reads
weights), `weight_files` (their digest belongs to the result's identity), `card` (facts for the
report), `parts` (arms it is made of, whose sources belong to the identity), `save` and `restore`
(a fit outlives the process it was made in), `pinned` and `fetch` (its weights are named exactly,
and had before anything runs). How the text of an experiment becomes one: `harness.arm_ref`.
"""

from __future__ import annotations

import dataclasses
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from harness.errors import (
    ArmError,
    ForecastError,
    escaped,
)
from harness.forecast import Forecast
from harness.window import Context, Contexts, Dates, Series, Windows

_NAMES = re.compile(r"auto|cpu|mps|(cuda|xpu)(:\d+)?")


def check_device(name: str) -> None:
    """Refuse what names no device.

    Raises
    ------
    ValueError
        In the form of an arm's option.
    """
    if not _NAMES.fullmatch(name):
        raise ValueError(f"device = '{name}': expected cpu, cuda, cuda:1 or auto")


def device_meant(name: str, torch: Any) -> str:
    """The device that an option names: ``auto`` is a GPU where there is one.

    Parameters
    ----------
    torch
        The module; nothing is imported here.

    Raises
    ------
    ArmError
        When this torch, or this machine, does not have it; names the option.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    said = ""
    if kind == "cuda" and not torch.backends.cuda.is_built():
        said = "this torch has no CUDA"
    elif kind == "cuda" and torch.cuda.device_count() <= int(number or 0):
        said = f"this machine has {torch.cuda.device_count()} GPUs that torch can use"
    elif kind == "mps" and not torch.backends.mps.is_available():
        said = "this torch has no Metal"
    elif kind == "xpu" and not torch.xpu.is_available():
        said = "this torch has no XPU"
    if said:
        raise ArmError(f"device = '{name}': {said}; use cpu or auto")
    return name


@contextmanager
def staying(*kinds: Any) -> Iterator[None]:
    """Let `.cuda()` of some classes do nothing for a while: early models call it on any device.

    Parameters
    ----------
    kinds
        Torch's tensor and module classes; nothing is imported here.
    """
    originals = [kind.cuda for kind in kinds]
    try:
        for kind in kinds:
            kind.cuda = lambda value, *_, **__: value
        yield
    finally:
        for kind, original in zip(kinds, originals, strict=True):
            kind.cuda = original


@contextmanager
def generators_kept() -> Iterator[None]:
    """Put the global generators of Python and numpy back after a while."""
    own, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002  # the global one
    try:
        yield
    finally:
        random.setstate(own)
        np.random.set_state(legacy)  # noqa: NPY002


Role = Literal["legacy", "candidate", "reference"]
Option = str | int | float | bool | list[Any] | dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One row of a training curve. A zero-shot arm has none."""

    epoch: int
    train_loss: float
    validation_loss: float
    learning_rate: float
    gradient_norm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What one fit did.

    Attributes
    ----------
    curve
        Rows per epoch, in order.
    best_epoch
        Epoch whose weights were kept; None when nothing finite was seen.
    diverged
        A loss or gradient was not finite. The arm stays in the grid, marked.
    """

    curve: tuple[Epoch, ...] = ()
    best_epoch: int | None = None
    diverged: bool = False


def training_of(found: Any) -> Training:
    """What a fit returned, in plain numbers: frameworks have numbers of their own.

    Raises
    ------
    ForecastError
        When it is no `Training`, or something in it is no number.
    """
    if not isinstance(found, Training):
        raise ForecastError(f"its fit returned {type(found).__name__}, expected a Training")
    best, curve = found.best_epoch, []
    names = [each.name for each in dataclasses.fields(Epoch) if each.name != "epoch"]
    for row in found.curve:
        given = {name: getattr(row, name, None) for name in names}
        numbers = {name: math.nan if v is None else _number(name, v) for name, v in given.items()}
        curve.append(Epoch(epoch=_whole("epoch", row.epoch), **numbers))
    return Training(
        curve=tuple(curve),
        best_epoch=None if best is None else _whole("best_epoch", best),
        diverged=bool(found.diverged),
    )


def _whole(name: str, value: Any) -> int:
    number = _number(name, value)
    if not number.is_integer():
        raise ForecastError(f"its training record has {name} = {number}: expected a whole number")
    return int(number)


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        said = f"its training record has {name} = {value!r:.60}: expected a number"
        raise ForecastError(said) from None


@runtime_checkable
class Arm(Protocol):
    """Forecasts a batch of contexts in one call.

    `context_length` is the number of sessions it reads; None is everything it may see.
    """

    context_length: int | None

    def forecast(self, contexts: Contexts) -> Forecast:
        """Forecast `contexts.horizon` steps for each of W contexts."""
        ...


@runtime_checkable
class Learns(Protocol):
    """An arm that is fitted, once per seed and refit."""

    def fit(self, context: Context, *, seed: int) -> Training:
        """Learn from everything up to an origin."""
        ...


@runtime_checkable
class Saves(Protocol):
    """An arm that learns and can keep what it learned, so that later nights do not fit again.

    Forecasts after `restore` must equal, bit by bit, those after the `fit` that was saved, in this
    process and in any other of the same environment.
    """

    def save(self, folder: Path) -> None:
        """Write what `fit` left, as safetensors and JSON, into an empty folder that is there.

        An arm made of others gives each of them a sub-folder. No pickles, and no path outside of
        the folder.
        """
        ...

    def restore(self, folder: Path) -> None:
        """Stand as after `fit`; called in its place, on an arm that was newly built and loaded.

        Raise `ArmError` in one line when the folder does not hold what `save` wrote.
        """
        ...


def continues(arm: Arm) -> bool:
    """Whether each fit of an arm starts from its last one: it says `continues = True`.

    It is then restored from the last fit, newly built, and fitted on.

    Raises
    ------
    ArmError
        When it cannot, since it keeps no fit, or says something else.
    """
    said = getattr(arm, "continues", False)
    if not isinstance(said, bool):
        raise ArmError(f"continues = {said!r}: expected true or false")
    if said and not (isinstance(arm, Learns) and isinstance(arm, Saves)):
        raise ArmError(
            "continues = True: each fit starts from the last one, so it needs `fit`, `save` and "
            "`restore`"
        )
    return said


@runtime_checkable
class Samples(Protocol):
    """An arm that may draw random numbers when it forecasts; `draws` says whether it does.

    Where it does, each origin is asked for alone, its generator started from the seed and the
    origin's last session, so that no other origin decides its draws. An arm that starts its draws
    anew for every context by itself says `batches_draws = True` and is asked in batches.
    """

    draws: bool

    def seed(self, value: int) -> None:
        """Start its own generator: called first of all, and again before each forecast."""
        ...


@runtime_checkable
class Loads(Protocol):
    """An arm that reads weights before its first forecast."""

    def load(self) -> None:
        """Read the weights; raise `ArmError` in one line when they are not there."""
        ...


@runtime_checkable
class Fetches(Protocol):
    """An arm whose weights may have to be found, or had from elsewhere, before anything runs."""

    def fetch(self) -> None:
        """Have on this machine what `load` reads; raise `ArmError` in one line where it is not."""
        ...


@runtime_checkable
class Pins(Protocol):
    """An arm whose options may name its weights loosely, such as by the branch of a hub."""

    def pinned(self) -> Mapping[str, Option]:
        """Options, those that change, under which the same weights are named exactly.

        Raise `ArmError` in one line where that cannot be told.
        """
        ...


@runtime_checkable
class HasWeights(Protocol):
    """An arm whose weights lie in files."""

    def weight_files(self) -> Sequence[Path]:
        """Files whose content decides the forecasts."""
        ...


@runtime_checkable
class PlaysBack(Protocol):
    """An arm whose answers lie in a log that grows: an origin's depends on what it holds for it."""

    def record_digests(self, series: Series, windows: Windows) -> Sequence[str]:
        """Digest of all that each origin's answer comes from; '' where the log has nothing yet."""
        ...

    def know_sessions(self, dates: Dates) -> None:
        """Take all sessions known by now, later ones too: which days a record lacks."""
        ...


def logs_in(arm: Arm) -> Iterator[PlaysBack]:
    """The logs that an arm plays back: itself, or what is inside it."""
    if isinstance(arm, PlaysBack):
        yield arm
    for part in arm.parts() if isinstance(arm, Wraps) else ():
        yield from logs_in(part)


@runtime_checkable
class ReadsColumns(Protocol):
    """An arm that reads certain columns of a dataset and cannot do without them."""

    @property
    def reads_columns(self) -> Sequence[str]:
        """Names of the covariates it must be given."""
        ...

    @property
    def target_column(self) -> str:
        """What the target must be called; '' where any will do."""
        ...


def expect_columns(arm: Arm, *, dataset: str, target: str, past: Sequence[str]) -> None:
    """Refuse a dataset that lacks columns an arm reads, or whose target is another.

    Raises
    ------
    ArmError
    """
    for part in arm.parts() if isinstance(arm, Wraps) else ():
        expect_columns(part, dataset=dataset, target=target, past=past)
    if not isinstance(arm, ReadsColumns):
        return
    wanted, missing = arm.target_column, [x for x in arm.reads_columns if x not in past]
    faults = [f"has no covariate {', '.join(missing)}"] if missing else []
    if wanted not in ("", target):
        faults.append(f"has the target '{target}', not '{wanted}'")
    if faults:
        raise ArmError(
            f"dataset {dataset} {' and '.join(faults)}; it has the target '{target}' and the "
            f"covariates {', '.join(past) or 'none'}: name its columns in the order of training, "
            "or import them with --past"
        )


@runtime_checkable
class Describes(Protocol):
    """An arm with facts to print in the report."""

    def card(self) -> Mapping[str, str]:
        """Title and text of each fact."""
        ...


@runtime_checkable
class Wraps(Protocol):
    """An arm made of other arms."""

    def parts(self) -> Sequence[Arm]:
        """The arms whose sources and weights decide its forecasts."""
        ...


def card_of(arm: Arm) -> dict[str, str]:
    """What an arm says of itself, as text; nothing where it says nothing.

    Raises
    ------
    ArmError
        When its card is no mapping.
    """
    card: Any = arm.card() if isinstance(arm, Describes) else {}
    if not isinstance(card, Mapping):
        raise ArmError(f"its card is of type {type(card).__name__}, expected a mapping of texts")
    return {escaped(str(title)): escaped(str(text)) for title, text in card.items()}


def expect_answer(forecast: Any, contexts: Contexts) -> None:
    """Refuse what is no forecast of all windows and steps that were asked for.

    Raises
    ------
    ForecastError
    """
    if not isinstance(forecast, Forecast):
        kind = type(forecast).__name__
        raise ForecastError(
            f"the arm returned {kind}, expected a Forecast, such as Forecast.of_point(paths) with"
            " paths of shape [windows, steps]"
        )
    shape = (len(contexts), contexts.horizon)
    windows, steps = shape
    found = shape if forecast.samples is None else forecast.samples.shape
    if len(found) == 3 and found[::2] != shape and shape in (found[:2], found[1:]):
        swapped = found[:2] == shape
        wanted = (windows, found[2] if swapped else found[0], steps)
        said = "last two axes look swapped" if swapped else "axis of samples is first"
        raise ForecastError(
            f"samples have shape {found}, expected [W, M, H] = {wanted}: the {said}"
        )
    if forecast.point.shape != shape:
        raise ForecastError(
            f"the arm returned point paths of shape {forecast.point.shape} for "
            f"{shape[0]} windows of {shape[1]} steps"
        )
    forecast.expect_members()
