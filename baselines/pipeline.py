"""What every trained legacy arm does around its network: scale, feed, restore."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from harness.arm import Training, check_device, device_meant
from harness.errors import ArmError, ForecastError, one_line
from harness.forecast import Forecast
from harness.parsing import check_fields
from harness.saved_state import SavedState, read_state, write_state
from harness.window import Array, Contexts

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.training import Precision, Schedule

_SCALE_FLOOR = 1e-8


class Recipe(Protocol):
    """The training options of an arm, and where it trains."""

    epochs: int
    patience: int
    batch_size: int
    learning_rate: float
    train_stride: int
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Mean and standard deviation per channel, [C]."""

    mean: Array
    sd: Array

    @classmethod
    def of(cls, values: Array) -> Scale:
        """Measure channels [N, C]."""
        return cls(mean=values.mean(axis=0), sd=np.maximum(values.std(axis=0), _SCALE_FLOOR))

    def apply(self, values: Array) -> Array:
        """Scale channels [..., C]."""
        return (values - self.mean) / self.sd

    def prices(self, scaled: Array) -> Array:
        """Prices of scaled log prices, channel 0; what overflows becomes a failed window."""
        with np.errstate(over="ignore"):
            restored: Array = np.exp(scaled * self.sd[0] + self.mean[0])
        return restored

    def raw(self, scaled: Array, channel: int) -> Array:
        """Values of a channel as the dataset has them."""
        with np.errstate(over="ignore"):
            restored: Array = scaled * self.sd[channel] + self.mean[channel]
        return restored


def torch_device(name: str) -> str:
    """As `device_meant`, with torch imported only now."""
    import torch

    return device_meant(name, torch)


def tensor(values: Array, device: str) -> Tensor:
    """Single-precision numbers on a device."""
    import torch

    return torch.as_tensor(values, dtype=torch.float32, device=torch_device(device))


@contextmanager
def evaluating(network: Any) -> Iterator[None]:
    """Put a network in eval mode for a while."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


def schedule_of(recipe: Recipe, precision: Precision = "float32") -> Schedule:
    """The training schedule an arm's options describe."""
    from baselines.training import Schedule

    return Schedule(
        epochs=recipe.epochs,
        patience=recipe.patience,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        stride=recipe.train_stride,
        precision=precision,
    )


def recipe_text(recipe: Recipe) -> str:
    """The recipe in words, for the report."""
    stride = "session" if recipe.train_stride == 1 else f"{recipe.train_stride} sessions"
    return (
        f"Adam at {recipe.learning_rate:g}, up to {recipe.epochs} epochs of batches of "
        f"{recipe.batch_size}, a window every {stride}, early stopping "
        f"after {recipe.patience} epochs without improvement on the validation span"
    )


def check_recipe(recipe: Recipe) -> None:
    """Refuse options of another type, and training options without a meaning.

    Raises
    ------
    ValueError
        Names the option.
    """
    check_fields(recipe)
    check_device(recipe.device)
    for name in ("epochs", "patience", "batch_size", "train_stride"):
        if getattr(recipe, name) < 1:
            raise ValueError(f"{name} = {getattr(recipe, name)}: expected 1 or more")
    if not recipe.learning_rate > 0:
        raise ValueError(f"learning_rate = {recipe.learning_rate}: expected more than 0")


def check_ready(network: Any, model: str, contexts: Contexts, sessions: int) -> None:
    """Refuse to forecast before a fit, or from contexts that are too short.

    Raises
    ------
    ForecastError
        Says which.
    """
    if network is None:
        raise ForecastError(f"{model} was not fitted before it was asked to forecast")
    least = int(contexts.length.min())
    if least < sessions:
        raise ForecastError(f"{model} reads {sessions} sessions, a context has {least}")


def divergence(training: Training, learning_rate: float) -> str:
    """What happened where training lost every number; '' where some epoch can be used."""
    if not training.diverged or training.best_epoch is not None:
        return ""
    lost = next(e for e in training.curve if not math.isfinite(e.train_loss + e.validation_loss))
    return (
        f"training diverged: train loss {lost.train_loss:g}, validation loss "
        f"{lost.validation_loss:g} in epoch {lost.epoch} (learning_rate {learning_rate:g})"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedNetwork:
    """What a fit leaves of a network, its scaler and its lengths.

    Attributes
    ----------
    weights
        The state dict.
    horizon
        Steps it was built for.
    seed
        Of the fit: what it is built and draws with.
    diverged
        What `divergence` said of its training.
    """

    weights: Mapping[str, Any]
    scale: Scale
    horizon: int
    seed: int
    diverged: str = ""

    def save(self, folder: Path, arm: Any) -> None:
        """Write it.

        Raises
        ------
        ArmError
            When a weight has a type that plain numbers do not have.
        """
        try:
            arrays = {f"network.{n}": w.detach().cpu().numpy() for n, w in self.weights.items()}
        except (AttributeError, TypeError, RuntimeError) as problem:
            raise ArmError(f"its weights cannot be saved: {one_line(str(problem))}") from problem
        scaler = {"scale.mean": self.scale.mean, "scale.sd": self.scale.sd}
        facts = {"horizon": self.horizon, "seed": self.seed, "diverged": self.diverged}
        write_state(folder, arm, SavedState(facts=facts, arrays=arrays | scaler))

    @classmethod
    def read(cls, folder: Path, arm: Any) -> TrainedNetwork:
        """Read what `save` wrote for such an arm.

        Raises
        ------
        ArmError
            When the folder holds something else.
        """
        import torch

        state = read_state(folder, arm)
        return cls(
            weights={n: torch.from_numpy(w) for n, w in state.under("network.").items()},
            scale=Scale(**state.under("scale.")),
            horizon=state.facts["horizon"],
            seed=state.facts["seed"],
            diverged=state.facts["diverged"],
        )


def one_by_one(forecast: Callable[[Contexts], Forecast], contexts: Contexts) -> Forecast:
    """Forecast each window alone, as a live service would.

    A network whose answer depends on its batch mates would otherwise look at the windows after it.
    """
    rows = range(len(contexts))
    answers = [forecast(contexts.part(slice(row, row + 1))) for row in rows]
    first = answers[0]
    return Forecast(
        point=np.concatenate([each.point for each in answers]),
        levels=first.levels,
        quantiles=None
        if first.quantiles is None
        else np.concatenate([each.quantiles for each in answers if each.quantiles is not None]),
        samples=None
        if first.samples is None
        else np.concatenate([each.samples for each in answers if each.samples is not None]),
    )
