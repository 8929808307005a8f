"""From a name, a mapping and options to a network."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from baselines.networks.autoformer import Autoformer
from baselines.networks.bayesian import BayesianEnhancedAutoformer
from baselines.networks.config import NetworkConfig, NetworkConfigError, Repairs
from baselines.networks.enhanced import EnhancedAutoformer
from baselines.networks.hierarchical import HierarchicalEnhancedAutoformer
from baselines.networks.quantile import QuantileBayesianAutoformer

NETWORKS: Mapping[str, type[nn.Module]] = {
    "Autoformer": Autoformer,
    "EnhancedAutoformer": EnhancedAutoformer,
    "BayesianEnhancedAutoformer": BayesianEnhancedAutoformer,
    "HierarchicalEnhancedAutoformer": HierarchicalEnhancedAutoformer,
    "QuantileBayesianAutoformer": QuantileBayesianAutoformer,
}
OVER_BANDS = "fusion."  # its maps are as wide as there are encoded bands


def build_network(name: str, config: Mapping[str, Any], options: Mapping[str, Any]) -> nn.Module:
    """Build the network called `name`; see `baselines.build`."""
    if name not in NETWORKS:
        raise NetworkConfigError(f"unknown network {name!r}; known are {', '.join(NETWORKS)}")
    network = NETWORKS[name]
    offered = [p for p in inspect.signature(network).parameters if p not in ("config", "repairs")]
    known = ["repaired", *offered, *Repairs.names()]
    unknown = sorted(option for option in options if option not in known)
    if unknown:
        raise NetworkConfigError(
            f"{name}: unknown option {', '.join(unknown)}; known options are {', '.join(known)}"
        )
    arguments = {key: value for key, value in options.items() if key in offered}
    everything = options.get("repaired", False)  # over which single switches win
    switches = {name: options.get(name, everything) for name in Repairs.names()}
    for switch, value in {"repaired": everything, **switches}.items():
        if not isinstance(value, bool):
            raise NetworkConfigError(f"{switch}: found {value!r}, wanted True or False")
    return network(NetworkConfig.from_mapping(config), repairs=Repairs(**switches), **arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What became of stored weights.

    Attributes
    ----------
    unused
        Names that were stored and that the network has no part for.
    missing
        Names of the network that were not stored; they keep what they were built with.

    A map over the encoded bands stands in both where one more of them is encoded (H-01).
    """

    unused: tuple[str, ...]
    missing: tuple[str, ...]


def load_weights(network: nn.Module, stored: Mapping[str, Tensor]) -> Loaded:
    """Load what fits of stored weights, and say what did not; see `baselines.load`."""
    own = network.state_dict()
    known = {name: value for name, value in stored.items() if name in own}
    if not known:
        raise NetworkConfigError(f"no stored name is the network's, such as {next(iter(own))}")
    for name, value in list(known.items()):
        if own[name].shape != value.shape:
            repairs = network.repairs
            assert isinstance(repairs, Repairs)
            if not (name.startswith(OVER_BANDS) and repairs.all_bands):
                raise NetworkConfigError(
                    f"{name}: found shape {list(value.shape)}, wanted {list(own[name].shape)}"
                )
            del known[name]
    left = network.load_state_dict(known, strict=False)
    unused = tuple(name for name in stored if name not in known)
    return Loaded(unused=unused, missing=tuple(left.missing_keys))
