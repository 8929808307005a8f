"""The replacement and other pretrained models, each an arm; importing this loads no framework."""

from __future__ import annotations

from collections.abc import Mapping
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
    from candidates.replacement.construct import build_network

    return build_network(name, config, options)
