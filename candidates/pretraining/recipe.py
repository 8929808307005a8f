"""Every setting of a training run, read from a TOML file; what is left out is the full recipe's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import ConfigError
from harness.parsing import read_toml, table

LEVELS = (
    *(0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5),
    *(0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.975, 0.99),
)
"""Quantile levels of the bundled checkpoint."""

_FOLDER = Path(__file__).parent / "recipes"
_Table = TypeVar("_Table")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Size of the Chronos-Bolt network.

    Attributes
    ----------
    d_model
        Width; a multiple of 32, the width of a head. Feed-forward layers are four times as wide.
    layers
        Of the encoder, and again of the decoder.
    context, steps
        Values read, and values forecast at once.
    patch
        Values that enter as one token; divides `context`.
    levels
        Quantile levels learned.
    """

    d_model: int = 128
    layers: int = 4
    context: int = 512
    steps: int = 64
    patch: int = 16
    levels: tuple[float, ...] = LEVELS

    def __post_init__(self) -> None:
        for name in ("d_model", "layers", "context", "steps", "patch"):
            _at_least("network", name, getattr(self, name), 1)
        if self.d_model % 32:
            raise ConfigError(f"[network] d_model = {self.d_model}: expected a multiple of 32")
        if self.context % self.patch:
            raise ConfigError(
                f"[network] context = {self.context}: expected a multiple of patch = {self.patch}"
            )
        rising = all(low < high for low, high in zip(self.levels, self.levels[1:], strict=False))
        if not rising or not all(0 < level < 1 for level in self.levels) or 0.5 not in self.levels:
            raise ConfigError(
                f"[network] levels = {list(self.levels)}: expected rising levels inside (0, 1), "
                "0.5 among them"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLike:
    """Shares of the price-like series that have a property; `levels` and `logs` are forms.

    The remainder of the forms are returns.
    """

    constant_volatility: float = 0.25
    asymmetric: float = 0.5
    autocorrelated: float = 0.3
    drifting: float = 0.6
    jumping: float = 0.3
    with_holidays: float = 0.3
    levels: float = 0.65
    logs: float = 0.25

    def __post_init__(self) -> None:
        _shares("prices", self)
        if self.levels + self.logs > 1:
            raise ConfigError(
                f"[prices] levels + logs = {self.levels + self.logs:g}: expected 1 or less"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Structural:
    """Shares of the structural series that have a property.

    `seasonal` is drawn three times for each series.
    """

    seasonal: float = 0.5
    coloured: float = 0.8
    trending: float = 0.4
    shifted: float = 0.15
    walking: float = 0.4
    exponential: float = 0.1

    def __post_init__(self) -> None:
        _shares("structure", self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """What a pool holds.

    Attributes
    ----------
    price_like
        Share of price-like series; the others are structural.
    mixed
        Share of all that becomes a convex combination of two.
    """

    price_like: float = 0.7
    mixed: float = 0.1
    prices: PriceLike = field(default_factory=PriceLike)
    structure: Structural = field(default_factory=Structural)

    def __post_init__(self) -> None:
        for name in ("price_like", "mixed"):
            _share("mixture", name, getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """How the quantile loss is weighted; 0 and 0 leave it as in Chronos-Bolt.

    Attributes
    ----------
    near
        Step h weighs ``h^-near``.
    calm
        A series weighs ``1 / (0.05 + d)`` to this power, d its mean absolute change in units of
        its standard deviation: what moves little for its range (a price) counts more than noise.
    """

    near: float = 0.4
    calm: float = 1.0

    def __post_init__(self) -> None:
        for name in ("near", "calm"):
            _positive("loss", name, getattr(self, name), zero=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """How long and how fast.

    Attributes
    ----------
    steps, batch
        Optimizer steps, and series in each.
    pool
        Series drawn at once; a multiple of `batch`.
    learning_rate, warmup, floor
        Peak rate, steps to reach it, and the share of it left at the end of a cosine.
    weight_decay, clip
        Of AdamW, and the greatest norm of a gradient.
    shortened, least
        Share of batches with a shorter context, and the shortest.
    average_every, average
        The exponential moving average of weights is renewed every so many steps, and keeps at most
        so much of itself per step.
    compiled
        Compile the network first; pays on a GPU.
    seed
        Of the network's first weights and of all series.
    """

    steps: int = 12678
    batch: int = 2048
    pool: int = 131072
    learning_rate: float = 2e-3
    warmup: int = 500
    floor: float = 0.01
    weight_decay: float = 0.01
    clip: float = 1.0
    shortened: float = 0.3
    least: int = 32
    average_every: int = 10
    average: float = 0.999
    compiled: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "pool", "warmup", "least", "average_every"):
            _at_least("training", name, getattr(self, name), 1)
        if self.seed < 0:
            raise ConfigError(f"[training] seed = {self.seed}: expected 0 or more")
        for name in ("floor", "shortened", "average"):
            _share("training", name, getattr(self, name))
        for name in ("learning_rate", "clip"):
            _positive("training", name, getattr(self, name), zero=False)
        _positive("training", "weight_decay", self.weight_decay, zero=True)
        if self.pool % self.batch:
            raise ConfigError(
                f"[training] pool = {self.pool}: expected a multiple of batch = {self.batch}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingRecipe:
    """Everything that decides the weights, on one kind of machine."""

    network: Network = field(default_factory=Network)
    mixture: Mixture = field(default_factory=Mixture)
    loss: Loss = field(default_factory=Loss)
    training: TrainingPlan = field(default_factory=TrainingPlan)

    def __post_init__(self) -> None:
        if self.training.least > self.network.context:
            raise ConfigError(
                f"[training] least = {self.training.least}: expected at most the context, "
                f"{self.network.context}"
            )

    @property
    def length(self) -> int:
        """Steps of each series: context and what follows it."""
        return self.network.context + self.network.steps


def builtin_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.toml")))


def read_recipe(name: str) -> PretrainingRecipe:
    """Read a built-in recipe or a TOML file.

    Raises
    ------
    ConfigError
        One line naming file, table and key, what was found and what was expected.
    """
    path = _FOLDER / f"{name}.toml" if name in builtin_recipes() else Path(name)
    if path.suffix != ".toml":
        known = ", ".join(builtin_recipes())
        raise ConfigError(f"recipe '{name}': expected a .toml file, or one of {known}")
    found = read_toml(path)
    mixture = _nested(found, "mixture", path)
    parts: dict[str, Any] = {
        "prices": _read(PriceLike, mixture, "prices", path, parent="mixture."),
        "structure": _read(Structural, mixture, "structure", path, parent="mixture."),
    }
    rest = {key: value for key, value in mixture.items() if key not in parts}
    given: dict[str, Any] = {
        "network": _read(Network, found, "network", path),
        "mixture": table(Mixture, rest, where=f"{path}: [mixture]", given=parts),
        "loss": _read(Loss, found, "loss", path),
        "training": _read(TrainingPlan, found, "training", path),
    }
    for key in found:
        if key not in given:
            raise ConfigError(f"{path}: unknown key '{key}'; known tables are {', '.join(given)}")
    try:
        return PretrainingRecipe(**given)
    except ConfigError as problem:
        raise ConfigError(f"{path}: {problem}") from None


def as_settings(recipe: PretrainingRecipe) -> dict[str, Any]:
    """The recipe as nested plain values, for records and comparisons."""
    return dataclasses.asdict(recipe)


def differences(one: Mapping[str, Any], other: Mapping[str, Any], *, prefix: str = "") -> list[str]:
    """Settings that differ, as ``training.batch: 64, not 32``."""
    found = []
    for key in [*one, *(key for key in other if key not in one)]:
        left, right = one.get(key), other.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += differences(left, right, prefix=f"{prefix}{key}.")
        elif left != right:
            found.append(f"{prefix}{key}: {left}, not {right}")
    return found


def _nested(found: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = found.get(key, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {key} = {value!r}: expected a table [{key}]")
    return value


def _read(
    kind: type[_Table], found: Mapping[str, Any], key: str, path: Path, *, parent: str = ""
) -> _Table:
    return table(kind, _nested(found, key, path), where=f"{path}: [{parent}{key}]")


def _shares(name: str, shares: PriceLike | Structural) -> None:
    for item in dataclasses.fields(shares):
        _share(name, item.name, getattr(shares, item.name))


def _share(name: str, key: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"[{name}] {key} = {value}: expected a share, 0 to 1")


def _at_least(name: str, key: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"[{name}] {key} = {value}: expected {least} or more")


def _positive(name: str, key: str, value: float, *, zero: bool) -> None:
    if value < 0 or (value == 0 and not zero):
        raise ConfigError(
            f"[{name}] {key} = {value}: expected {'0 or more' if zero else 'more than 0'}"
        )
