"""What a legacy network is told: its sizes, and which of its known defects are repaired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal

FORECAST_TASKS = ("long_term_forecast", "short_term_forecast")
MARKS_BY_FREQUENCY: Mapping[str, int] = MappingProxyType(
    {"h": 4, "t": 5, "s": 6, "m": 1, "a": 1, "w": 2, "d": 3, "b": 3}
)
WAVELETS: Mapping[str, int] = MappingProxyType(
    {"haar": 1, **{f"db{moments}": moments for moments in range(1, 11)}}
)
"""Vanishing moments of the Daubechies wavelets, by name."""
_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "task_name": FORECAST_TASKS,
        "embed": ("timeF", "fixed", "learned"),
        "freq": tuple(MARKS_BY_FREQUENCY),
        "activation": ("gelu", "relu"),
        "wavelet_type": tuple(WAVELETS),
        "fusion_strategy": ("weighted_concat", "weighted_sum", "attention_fusion"),
    }
)
_COUNTS: tuple[str, ...] = (
    "seq_len",
    "label_len",
    "pred_len",
    "enc_in",
    "dec_in",
    "c_out",
    "d_model",
)
_COUNTS += ("n_heads", "e_layers", "d_layers", "d_ff", "moving_avg", "n_levels")


class NetworkConfigError(ValueError):
    """A network cannot be built from what it was given; the message names the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Sizes and choices of one legacy network, under the field names of the originals.

    Lengths are in time steps, widths in channels. Columns are targets first, covariates after.
    """

    seq_len: int
    label_len: int
    pred_len: int
    enc_in: int
    dec_in: int
    c_out: int
    c_out_evaluation: int | None = None
    d_model: int = 512
    n_heads: int = 8
    e_layers: int = 2
    d_layers: int = 1
    d_ff: int = 2048
    moving_avg: int = 25
    factor: float = 1
    dropout: float = 0.1
    embed: Literal["timeF", "fixed", "learned"] = "timeF"
    freq: str = "h"
    activation: Literal["gelu", "relu"] = "gelu"
    task_name: str = "long_term_forecast"
    output_attention: bool = False
    quantile_levels: tuple[float, ...] = ()
    n_levels: int = 3
    wavelet_type: str = "db4"
    fusion_strategy: str = "weighted_concat"
    use_cross_attention: bool = True

    def __post_init__(self) -> None:
        """Refuse values no network could be built from, naming the field."""
        for name in _COUNTS:
            _require_count(name, getattr(self, name))
        if self.c_out_evaluation is not None:
            _require_count("c_out_evaluation", self.c_out_evaluation)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise NetworkConfigError(
                    f"{name}: found {getattr(self, name)!r}, wanted one of {', '.join(choices)}"
                )
        if self.output_attention:
            raise NetworkConfigError(
                "output_attention: attention maps are not offered, wanted False"
            )
        if self.n_heads > self.d_model:
            raise NetworkConfigError(
                f"n_heads: found {self.n_heads}, wanted at most d_model ({self.d_model})"
            )
        _require_number("factor", self.factor, above=0.0, below=float("inf"))
        if not (_is_number(self.dropout) and 0.0 <= self.dropout < 1.0):
            raise NetworkConfigError(f"dropout: found {self.dropout!r}, wanted 0 <= p < 1")
        if not all(_is_number(level) and 0.0 < level < 1.0 for level in self.quantile_levels):
            raise NetworkConfigError(
                f"quantile_levels: found {self.quantile_levels!r}, wanted numbers in (0, 1)"
            )
        if len(set(self.quantile_levels)) != len(self.quantile_levels):
            raise NetworkConfigError(
                f"quantile_levels: found {self.quantile_levels!r}, wanted each level once"
            )

    @property
    def targets(self) -> int:
        """Number of forecast variables: `c_out_evaluation`, or `c_out` where that is absent."""
        return self.c_out_evaluation or self.c_out

    @property
    def decoder_len(self) -> int:
        """Rows the decoder sees: the label history and the horizon."""
        return self.label_len + self.pred_len

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> NetworkConfig:
        """Read a plain mapping; the mapping is neither changed nor kept.

        Raises
        ------
        NetworkConfigError
            Names every unknown field (and lists the known ones) or every missing one.
        """
        known = {item.name: item for item in fields(cls)}
        unknown = sorted(str(name) for name in values if name not in known)
        if unknown:
            raise NetworkConfigError(
                f"unknown field {', '.join(unknown)}; known fields are {', '.join(known)}"
            )
        missing = [n for n, f in known.items() if f.default is MISSING and n not in values]
        if missing:
            raise NetworkConfigError(f"missing field {', '.join(missing)}")
        read = dict(values)
        read["quantile_levels"] = tuple(read.get("quantile_levels") or ())
        return cls(**read)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _require_number(name: str, value: object, *, above: float, below: float) -> None:
    if not (_is_number(value) and above < value < below):  # type: ignore[operator]  # a number here
        raise NetworkConfigError(f"{name}: found {value!r}, wanted a number above {above}")


def _require_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise NetworkConfigError(f"{name}: found {value!r}, wanted a whole number of at least 1")


def _repair(dossier: str, what: str) -> Any:
    """Declare a switch: False keeps the behaviour of the original, True is the sound one."""
    return field(default=False, metadata={"dossier": dossier, "what": what})


@dataclass(frozen=True, slots=True, kw_only=True)
class Repairs:
    """Known defects that shape forecasts, each kept (False, the default) or repaired (True).

    Every field carries its dossier number and one line on the sound behaviour in its metadata.
    """

    per_sample_lags: bool = _repair("V-01", "choose lags per sample in training too")
    full_length_lags: bool = _repair("V-02", "odd lengths keep all their lags")
    newest_keys: bool = _repair("V-03", "longer keys keep their newest rows, not the oldest")
    target_trend: bool = _repair("V-05", "the trend path carries the targets only")
    working_flags: bool = _repair("V-08", "causal decoder self-attention, dropout of lags")
    aligned_history: bool = _repair("E-01", "decoder history slots hold x_dec's history rows")
    history_level: bool = _repair("E-02", "the trend goes on at the mean of the history rows")
    level_free_encoder: bool = _repair("E-02, H-15", "the level goes by the trend alone")
    future_covariates: bool = _repair("V-09, E-03", "horizon slots hold known covariates")
    blind_to_horizon: bool = _repair("E-04", "horizon target rows of x_dec are never read")
    soft_kernel: bool = _repair("E-05, E-06", "kernel sizes blend and their predictor learns")
    soft_lags: bool = _repair("E-06", "lags fade in and out of the choice, without a jump")
    uniform_kernel: bool = _repair("E-07", "kernels start as plain moving averages")
    configured_kernel: bool = _repair("E-19", "kernels are as wide as moving_avg asks, not 25")
    per_sample_lag_count: bool = _repair("E-09", "number of lags per sample, not batch median")
    plain_lag_count: bool = _repair("E-10, E-11", "number of lags is factor * ln(length)")
    selective_filter: bool = _repair("E-12", "the filter tells low from high frequencies")
    aligned_scales: bool = _repair("E-13", "lags of coarse scales stand where they belong")
    live_parts: bool = _repair("E-14, E-15, H-04", "nothing is built that no forecast reads")
    single_trend: bool = _repair("E-15", "trend increments are counted once")
    open_gains: bool = _repair("E-16", "attention and feed-forward gains start at 1")
    constructor_levels: bool = _repair("E-17", "quantile levels of the constructor are used")
    free_quantiles: bool = _repair("B-14", "quantiles read the features, not the point alone")
    ordered_quantiles: bool = _repair("B-15, Q-07", "quantiles never cross")
    plain_gradients: bool = _repair("B-01, B-02, B-03", "all passes share the caller's grad mode")
    mean_in_eval: bool = _repair("B-04, B-12", "the point forecast in eval is not random")
    private_draws: bool = _repair("B-06", "evaluation leaves torch's global generator alone")
    safe_spread: bool = _repair("B-07", "one sample or no spread gives 0, not NaN")
    observation_noise: bool = _repair("B-08, B-09, B-10", "intervals hold a learned noise")
    keeps_mode: bool = _repair("B-11, Q-08", "a forecast leaves train and eval mode as it was")
    target_major_report: bool = _repair("B-13", "a level is read from its own channels")
    point_report: bool = _repair("B-34", "a report on quantiles has one point path per target")
    mask_in_fifth_place: bool = _repair("B-30", "a mask is no request for uncertainty")
    clean_outputs: bool = _repair("B-16", "dropout does not multiply the forecast")
    inherited_head: bool = _repair("B-24", "the random head starts from the linear it replaces")
    all_bands: bool = _repair("H-01", "every wavelet band is encoded, none is dropped")
    coarse_first: bool = _repair("H-02", "bands are ordered from coarse to fine")
    full_rate_decoding: bool = _repair("H-03", "levels are fused, then decoded at full length")
    configured_fusion: bool = _repair("H-04", "the fusion strategy of the config is used")
    configured_heads: bool = _repair("H-09", "attention has the heads of the config, not 8")
    resized_single_level: bool = _repair("H-11", "a single level is brought to full length too")
    true_wavelet_gradient: bool = _repair("H-13", "the wavelet gradient includes the padding")
    direct_output: bool = _repair("H-15", "no dense map mixes the finished forecast")
    residual_levels: bool = _repair("H-16", "cross-attention adds to a level, not replaces it")
    live_values: bool = _repair("H-17", "attention between levels carries its values")
    scaled_kl: bool = _repair("Q-06", "the KL term is a mean over weights")
    outermost_bounds: bool = _repair("Q-09", "bounds are the outermost levels, not .1 and .9 only")

    @classmethod
    def all(cls) -> Repairs:
        """Everything repaired."""
        return cls(**{item.name: True for item in fields(cls)})

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all switches."""
        return tuple(item.name for item in fields(cls))
