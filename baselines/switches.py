"""Which repairs a legacy network reads: seen by watching one that is built and used."""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from baselines.networks.build import NETWORKS
from baselines.networks.config import NetworkConfig, Repairs

_SIZES: Mapping[str, Any] = {
    "seq_len": 33,
    "label_len": 16,
    "pred_len": 8,
    "enc_in": 2,
    "dec_in": 2,
    "d_model": 8,
    "n_heads": 2,
    "e_layers": 2,
    "d_layers": 2,
    "d_ff": 8,
    "moving_avg": 5,
}
_SHAPES: tuple[Mapping[str, Any], ...] = (
    {"c_out": 2},
    {"c_out": 1, "c_out_evaluation": 1},
    {"c_out": 6, "c_out_evaluation": 2, "quantile_levels": [0.1, 0.5, 0.9]},
    {"c_out": 2, "n_levels": 1},
)
_READERS = "baselines.networks."


def unread(name: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Switches among some options that the network of a name never reads."""
    given = [each for each in options if each in Repairs.names()]
    return tuple(each for each in given if each not in read_by(name)) if given else ()


@cache
def read_by(name: str) -> frozenset[str]:
    """Switches that a network reads when it is built, forecasts, and describes its uncertainty."""
    seen = set[str]()

    class Watched(Repairs):
        """Notes which of them the networks read; copies note it as well."""

        def __getattribute__(self, name: str) -> Any:
            if str(sys._getframe(1).f_globals.get("__name__")).startswith(_READERS):
                seen.add(name)
            return super().__getattribute__(name)

    offered = inspect.signature(NETWORKS[name]).parameters
    extras: list[dict[str, Any]] = [{"n_samples": 2} if "n_samples" in offered else {}]
    if "uncertainty_method" in offered:  # arguments that lead to different parts
        extras.append({"n_samples": 2, "uncertainty_method": "dropout"})
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for shape, repaired, extra in itertools.product(_SHAPES, (False, True), extras):
            switches = Watched(**dict.fromkeys(Repairs.names(), repaired))
            config = NetworkConfig.from_mapping({**_SIZES, **shape})
            try:
                made = NETWORKS[name](config, repairs=switches, **extra)
            except ValueError:  # a shape this network is not built in
                continue
            _use(made, config)
    return frozenset(seen).intersection(Repairs.names())


def _use(made: Any, config: NetworkConfig) -> None:
    """Call everything public once, in both modes."""
    batch = torch.randn(2, config.seq_len + config.pred_len, config.enc_in)
    marks = torch.zeros(2, config.seq_len + config.pred_len, 4)
    inputs = (
        batch[:, : config.seq_len],
        marks[:, : config.seq_len],
        batch[:, -config.decoder_len :],
        marks[:, -config.decoder_len :],
    )
    for training in (True, False):
        made.train(training)
        made(*inputs)
        if "return_uncertainty" in inspect.signature(made.forward).parameters:
            for detailed in (False, True):
                made(*inputs, return_uncertainty=True, detailed_uncertainty=detailed)
        for name in ("predict_quantiles", "get_uncertainty_metrics"):
            if hasattr(made, name):
                getattr(made, name)(inputs)
        if hasattr(made, "get_kl_loss"):
            made.get_kl_loss()
