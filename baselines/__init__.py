"""The legacy family, rebuilt from its specification; importing this loads no framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build"]


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
