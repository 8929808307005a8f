"""A model of the user's own checkout (Autoformer, Time-Series-Library, their forks) as an arm.

Its code is imported inside the unit's process only, and fed the seven channels of the legacy arms.

Shapes: W windows, H steps asked for, P steps predicted, C channels.
"""

from __future__ import annotations

import copy
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from baselines.checkout import Checkout, reproducible
from baselines.contract import (
    DEFAULTS,
    KNOWN,
    Contract,
    check_config,
    full_config,
)
from baselines.features import WARM_UP, channels
from baselines.pipeline import (
    Scale,
    TrainedNetwork,
    check_ready,
    check_recipe,
    evaluating,
    one_by_one,
    recipe_text,
    schedule_of,
    tensor,
    torch_device,
)
from baselines.weights import put_weights, read_weights
from harness.arm import Training
from harness.errors import ArmError
from harness.forecast import LEVELS, Forecast
from harness.window import Array, Context, Contexts, Dates

if TYPE_CHECKING:
    from baselines.training import Sizes


@dataclass(slots=True, kw_only=True)
class TSLibModel:
    """A network of the user's own code: built, given weights or trained, and asked for prices.

    Called with four positional arguments. A tensor, a tuple (its first element) or a dict with
    `prediction` is understood; quantiles and intervals of a dict become its distribution, as do
    the channels of a network in quantile mode (`quantile_levels` in `config`). Where there are
    none it gives a point path, and the harness adds a distribution.

    Parameters
    ----------
    root
        The checkout, a folder with `models/`.
    model, class_name
        Module under `models/`, and its class: `Model` or the module's name unless given.
    config
        The originals' fields; what is not given is as in `LegacyForecaster`.
    checkpoint
        State dict to start from (`.pth`, `.safetensors`), looked for here, then in `root`.
    train
        Train on each fit's history; False takes the weights as they are.
    model_options, forecast_options
        Keywords of the class beside the config, and of its `forward` when it forecasts.
    epochs, patience, batch_size, learning_rate, train_stride
        As in `LegacyForecaster`.
    device
        ``cpu``, ``cuda``, or ``auto`` for a GPU when there is one.
    """

    root: str
    model: str = "Autoformer"
    class_name: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    checkpoint: str = ""
    train: bool = True
    model_options: dict[str, Any] = field(default_factory=dict)
    forecast_options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 10
    patience: int = 3
    batch_size: int = 32
    learning_rate: float = 1e-4
    train_stride: int = 1
    device: str = "cpu"
    _checkout: Checkout = field(init=False, repr=False)
    _class: Any = field(default=None, init=False, repr=False)
    _weights: Any = field(default=None, init=False, repr=False)
    _network: Any = field(default=None, init=False, repr=False)
    _scale: Any = field(default=None, init=False, repr=False)
    _horizon: int = field(default=0, init=False, repr=False)
    _seed: int = field(default=0, init=False, repr=False)
    _newest: Contexts | None = field(default=None, init=False, repr=False)

    heavy_modules = ("torch",)

    def __post_init__(self) -> None:
        check_recipe(self)
        for name in ("config", "model_options", "forecast_options"):  # the caller's may change
            setattr(self, name, copy.deepcopy(getattr(self, name)))
        root = Path(self.root).expanduser().absolute()
        self._checkout = Checkout(root=root, model=self.model, class_name=self.class_name)
        self._check_options()

    @property
    def context_length(self) -> int:
        """Sessions read at an origin."""
        return int(self._field("seq_len")) + WARM_UP

    def weight_files(self) -> Sequence[Path]:
        """The checkpoint and the checkout's files that decide the forecasts."""
        checkpoint = self._checkpoint_file()
        return [*self._checkout.sources.deciding(), *([checkpoint] if checkpoint else [])]

    def load(self) -> None:
        """Import the class and read the checkpoint.

        Raises
        ------
        ArmError
            When a package, the class or something in the checkpoint is not as it must be.
        """
        import torch  # noqa: F401  # before the checkout opens: its names stay out of torch

        checkpoint = self._checkpoint_file()
        if self._weights is None and checkpoint:
            self._weights = read_weights(checkpoint)
        if self._class is None:
            with self._checkout.opened():
                self._class = self._checkout.find_class()

    @property
    def network_config(self) -> Mapping[str, Any]:
        """Fields the network is tried with by `abharness check --as network`."""
        return copy.deepcopy(self.config)

    @property
    def network_source(self) -> tuple[Path, str]:
        """Where its code is: the folder, and the module in it."""
        return self._checkout.root, f"models.{self.model}"

    def build_network(self, config: Namespace) -> Any:
        """Build the network as it is, with random weights, to be tried on its own.

        Its code runs in `working` alone.
        """
        self._refuse_unknown_fields(vars(config))
        with self._checkout.explaining():
            return self._checkout.find_class()(config, **self.model_options)

    def working(self) -> AbstractContextManager[None]:
        """Let the checkout's packages be imported for a while."""
        import torch  # noqa: F401  # as in `load`

        return self._checkout.opened()

    def fit(self, context: Context, *, seed: int) -> Training:
        """Build the network, and train it where asked to; the scaler sees the training span."""
        self.load()
        values = channels(context.target)
        train_rows = len(values) - context.validation
        self._scale, self._seed = Scale.of(values[: max(train_rows, 1)]), seed
        config, self._horizon = full_config(self.config, context.horizon), context.horizon
        self._newest = _newest(context, self.context_length)
        with self._at_work():
            self._network = self._built(config)
            if not self.train:
                return Training()
            return self._trained(values, train_rows, context, Contract.of(config))

    def save(self, folder: Path) -> None:
        """Write the network's state dict and the scaler; then see that they are all of it.

        Raises
        ------
        ArmError
            When a network of this class that is given these weights forecasts something else: it
            keeps more than its state dict holds, and has to be fitted again.
        """
        trained = TrainedNetwork(
            weights=self._network.state_dict(),
            scale=self._scale,
            horizon=self._horizon,
            seed=self._seed,
        )
        trained.save(folder, self)
        twin = replace(self)
        twin.restore(folder)
        asked = self._newest
        if asked is not None and not _same(self.forecast(asked), twin.forecast(asked)):
            raise ArmError(
                f"{self._checkout.label} cannot be saved: its state dict is not all it keeps of a "
                "fit (register the rest as buffers)"
            )

    def restore(self, folder: Path) -> None:
        """Stand as after the fit that was saved."""
        self.load()
        found = TrainedNetwork.read(folder, self)
        self._seed = found.seed
        with self._at_work():  # what a class draws when it is built is drawn again
            network = self._built(full_config(self.config, found.horizon))
        put_weights(network, found.weights, label=folder.name)
        self._network, self._scale, self._horizon = network, found.scale, found.horizon

    def forecast(self, contexts: Contexts) -> Forecast:
        """Forecast each context alone: some forks let a window see its batch mates."""
        check_ready(self._network, self.model, contexts, self.context_length)
        return one_by_one(self._together, contexts)

    def _together(self, contexts: Contexts) -> Forecast:
        import torch

        from baselines.training import decoder_input

        form = Contract.of(full_config(self.config, contexts.horizon))
        x_enc = tensor(
            self._scale.apply(channels(contexts.target))[..., : form.inputs], self.device
        )
        marks = tensor(form.marks(_dates(contexts, form.pred_len)), self.device)
        x_dec, x_mark_dec = decoder_input(x_enc, marks, _sizes(form))
        with self._at_work(), evaluating(self._network), torch.no_grad():
            output = self._network(
                x_enc, marks[:, : form.seq_len], x_dec, x_mark_dec, **self.forecast_options
            )
        return form.forecast(output, contexts.horizon, self._scale.prices)

    def card(self) -> Mapping[str, str]:
        """Facts for the report."""
        start = f"starts from {Path(self.checkpoint).name}" if self.checkpoint else ""
        frozen = start or "NONE: the weights are the random ones the class begins with"
        return {
            "model": f"{self.model}, the user's own code ({self._checkout.label})",
            "context": f"{self._field('seq_len')} sessions of {self._field('enc_in')} channels "
            f"made of past prices ({WARM_UP} more are read to make them)",
            "distribution": "the model's own where it answers quantiles or intervals, "
            "otherwise none: a point path",
            "training": f"{start}{'; ' if start else ''}{recipe_text(self)}"
            if self.train
            else frozen,
        }

    def _check_options(self) -> None:
        check_config(self.config)
        self._checkout.check(full_config(self.config, 1))
        self._checkpoint_file()
        self._refuse_unknown_fields(self.config)

    def _refuse_unknown_fields(self, config: Mapping[str, Any]) -> None:
        """Fields that neither the originals nor any file of the checkout know: typing errors."""
        given = set(config) - KNOWN
        for name in sorted(given - self._checkout.sources.mentions(given)) if given else ():
            close = get_close_matches(name, sorted(KNOWN), 1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise ArmError(f"config field '{name}' occurs nowhere in the checkout{hint}")

    def _field(self, name: str) -> Any:
        return self.config.get(name, DEFAULTS[name])

    def _checkpoint_file(self) -> Path | None:
        if not self.checkpoint:
            return None
        path = Path(self.checkpoint).expanduser()
        for file in (path, self._checkout.root / path):
            if file.is_file():
                return file.absolute()
        raise ArmError(f"checkpoint = '{self.checkpoint}': no such file, here or in root")

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Their code may run: its packages can be imported, its draws start at the seed."""
        with self._checkout.opened(), reproducible(self._seed, torch_device(self.device)):
            yield

    def _built(self, config: Mapping[str, Any]) -> Any:
        from torch import nn

        name = f"{self._checkout.label}: {self._class.__name__}"
        try:
            network = self._class(Namespace(**config), **self.model_options)
        except (TypeError, ValueError, RuntimeError, AssertionError, LookupError) as problem:
            text = " ".join(f"{type(problem).__name__}: {problem}".split())
            raise ArmError(f"{name} cannot be built with this config: {text}") from problem
        if not isinstance(network, nn.Module):
            raise ArmError(f"{name} is no torch.nn.Module")
        if self._weights is not None:
            put_weights(network, self._weights, label=Path(self.checkpoint).name)
        return network.to(torch_device(self.device))

    def _trained(
        self, values: Array, train_rows: int, context: Context, form: Contract
    ) -> Training:
        """Train the network in place, on its prediction whatever it wraps it in."""
        from baselines.training import Material, train

        if not any(each.requires_grad for each in self._network.parameters()):
            raise ArmError(f"{self.model} has nothing to train; set train = false")
        material = Material(
            values=tensor(self._scale.apply(values)[:, : form.inputs], self.device),
            marks=tensor(form.marks(context.dates[WARM_UP:]), self.device),
            train_rows=train_rows,
        )
        unwrapping = self._network.register_forward_hook(lambda _, __, output: form.trained(output))
        try:
            return train(
                self._network,
                material,
                sizes=_sizes(form),
                schedule=schedule_of(self),
                seed=self._seed,
                loss=form.loss(self._network),
            )
        finally:
            unwrapping.remove()


def _sizes(form: Contract) -> Sizes:
    from baselines.training import Sizes

    return Sizes(
        seq_len=form.seq_len,
        label_len=form.label_len,
        pred_len=form.pred_len,
        outputs=max(1, len(form.levels)),
    )


def _newest(context: Context, sessions: int) -> Contexts | None:
    """The last window of a history; None where it is too short for one."""
    if len(context) < sessions:
        return None
    last = slice(len(context) - sessions, None)
    return Contexts(
        dates=context.dates[None, last],
        target=context.target[None, last],
        past=context.past[None, last],
        past_names=context.past_names,
        length=np.array([sessions]),
        weekmask=context.weekmask,
        season=context.season,
        horizon=context.horizon,
        levels=LEVELS,
    )


def _same(one: Forecast, other: Forecast) -> bool:
    """Whether two forecasts are equal bit by bit, NaN included."""
    pairs = (
        (one.point, other.point),
        (one.quantiles, other.quantiles),
        (one.samples, other.samples),
    )
    return all(
        a is b is None or (a is not None and b is not None and a.tobytes() == b.tobytes())
        for a, b in pairs
    )


def _dates(contexts: Contexts, steps: int) -> Dates:
    """Sessions that have channels, and the next days the calendar opens on, [W, S + P]."""
    future = np.busday_offset(
        contexts.dates[:, -1:], np.arange(1, steps + 1), "backward", weekmask=contexts.weekmask
    )
    return np.concatenate([contexts.dates[:, WARM_UP:], future], axis=1)
