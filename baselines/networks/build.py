"""From a name, a mapping and options to a network."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

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
    return network(NetworkConfig.from_mapping(config), repairs=_repairs(options), **arguments)


def _repairs(options: Mapping[str, Any]) -> Repairs:
    """Single switches win over `repaired`."""
    everything = options.get("repaired", False)
    switches = {name: options.get(name, everything) for name in Repairs.names()}
    for name, value in {"repaired": everything, **switches}.items():
        if not isinstance(value, bool):
            raise NetworkConfigError(f"{name}: found {value!r}, wanted True or False")
    return Repairs(**switches)
