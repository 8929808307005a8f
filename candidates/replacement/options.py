"""What a replacement network is told: the originals' fields, and the options of its backbone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from candidates.replacement.loading import BUNDLED, DTYPES, Source

TASKS = ("long_term_forecast", "short_term_forecast")
FEATURES = ("M", "MS", "S")
PREFIX = "hf_"
_MANDATORY = ("seq_len", "pred_len", "enc_in", "c_out")


class ReplacementConfigError(ValueError):
    """A network cannot be built from what it was given; the message names the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the originals have no field for.

    Attributes
    ----------
    backbone
        ``bundled``, a folder, or a hub id such as ``amazon/chronos-bolt-small``.
    revision
        Commit, tag or branch of a hub id.
    dtype
        Number format of the weights, ``float32`` or ``bfloat16``.
    device
        Where it is loaded to; `.to` moves it later.
    local_only
        Never ask the hub.
    freeze_backbone
        Only the backbone's own output layer learns.
    samples
        Least sample paths of a backbone that draws them; more where the outermost level asked
        for needs more.
    seed
        Of the network's own generator, for backbones that draw.
    target_columns
        Where the targets are among the input channels when there are fewer of them: ``first``,
        as in the legacy contract, or ``last``, as in Time-Series-Library's loaders. Unless given,
        `features` says: MS is the last, as the library has it; a config without that field is of
        the legacy contract.
    """

    backbone: str = BUNDLED
    revision: str | None = None
    dtype: str = "float32"
    device: str = "cpu"
    local_only: bool = False
    freeze_backbone: bool = False
    samples: int = 20
    seed: int = 0
    target_columns: Literal["first", "last"] = "first"

    def __post_init__(self) -> None:
        for name in ("backbone", "dtype", "device"):
            _require(name, getattr(self, name), str, "a text")
        for name in ("local_only", "freeze_backbone"):
            _require(name, getattr(self, name), bool, "True or False")
        for name in ("samples", "seed"):
            _require(name, getattr(self, name), int, "a whole number")
        if self.revision is not None:
            _require("revision", self.revision, str, "a text")
        _require_one_of("dtype", self.dtype, DTYPES)
        _require_one_of("target_columns", self.target_columns, ("first", "last"))
        if self.samples < 2:
            raise ReplacementConfigError(f"samples: found {self.samples}, wanted 2 or more")

    @property
    def source(self) -> Source:
        """Where the weights come from."""
        return Source(
            model=self.backbone,
            revision=self.revision,
            dtype=self.dtype,
            device=self.device,
            local_only=self.local_only,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Lengths and channels of one network, under the field names of the originals.

    Attributes
    ----------
    seq_len, pred_len
        Steps of the history and of the forecast.
    enc_in
        Input channels.
    c_out
        Output channels: `targets`, or targets times levels in quantile mode.
    targets
        Forecast channels: the config's `c_out_evaluation`, or what `c_out` says.
    levels
        The config's `quantile_levels`, rising.
    """

    seq_len: int
    pred_len: int
    enc_in: int
    c_out: int
    targets: int
    levels: tuple[float, ...] = ()

    @property
    def quantile_mode(self) -> bool:
        """Whether the output's last axis is target-major quantiles."""
        return bool(self.levels) and self.c_out != self.targets

    @property
    def output_levels(self) -> tuple[float, ...]:
        """Levels of the output's last axis; empty in point mode."""
        return self.levels if self.quantile_mode else ()

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Layout:
        """Read the originals' fields; fields without a meaning here are left alone.

        Raises
        ------
        ReplacementConfigError
            Names every missing field, or the one that is wrong.
        """
        missing = [name for name in _MANDATORY if name not in values]
        if missing:
            raise ReplacementConfigError(
                f"missing field {', '.join(missing)}; every config needs {', '.join(_MANDATORY)}"
            )
        for name in _MANDATORY:
            _require_count(name, values[name])
        _require_one_of("task_name", values.get("task_name") or TASKS[0], TASKS)
        _require_one_of("features", values.get("features") or "M", FEATURES)
        levels = read_levels(values.get("quantile_levels") or ())
        size = {name: values[name] for name in _MANDATORY}
        return cls(**size, targets=_targets(values, levels), levels=levels)


def fields_of(config: object) -> dict[str, Any]:
    """Copy a config's fields; the config is neither changed nor kept.

    Raises
    ------
    ReplacementConfigError
        When it is neither a mapping nor a namespace.
    """
    if isinstance(config, Mapping):
        return {str(name): value for name, value in config.items()}
    if isinstance(config, (str, bytes, int, float, list, tuple, type, type(None))) or not hasattr(
        config, "__dict__"
    ):
        raise ReplacementConfigError(
            f"config: found {type(config).__name__}, wanted a namespace or mapping of fields"
        )
    return dict(vars(config))


def read_options(
    values: Mapping[str, Any], given: Mapping[str, Any], layout: Layout | None = None
) -> Options:
    """Options from keywords and, where these are silent, from fields such as `hf_backbone`.

    Raises
    ------
    ReplacementConfigError
        Names an unknown option, or says that the targets' place among the inputs is open.
    """
    known = [item.name for item in fields(Options)]
    wanted = {n.removeprefix(PREFIX): v for n, v in values.items() if n.startswith(PREFIX)}
    wanted |= given
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise ReplacementConfigError(
            f"unknown option {', '.join(unknown)}; known options are {', '.join(known)}"
        )
    features = values.get("features") or ""
    if layout is not None and layout.targets < layout.enc_in and "target_columns" not in wanted:
        if features in ("M", "S"):
            raise ReplacementConfigError(
                f"features: '{features}' forecasts every input channel, but c_out is "
                f"{layout.targets} of enc_in = {layout.enc_in}; say features = 'MS' for the last, "
                "or where the targets are by hf_target_columns = 'first' or 'last'"
            )
        wanted["target_columns"] = "last" if features == "MS" else "first"
    return Options(**wanted)


def read_levels(levels: Any) -> tuple[float, ...]:
    """Quantile levels in rising order.

    Raises
    ------
    ReplacementConfigError
        When they are not distinct numbers between 0 and 1.
    """
    listed = isinstance(levels, (list, tuple))
    numbers = listed and all(
        isinstance(level, (int, float)) and not isinstance(level, bool) for level in levels
    )
    if not numbers or not all(0.0 < level < 1.0 for level in levels):
        raise ReplacementConfigError(f"quantile_levels: found {levels!r}, wanted numbers in (0, 1)")
    if len(set(levels)) != len(levels):
        raise ReplacementConfigError(f"quantile_levels: found {levels!r}, wanted each level once")
    return tuple(sorted(float(level) for level in levels))


def _targets(values: Mapping[str, Any], levels: tuple[float, ...]) -> int:
    """The number of targets; output channels must be as many, or as many times the levels."""
    width, inputs, count = values["c_out"], values["enc_in"], max(1, len(levels))
    targets = values.get("c_out_evaluation")
    if targets is None:
        targets = width if width <= inputs else width // count
    _require_count("c_out_evaluation", targets)
    if targets > inputs:
        raise ReplacementConfigError(
            f"c_out: found {width} outputs for {targets} targets, wanted at most the {inputs} "
            "input channels (enc_in)"
        )
    if width not in (targets, targets * count):
        raise ReplacementConfigError(
            f"c_out: found {width}, wanted {targets} targets, or {targets * count} channels for "
            f"{count} level(s)"
        )
    return int(targets)


def _require(name: str, value: object, kind: type, wanted: str) -> None:
    wrong_bool = isinstance(value, bool) and kind is not bool
    if not isinstance(value, kind) or wrong_bool:
        raise ReplacementConfigError(f"{name}: found {value!r}, wanted {wanted}")


def _require_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ReplacementConfigError(
            f"{name}: found {value!r}, wanted a whole number of at least 1"
        )


def _require_one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ReplacementConfigError(f"{name}: found {value!r}, wanted one of {', '.join(known)}")
