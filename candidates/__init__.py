"""The replacement and other pretrained models, each an arm; importing this loads no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build"]


def build(name: str, config: Mapping[str, Any] | object, **options: Any) -> nn.Module:
    """Build a replacement network by name.

    Parameters
    ----------
    name
        "HFBayesianAutoformer", "HFQuantileAutoformer" or "HFHierarchicalAutoformer".
    config
        Mapping or namespace under the field names of the originals; copied, never kept.
    **options
        Constructor arguments of the class, such as `backbone` and `freeze_backbone`.

    Raises
    ------
    ReplacementConfigError
        A `ValueError`: the name, a field or an option is unknown, missing or out of range.
    ArmError
        When the backbone is not there.
    """
    import inspect

    from candidates.replacement.hf_bayesian import HFBayesianAutoformer
    from candidates.replacement.hf_hierarchical import HFHierarchicalAutoformer
    from candidates.replacement.hf_quantile import HFQuantileAutoformer
    from candidates.replacement.options import Options, ReplacementConfigError

    networks: dict[str, type[nn.Module]] = {
        each.__name__: each
        for each in (HFBayesianAutoformer, HFQuantileAutoformer, HFHierarchicalAutoformer)
    }
    if name not in networks:
        raise ReplacementConfigError(f"unknown network {name!r}; known are {', '.join(networks)}")
    network = networks[name]
    own = [p for p in inspect.signature(network).parameters if p not in ("config", "options")]
    known = [*own, *(item.name for item in fields(Options))]
    unknown = sorted(option for option in options if option not in known)
    if unknown:
        raise ReplacementConfigError(
            f"{name}: unknown option {', '.join(unknown)}; known options are {', '.join(known)}"
        )
    return network(config, **options)
