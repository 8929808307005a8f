"""Columns of a dataset as the channels of a network, as Time-Series-Library's loaders lay them out.

Which columns a checkpoint was trained on, in which order and scaled by what, cannot be seen in its
weights: it is asked for, and nothing stands in for an answer.

Shapes: T sessions, C covariates of the dataset, K channels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np

from baselines.pipeline import Scale
from harness.errors import ArmError, ForecastError
from harness.window import Array, Dates

FROM_PRICES = "from prices"
"""Says that the channels are the seven of `baselines.features`."""

TRAINING, UNTIL, NONE = "from training rows", "until ", "none"
"""How a scaler is named where it is not a file."""

Features = Literal["M", "MS", "S"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelColumns:
    """Which dataset columns are the channels, and which channel of an answer is the target.

    Attributes
    ----------
    names
        K columns in the order of the channels.
    target
        The one that is forecast: the target of the dataset.
    features
        As Time-Series-Library has it: ``M`` forecasts every channel, ``MS`` the last from all,
        ``S`` the target from itself.
    output
        Channel of the answer that is the target, from 0, where the rule cannot say.
    """

    names: tuple[str, ...]
    target: str
    features: Features
    output: int | None = None

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            raise ArmError(f"columns = {list(self.names)}: a column is there twice")
        if self.target not in self.names:
            raise ArmError(
                f"target = '{self.target}': expected one of columns = {list(self.names)}"
            )
        if self.features == "S" and len(self.names) > 1:
            raise ArmError(
                f"config.features = 'S' is the target alone, columns = {list(self.names)}"
            )
        if self.features == "MS" and self.names[-1] != self.target and self.output is None:
            raise ArmError(
                f"config.features = 'MS' forecasts the last column, '{self.names[-1]}', not the "
                f"target '{self.target}'; where the checkout orders them otherwise, say which "
                "channel of its answer is the target: output = 0"
            )

    @property
    def covariates(self) -> tuple[str, ...]:
        """The columns that are not the target."""
        return tuple(name for name in self.names if name != self.target)

    @property
    def answered(self) -> int:
        """Channels it forecasts unless the config says otherwise."""
        return len(self.names) if self.features == "M" else 1

    def values(self, target: Array, past: Array, past_names: Sequence[str]) -> Array:
        """The channels [..., T, K] of a target [..., T] and covariates [..., T, C].

        Raises
        ------
        ForecastError
            When a covariate is not there.
        """
        missing = [name for name in self.covariates if name not in past_names]
        if missing:
            raise ForecastError(
                f"columns: no covariate {', '.join(missing)}; there are {', '.join(past_names)}"
            )
        each = [
            target if name == self.target else past[..., list(past_names).index(name)]
            for name in self.names
        ]
        return np.stack(each, axis=-1)

    def place(self, width: int) -> int:
        """Channel of an answer of some width that is the target.

        Raises
        ------
        ArmError
            When neither the rule nor `output` says.
        """
        if self.output is not None:
            if not 0 <= self.output < width:
                raise ArmError(f"output = {self.output}: the network answers {width} channels")
            return self.output
        if width in (1, len(self.names)):
            return self.names.index(self.target) if width > 1 else 0
        raise ArmError(
            f"the network answers {width} channels for {len(self.names)} columns: say which of "
            "them is the target, counted from 0, such as output = 0"
        )


def scale_of(
    scaler: str,
    values: Array,
    dates: Dates,
    *,
    names: Sequence[str],
    training: int | str,
    file: Path | None = None,
) -> Scale:
    """The scaling of K channels that `scaler` names.

    Like scikit-learn's `StandardScaler` it leaves the size of a column that never moves alone.

    Parameters
    ----------
    scaler
        ``from training rows``, ``until DATE``, ``none``, or the name of a file.
    values, dates : [T, K], [T]
    names
        K columns.
    training
        The training rows: how many from the first, or the date of the last.
    file
        Where the file lies.

    Raises
    ------
    ForecastError
        When no row is there to measure, or a number is missing in them.
    """
    if file is not None:
        return read_scaler(file, names)
    if scaler == NONE:
        return Scale(mean=np.zeros(len(names)), sd=np.ones(len(names)))
    if scaler.startswith(UNTIL):
        training = scaler.removeprefix(UNTIL)
    rows = training if isinstance(training, int) else int(np.sum(dates <= np.datetime64(training)))
    seen = values[:rows]
    if not len(seen):
        raise ForecastError(
            f"scaler = '{scaler}': no session on or before {training}, the history begins on "
            f"{dates[0]}; give the checkpoint's own scaler as a file"
        )
    holes = [name for place, name in enumerate(names) if np.isnan(seen[:, place]).any()]
    if holes:
        raise ForecastError(f"columns: {', '.join(holes)} hold no number in some training rows")
    spread = seen.std(axis=0)
    return Scale(mean=seen.mean(axis=0), sd=np.where(spread > 0, spread, 1.0))


def read_scaler(file: Path, names: Sequence[str]) -> Scale:
    """Read means and scales of the columns from a JSON file.

    Raises
    ------
    ArmError
        When it holds something else.
    """
    wanted = '{"columns": [...], "mean": [...], "scale": [...]}'
    if file.suffix in (".pkl", ".pickle", ".joblib"):
        raise ArmError(
            f"scaler = '{file.name}' is refused: a pickle can run any code when it is loaded; "
            f"write {wanted} as JSON once, of columns, scaler.mean_ and scaler.scale_"
        )
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        mean, sd = (np.array(found[key], dtype=np.float64) for key in ("mean", "scale"))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        said = f"{type(problem).__name__}: {problem}"
        raise ArmError(f"scaler = '{file.name}': expected JSON {wanted} ({said})") from None
    order = found.get("columns", list(names))
    if not isinstance(order, list) or sorted(map(str, order)) != sorted(names):
        raise ArmError(f"scaler = '{file.name}' is of columns {order}, not of {list(names)}")
    if mean.shape != (len(names),) or sd.shape != mean.shape:
        raise ArmError(
            f"scaler = '{file.name}': expected {len(names)} means and scales, found "
            f"{mean.size} and {sd.size}"
        )
    if not np.isfinite(mean).all() or not (sd > 0).all():
        raise ArmError(f"scaler = '{file.name}': expected finite means and scales above 0")
    places = [order.index(name) for name in names]
    return Scale(mean=mean[places], sd=sd[places])


def columns_of(
    given: Mapping[str, Any], config: Mapping[str, Any], defaults: Mapping[str, Any]
) -> ChannelColumns | None:
    """The channels that the options of an arm name; None for the seven made of prices.

    Parameters
    ----------
    given
        Options: columns, target, output, scaler, checkpoint, trained_until.
    config
        Fields of the originals that were given.
    defaults
        Fields that the checkout's `run.py` gives.

    Raises
    ------
    ArmError
        Names everything that is not known and has to be said.
    """
    columns = given["columns"]
    listed = isinstance(columns, list) and bool(columns)
    if not listed and columns not in (FROM_PRICES, "", []):
        raise ArmError(
            f"columns = {columns!r}: expected dataset columns such as ['open', 'close'], or "
            f"'{FROM_PRICES}'"
        )
    features = config.get("features", defaults.get("features"))
    target = given["target"] or (columns[0] if listed and len(columns) == 1 else "")
    for named in (config.get("target"), defaults.get("target")):
        target = target or (str(named) if listed and named in columns else "")
    own = [f"config.{key}" for key in ("features", "target") if key in config]
    asked = _unsaid(given, config.get("enc_in"), layout=bool(own))
    if listed and not target:
        asked.append("target, which of the columns is forecast")
    if listed and not features:
        asked.append("config.features: M, MS or S")
    if asked:
        who = (
            f"checkpoint '{Path(given['checkpoint']).name}'"
            if given["checkpoint"]
            else " and ".join(own)
        )
        raise ArmError(
            f"{who or 'columns'}: what cannot be seen has to be said: {'; '.join(asked)}"
        )
    check_date(given["trained_until"], "trained_until")
    if given["scaler"].startswith(UNTIL):
        check_date(given["scaler"].removeprefix(UNTIL), "scaler = 'until ...'")
    if not listed:
        return None
    if features not in ("M", "MS", "S"):
        raise ArmError(f"config.features = {features!r}: expected M, MS or S")
    return ChannelColumns(
        names=tuple(columns), target=target, features=features, output=given["output"]
    )


def _unsaid(given: Mapping[str, Any], width: int | None, *, layout: bool) -> list[str]:
    """What a checkpoint, or a layout in the config, leaves open."""
    checkpoint, asked = given["checkpoint"], []
    if not given["columns"] and (checkpoint or layout):
        channels = "its channels" if width is None else f"its {width} channels"
        asked.append(
            f"columns = [...], the dataset columns that are {channels}, in the order of training "
            f"with the target among them, or '{FROM_PRICES}' for the seven made of prices"
        )
    if checkpoint and given["columns"] != FROM_PRICES and not given["scaler"]:
        asked.append(f"scaler = '{TRAINING}', '{UNTIL}DATE', '{NONE}' or a file: what scaled them")
    if checkpoint and not given["trained_until"]:
        asked.append("trained_until = 'DATE', the last session it has seen")
    return asked


def check_date(text: str, what: str) -> None:
    """Refuse what is no ISO date; nothing is fine.

    Raises
    ------
    ArmError
        Names the option.
    """
    try:
        if text:
            date.fromisoformat(text)
    except ValueError:
        raise ArmError(f"{what} = '{text}': expected a date such as 2019-12-31") from None
