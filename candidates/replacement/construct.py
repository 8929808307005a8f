"""From a name, a config and options to a replacement network."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import nn

from candidates.replacement.hf_bayesian import HFBayesianAutoformer
from candidates.replacement.hf_hierarchical import HFHierarchicalAutoformer
from candidates.replacement.hf_quantile import HFQuantileAutoformer
from candidates.replacement.options import Options, ReplacementConfigError

NETWORKS: Mapping[str, type[nn.Module]] = {
    "HFBayesianAutoformer": HFBayesianAutoformer,
    "HFQuantileAutoformer": HFQuantileAutoformer,
    "HFHierarchicalAutoformer": HFHierarchicalAutoformer,
}


def build_network(name: str, config: object, options: Mapping[str, Any]) -> nn.Module:
    """Build the network called `name`; see `candidates.build`."""
    if name not in NETWORKS:
        raise ReplacementConfigError(f"unknown network {name!r}; known are {', '.join(NETWORKS)}")
    network = NETWORKS[name]
    own = [p for p in inspect.signature(network).parameters if p not in ("config", "options")]
    known = [*own, *(item.name for item in fields(Options))]
    unknown = sorted(option for option in options if option not in known)
    if unknown:
        raise ReplacementConfigError(
            f"{name}: unknown option {', '.join(unknown)}; known options are {', '.join(known)}"
        )
    return network(config, **options)
