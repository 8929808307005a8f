"""What is on trial: a network that can be built again and again, with its sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from harness.battery.nouns import NotApplicableError
from harness.errors import ArmError

MARKS_BY_FREQUENCY: Mapping[str, int] = MappingProxyType(
    {"h": 4, "t": 5, "s": 6, "m": 1, "a": 1, "w": 2, "d": 3, "b": 3}
)
CALENDAR_TOPS = (13, 32, 7, 24, 4)
"""One more than the largest month, day, weekday, hour and quarter of an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes of the forward contract, in steps and channels.

    Attributes
    ----------
    targets
        Forecast variables; they are the leading input channels.
    levels
        Quantile levels of the configuration, ascending; empty in point mode.
    marks
        Calendar features of a step.
    whole_marks
        Marks are whole numbers to look up, not features in [-0.5, 0.5].
    """

    seq_len: int
    label_len: int
    pred_len: int
    enc_in: int
    dec_in: int
    c_out: int
    targets: int
    levels: tuple[float, ...] = ()
    marks: int = 4
    whole_marks: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Sizes:
        """Read a configuration under the field names of the originals.

        Raises
        ------
        ArmError
            When a length or a width is missing.
        """
        names = ("seq_len", "label_len", "pred_len", "enc_in", "dec_in", "c_out")
        missing = [name for name in names if not isinstance(config.get(name), int)]
        if missing:
            raise ArmError(f"config: missing {', '.join(missing)}; expected whole numbers")
        levels = tuple(sorted(config.get("quantile_levels") or ()))
        targets = config.get("c_out_evaluation") or config["c_out"] // max(1, len(levels))
        whole, frequency = config.get("embed", "timeF") != "timeF", config.get("freq", "h")
        marks = (5 if frequency == "t" else 4) if whole else MARKS_BY_FREQUENCY.get(frequency, 4)
        lengths = {name: config[name] for name in names}
        return cls(**lengths, targets=targets, levels=levels, marks=marks, whole_marks=whole)

    @property
    def decoder_len(self) -> int:
        """Rows of the decoder's input."""
        return self.label_len + self.pred_len


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Parts a subject offers by name, before any that are found on the network itself.

    Attributes
    ----------
    uncertainty
        Network and its four inputs to the report of repeated forecasts, a mapping.
    loss
        Network, prediction and truth to the training loss.
    kl
        Network to its weighted KL term.
    truth_column
        Table [N, C], its column names and the target's name to the column [N] that the
        subject's pipeline forecasts and scores.
    keep_best
        Validation losses by epoch to the index of the epoch kept, or None.
    """

    uncertainty: Callable[[Any, tuple[Any, ...]], Mapping[str, Any]] | None = None
    loss: Callable[[Any, Any, Any], Any] | None = None
    kl: Callable[[Any], Any] | None = None
    truth_column: Callable[[Any, Sequence[str], str], Any] | None = None
    keep_best: Callable[[Sequence[float]], int | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A network with the forward contract, as something that can be built.

    Attributes
    ----------
    name
        Shown in every output.
    config
        Plain mapping under the originals' field names; at least the six sizes.
    construct
        Configuration object to network.
    present
        Mapping to the configuration object the constructor is given: a dict, a namespace.
    varies
        The network follows a changed configuration; otherwise predicates that need another
        size do not apply.
    hooks
        Parts offered by name.
    use
        Where its code is, ``module:name``; '' where nobody said.
    at_work
        Entered around each predicate: lets the network's own packages be imported, say.
    """

    name: str
    config: Mapping[str, Any]
    construct: Callable[[Any], Any]
    present: Callable[[Mapping[str, Any]], Any] = dict
    varies: bool = True
    hooks: Hooks = field(default_factory=Hooks)
    use: str = ""
    at_work: Callable[[], AbstractContextManager[object]] = nullcontext

    @property
    def sizes(self) -> Sizes:
        """Sizes of the unchanged configuration."""
        return Sizes.of(self.config)

    def build(self, *, seed: int = 0) -> Any:
        """Build the network, its weights drawn from a seed."""
        return self.build_from(self.present(dict(self.config)), seed=seed)

    def build_from(self, config: Any, *, seed: int = 0) -> Any:
        """Build from a configuration object."""
        import torch

        torch.manual_seed(seed)
        return self.construct(config)

    def changed(self, **changes: Any) -> Subject:
        """The same subject with other configuration fields.

        Raises
        ------
        NotApplicableError
            When it cannot be configured.
        """
        if not self.varies:
            raise NotApplicableError("its configuration cannot be changed")
        return dataclasses.replace(self, config={**self.config, **changes})

    def with_levels(self) -> Subject:
        """The same subject in quantile mode, for at least two targets where it can be."""
        sizes = self.sizes
        if sizes.levels:
            return self
        levels = [0.1, 0.5, 0.9]
        return self.changed(
            quantile_levels=levels,
            c_out=sizes.targets * len(levels),
            c_out_evaluation=sizes.targets,
        )

    def with_covariates(self) -> Subject:
        """The same subject with one target, the other channels known covariates."""
        sizes = self.sizes
        if sizes.targets < sizes.dec_in:
            return self
        if sizes.dec_in == 1:
            raise NotApplicableError("it has a single channel, so no covariates")
        return self.changed(c_out=max(1, len(sizes.levels)), c_out_evaluation=1)
