"""The legacy family, rebuilt from its specification; importing this loads no framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from baselines.networks.build import Loaded

__all__ = ["build", "load"]


def build(name: str, config: Mapping[str, Any], **options: Any) -> nn.Module:
    """Build a legacy network by name.

    Parameters
    ----------
    name
        One of the class names of the family, e.g. "Autoformer".
    config
        Plain mapping under the field names of the originals; copied, never kept.
    **options
        Constructor arguments of the original class; names of single repairs (`Repairs`) with
        True or False; `repaired=True` for all repairs at once.

    Raises
    ------
    NetworkConfigError
        A `ValueError`: the name, a field or an option is unknown, missing or out of range.
    """
    from baselines.networks.build import build_network

    return build_network(name, config, options)


def load(network: nn.Module, stored: Mapping[str, Tensor]) -> Loaded:
    """Load stored weights into a network that may have other parts than the one they come from.

    A faithful network takes a checkpoint of the originals strictly, by `load_state_dict`. A
    repaired one has no parts that nothing reads and some of its own: the names that found no
    part, and the parts that found no name, are returned as `unused` and `missing`.

    Raises
    ------
    NetworkConfigError
        A name is stored in another shape, or no name is known at all.
    """
    from baselines.networks.build import load_weights

    return load_weights(network, stored)
