"""A model of the user's own checkout (Autoformer, Time-Series-Library, their forks) as an arm.

Its code is imported inside the unit's process only, and fed the seven channels of the legacy arms
or columns of the dataset.

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
from baselines.columns import NONE, TRAINING, UNTIL, ChannelColumns, columns_of, scale_of
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
    divergence,
    evaluating,
    one_by_one,
    recipe_text,
    schedule_of,
    tensor,
    torch_device,
)
from baselines.weights import put_weights, read_weights
from harness.arm import Training
from harness.errors import ArmError, ForecastError, exception_line
from harness.forecast import LEVELS, Forecast
from harness.window import Array, Context, Contexts

if TYPE_CHECKING:
    from baselines.training import Sizes


_LAYOUT = ("columns", "target", "output", "scaler", "checkpoint", "trained_until")
_BY_PLAN_AND_DATA = frozenset(
    {"pred_len", "enc_in", "dec_in", "c_out", "root_path", "data_path", "checkpoints"}
)
"""Fields whose default in a `run.py` means nothing here."""


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
        The originals' fields; what is not given is the default of the checkout's `run.py`, and
        where that has none, as in `LegacyForecaster`.
    columns
        Dataset columns that are the channels, in order; ``from prices`` for the seven channels
        made of past prices, as it is where neither a checkpoint nor a layout in `config` asks.
    target
        Which of them is forecast: the dataset's target. Unless given, `config.target`.
    output
        Channel of the answer that is the target, from 0, where `config.features` cannot say.
    scaler
        What scales the columns: ``from training rows`` (each fit's own; of a checkpoint that is
        not trained further, those up to `trained_until`), ``until DATE``, ``none`` or a JSON file.
    checkpoint
        State dict to start from (`.pth`, `.safetensors`), looked for here, then in `root`.
    trained_until
        Date of the last session the checkpoint has seen; needed with one.
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
    columns: list[str] | str = ""
    target: str = ""
    output: int | None = None
    scaler: str = ""
    checkpoint: str = ""
    trained_until: str = ""
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
    _columns: ChannelColumns | None = field(init=False, repr=False)
    _fields: dict[str, Any] = field(init=False, repr=False)
    _class: Any = field(default=None, init=False, repr=False)
    _weights: Any = field(default=None, init=False, repr=False)
    _network: Any = field(default=None, init=False, repr=False)
    _scale: Any = field(default=None, init=False, repr=False)
    _horizon: int = field(default=0, init=False, repr=False)
    _seed: int = field(default=0, init=False, repr=False)
    _diverged: str = field(default="", init=False, repr=False)
    _newest: Contexts | None = field(default=None, init=False, repr=False)

    heavy_modules = ("torch", "torch._dynamo")  # optimisers import the latter: a second a process
    paths = ("root", "checkpoint", "scaler")

    def __post_init__(self) -> None:
        check_recipe(self)
        for name in ("config", "columns", "model_options", "forecast_options"):
            setattr(self, name, copy.deepcopy(getattr(self, name)))  # the caller's may change
        root = Path(self.root).expanduser().absolute()
        self._checkout = Checkout(root=root, model=self.model, class_name=self.class_name)
        self._checkout.check_files()
        defaults = self._checkout.sources.run_defaults()
        self._columns = columns_of(
            {name: getattr(self, name) for name in _LAYOUT}, self.config, defaults
        )
        # beside what is given: of `run.py`, the options and the data
        frequency = {"freq"} if not self.checkpoint or "freq" not in defaults else set()
        fields = {k: v for k, v in defaults.items() if k not in _BY_PLAN_AND_DATA | frequency}
        recipe = ("batch_size", "patience", "learning_rate")
        fields |= {name: getattr(self, name) for name in recipe} | {"train_epochs": self.epochs}
        fields |= {"is_training": int(self.train), "use_gpu": False, "use_multi_gpu": False}
        fields |= {"use_amp": False, "num_workers": 0}
        if self._columns is not None:
            width = len(self._columns.names)
            fields |= {"enc_in": width, "dec_in": width, "features": self._columns.features}
            fields |= {"target": self._columns.target}
        self._fields = {**fields, **self.config}
        self._check_options()

    @property
    def context_length(self) -> int:
        """Sessions read at an origin."""
        return int(self._field("seq_len")) + self._warm_up

    @property
    def reads_columns(self) -> tuple[str, ...]:
        """Covariates that a dataset must have."""
        return () if self._columns is None else self._columns.covariates

    @property
    def target_column(self) -> str:
        """What a dataset's target must be called; '' for anything."""
        return "" if self._columns is None else self._columns.target

    @property
    def _warm_up(self) -> int:
        return WARM_UP if self._columns is None else 0

    def weight_files(self) -> Sequence[Path]:
        """The checkpoint, its scaler and the checkout's files that decide the forecasts."""
        own = (self._checkpoint_file(), self._scaler_file())
        return [*self._checkout.sources.deciding(), *filter(None, own)]

    def fetch(self) -> None:
        """See that device and checkpoint can be used, before anything runs."""
        if self.device not in ("cpu", "auto"):
            torch_device(self.device)
        checkpoint = self._checkpoint_file()
        if checkpoint:
            read_weights(checkpoint)

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
        sizes = {name for name in DEFAULTS if name not in self.config}
        return {k: copy.deepcopy(v) for k, v in self._fields.items() if k not in sizes}

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
        """Build the network, and train it where asked to; the scaler sees training rows alone."""
        self.load()
        values = self._values(context)
        train_rows = len(values) - context.validation
        self._seed, rows = seed, max(train_rows, 1)
        if self._columns is None:
            self._scale = Scale.of(values[:rows])
        else:
            frozen = bool(self.checkpoint) and not self.train
            self._scale = scale_of(
                self.scaler or TRAINING,
                values,
                context.dates,
                names=self._columns.names,
                training=self.trained_until if frozen else rows,
                file=self._scaler_file(),
            )
        self._diverged, self._horizon = "", context.horizon
        config = full_config(self._fields, context.horizon, self._columns)
        self._newest = _newest(context, self.context_length)
        with self._at_work():
            self._network = self._built(config)
            if not self.train:
                return Training()
            done = self._trained(values, train_rows, context, Contract.of(config, self._columns))
        self._diverged = divergence(done, self.learning_rate)
        return done

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
            diverged=self._diverged,
        )
        trained.save(folder, self)
        twin = replace(self)
        twin.restore(folder)
        asked = self._newest
        if asked is None or self._diverged:
            return
        one, other = self.forecast(asked), twin.forecast(asked)
        names = ("point", "quantiles", "samples")
        pairs = [(getattr(one, name), getattr(other, name)) for name in names]
        if not all(  # bit by bit, NaN included
            a is b is None or (a is not None and b is not None and a.tobytes() == b.tobytes())
            for a, b in pairs
        ):
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
            network = self._built(full_config(self._fields, found.horizon, self._columns))
        put_weights(network, found.weights, label=folder.name)
        self._network, self._scale, self._horizon = network, found.scale, found.horizon
        self._diverged = found.diverged

    def forecast(self, contexts: Contexts) -> Forecast:
        """Forecast each context alone: some forks let a window see its batch mates.

        Raises
        ------
        ForecastError
            Before a fit, and where its training diverged.
        """
        check_ready(self._network, self.model, contexts, self.context_length)
        found = one_by_one(self._together, contexts)
        if self._diverged and not found.finite.all():
            raise ForecastError(self._diverged)
        return found

    def _together(self, contexts: Contexts) -> Forecast:
        import torch

        from baselines.training import decoder_input

        full = full_config(self._fields, contexts.horizon, self._columns)
        form = Contract.of(full, self._columns)
        scaled = self._scale.apply(self._values(contexts))
        x_enc = tensor(scaled[..., : form.inputs], self.device)
        ahead = np.busday_offset(  # the next days the calendar opens on, [W, P]
            contexts.dates[:, -1:],
            np.arange(1, form.pred_len + 1),
            "backward",
            weekmask=contexts.weekmask,
        )
        dates = np.concatenate([contexts.dates[:, self._warm_up :], ahead], axis=1)  # [W, S + P]
        marks = tensor(form.marks(dates), self.device)
        x_dec, x_mark_dec = decoder_input(x_enc, marks, self._sizes(form))
        with self._at_work(), evaluating(self._network), torch.no_grad():
            output = self._network(
                x_enc, marks[:, : form.seq_len], x_dec, x_mark_dec, **self.forecast_options
            )
        scale: Scale = self._scale
        if self._columns is None:
            return form.forecast(output, contexts.horizon, scale.prices)
        place = self._columns.names.index(self._columns.target)
        return form.forecast(output, contexts.horizon, lambda scaled: scale.raw(scaled, place))

    def _values(self, seen: Context | Contexts) -> Array:
        """The channels before they are scaled, [..., T, K]."""
        if self._columns is None:
            return channels(seen.target)
        return self._columns.values(seen.target, seen.past, seen.past_names)

    def card(self) -> Mapping[str, str]:
        """Facts for the report."""
        start = f"starts from {Path(self.checkpoint).name}" if self.checkpoint else ""
        frozen = start or "NONE: the weights are the random ones the class begins with"
        length = f"{self._field('seq_len')} sessions of {self._field('enc_in')} channels"
        fed = {"context": f"{length} made of past prices ({WARM_UP} more are read to make them)"}
        if self._columns is not None:
            columns = self._columns
            told = f"{', '.join(columns.names)}; forecast is {columns.target}"
            fed = {
                "context": f"{length}: {told} (features {columns.features})",
                "scaler": self.scaler or TRAINING,
            }
        return {
            "model": f"{self.model}, the user's own code ({self._checkout.label})",
            **fed,
            **({"trained until": self.trained_until} if self.trained_until else {}),
            "distribution": "the model's own where it answers quantiles or intervals, "
            "otherwise none: a point path",
            "training": f"{start}{'; ' if start else ''}{recipe_text(self)}"
            if self.train
            else frozen,
        }

    def _check_options(self) -> None:
        if self.output is not None and self._columns is None:
            raise ArmError("output: needs columns = [...], the channels of the network")
        if self.scaler and self._columns is None:
            raise ArmError("scaler: needs columns = [...]; prices are scaled by training rows")
        if self.trained_until and not self.checkpoint:
            raise ArmError("trained_until: needs a checkpoint")
        check_config(self._fields, self._columns)
        full = full_config(self._fields, 1, self._columns)
        self._checkout.check(full)
        form = Contract.of(full, self._columns)
        if self._columns is not None and not form.levels:
            self._columns.place(full["c_out"])
        self._checkpoint_file()
        self._scaler_file()
        self._refuse_unknown_fields(self.config)

    def _refuse_unknown_fields(self, config: Mapping[str, Any]) -> None:
        """Fields that neither the originals nor any file of the checkout know: typing errors."""
        given = set(config) - KNOWN
        for name in sorted(given - self._checkout.sources.mentions(given)) if given else ():
            close = get_close_matches(name, sorted(KNOWN), 1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise ArmError(f"config field '{name}' occurs nowhere in the checkout{hint}")

    def _field(self, name: str) -> Any:
        return self._fields.get(name, DEFAULTS[name])

    def _checkpoint_file(self) -> Path | None:
        return self._file("checkpoint", self.checkpoint) if self.checkpoint else None

    def _scaler_file(self) -> Path | None:
        words = ("", TRAINING, NONE)
        if self.scaler in words or self.scaler.startswith(UNTIL):
            return None
        return self._file("scaler", self.scaler)

    def _file(self, option: str, name: str) -> Path:
        path = Path(name).expanduser()
        for file in (path, self._checkout.root / path):
            if file.is_file():
                return file.absolute()
        more = f"; or '{TRAINING}', '{UNTIL}DATE', '{NONE}'" if option == "scaler" else ""
        raise ArmError(
            f"{option} = '{name}': no such file, neither beside the experiment file nor in root "
            f"or the current folder{more}"
        )

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
            place = self._checkout.place_of(problem)
            text = f"{place}: {exception_line(problem)}" if place else exception_line(problem)
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
            marks=tensor(form.marks(context.dates[self._warm_up :]), self.device),
            train_rows=train_rows,
        )
        unwrapping = self._network.register_forward_hook(lambda _, __, output: form.trained(output))
        try:
            return train(
                self._network,
                material,
                sizes=self._sizes(form),
                schedule=schedule_of(self),
                seed=self._seed,
                loss=form.loss(self._network),
            )
        finally:
            unwrapping.remove()

    def _sizes(self, form: Contract) -> Sizes:
        from baselines.training import Sizes

        first = 0 if self._columns is None else self._columns.names.index(self._columns.target)
        return Sizes(
            seq_len=form.seq_len,
            label_len=form.label_len,
            pred_len=form.pred_len,
            outputs=form.inputs if form.learns_all else max(1, len(form.levels)),
            first_truth=0 if form.learns_all else first,
            truths=form.inputs if form.learns_all else 1,
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
