"""The network that stands for an arm: what the arm's class says of it.

An arm may say which network it is, by three attributes (of the class or the object):

=======================  =======================================================================
``network``              as `abharness check` names it: one of ours, or ``module:Class``
``network_options``      options that network is tried with to be this arm's; none unless given
``build_network(config)``  instead of a name: builds it, from a namespace of the originals' fields
``network_config``       fields that differ from the battery's then; none unless given
``working()``            a context in which the code of `build_network` may run
``network_source``       folder and module of its code, where it is not installed
=======================  =======================================================================

A check of a network is evidence about the arm it stands for, and about no other.
"""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.arm import Arm, ArmRef
from harness.battery.sources import NETWORKS, full_config
from harness.battery.subject import Subject
from harness.errors import ConfigError

CONFIG = "config."
"""Options that begin so are fields of the configuration: sizes, not another network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRef:
    """A network as `abharness check` names it.

    Attributes
    ----------
    target
        Name or ``module:Class``; the arm's own name where the arm builds it.
    use
        Where its code is.
    options
        It is tried with, without fields of the configuration.
    builds
        The arm builds it: it is tried by the arm's name, as a network.
    source
        Folder and module of its code, where it is not installed.
    """

    target: str
    use: str
    options: Mapping[str, Any] = field(default_factory=dict)
    builds: bool = False
    source: tuple[Path, str] | None = None

    def is_tried_with(self, options: Mapping[str, Any]) -> bool:
        """Whether a trial with these options was one of this network, at whatever sizes."""
        return plain_options(options) == plain_options(self.options)


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without those that are fields of the configuration."""
    return {key: value for key, value in options.items() if not key.startswith(CONFIG)}


def network_of(ref: ArmRef, arm: Arm | None = None) -> NetworkRef | None:
    """The network that stands for an arm of an experiment; None where its class names none.

    Raises
    ------
    ArmError
        When the arm cannot be built.
    """
    made = ref.build() if arm is None else arm
    if callable(getattr(made, "build_network", None)):
        source = getattr(made, "network_source", None)
        return NetworkRef(
            target=ref.name, use=ref.use, options=dict(ref.options), builds=True, source=source
        )
    name = getattr(made, "network", None)
    if not isinstance(name, str) or not name:
        return None
    options = dict(getattr(made, "network_options", None) or {})
    return NetworkRef(target=name, use=NETWORKS.get(name, name), options=options)


def network_behind(ref: ArmRef, config: Mapping[str, Any], options: Mapping[str, Any]) -> Subject:
    """The network an arm builds, as something to try.

    Parameters
    ----------
    config
        Fields that differ from the arm's own `network_config`.
    options
        Of the arm, where they differ from the experiment's.

    Raises
    ------
    ConfigError
        When the arm builds none.
    """
    arm: Any = dataclasses.replace(ref, options={**ref.options, **options}).build()
    if not callable(getattr(arm, "build_network", None)):
        raise ConfigError(
            f"arm '{ref.name}' offers no network: {ref.use} has neither `network` nor "
            "`build_network`"
        )
    return Subject(
        name=ref.name,
        config=full_config({**(getattr(arm, "network_config", None) or {}), **config}),
        construct=arm.build_network,
        present=lambda fields: Namespace(**fields),
        use=ref.use,
        at_work=getattr(arm, "working", nullcontext),
    )
