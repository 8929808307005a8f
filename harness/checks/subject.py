"""What is on trial: a network that can be built again and again, with its sizes."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from argparse import Namespace
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

from harness.arm import Arm
from harness.arm_ref import ArmRef, user_code
from harness.checks.arm_subject import HORIZON, ArmSubject
from harness.checks.predicate import NotApplicableError
from harness.errors import ArmError, ConfigError, QuitError

MARKS_BY_FREQUENCY: Mapping[str, int] = MappingProxyType(
    {"h": 4, "t": 5, "s": 6, "m": 1, "a": 1, "w": 2, "d": 3, "b": 3}
)
_DRAWS_APART = 1000
"""Between the seeds of two draws of weights; no predicate asks for so many."""
CALENDAR_TOPS = (13, 32, 7, 24, 4)
"""One more than the largest month, day, weekday, hour and quarter of an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSizes:
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
    def of(cls, config: Mapping[str, Any]) -> NetworkSizes:
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
    draw
        Number of the draw of weights, for predicates that are asked on several.
    arm
        The arm that builds it, whose own files are part of its code; None where there is none.
    """

    name: str
    config: Mapping[str, Any]
    construct: Callable[[Any], Any]
    present: Callable[[Mapping[str, Any]], Any] = dict
    varies: bool = True
    hooks: Hooks = field(default_factory=Hooks)
    use: str = ""
    at_work: Callable[[], AbstractContextManager[object]] = nullcontext
    draw: int = 0
    arm: Arm | None = None

    @property
    def sizes(self) -> NetworkSizes:
        """Sizes of the unchanged configuration."""
        return NetworkSizes.of(self.config)

    def build(self, *, seed: int = 0) -> Any:
        """Build the network, its weights drawn from a seed."""
        return self.build_from(self.present(dict(self.config)), seed=seed)

    def build_from(self, config: Any, *, seed: int = 0) -> Any:
        """Build from a configuration object."""
        import torch

        torch.manual_seed(seed + _DRAWS_APART * self.draw)
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


Factory = Callable[..., Any]
"""Called with a network's name, a configuration mapping, and options."""

LEGACY_NETWORKS = (
    "Autoformer",
    "EnhancedAutoformer",
    "BayesianEnhancedAutoformer",
    "HierarchicalEnhancedAutoformer",
    "QuantileBayesianAutoformer",
)
"""The legacy family, simplest first."""

REPLACEMENT_NETWORKS = (
    "HFBayesianAutoformer",
    "HFQuantileAutoformer",
    "HFHierarchicalAutoformer",
)

NETWORKS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(LEGACY_NETWORKS, "baselines:build")
    | dict.fromkeys(REPLACEMENT_NETWORKS, "candidates:build")
)
"""Networks tried by name, and the factory that builds each."""

UNREAD: Mapping[str, str] = MappingProxyType({"baselines:build": "baselines.switches:unread"})
"""What can tell which options of a factory a network does not read; no part of the networks."""

PROBE: Mapping[str, Any] = MappingProxyType(
    {
        "task_name": "long_term_forecast",
        "seq_len": 96,
        "label_len": 48,
        "pred_len": 24,
        "enc_in": 4,
        "dec_in": 4,
        "c_out": 4,
        "d_model": 16,
        "n_heads": 4,
        "e_layers": 2,
        "d_layers": 1,
        "d_ff": 32,
        "factor": 1,
        "moving_avg": 25,
        "dropout": 0.1,
        "embed": "timeF",
        "freq": "h",
        "activation": "gelu",
        "output_attention": False,
    }
)
"""The dossier's lengths at a width that keeps the whole battery at seconds."""


def network_subject(
    factory: Factory | str,
    name: str,
    config: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    hooks: Hooks | None = None,
) -> Subject:
    """A network a factory builds by name.

    Parameters
    ----------
    factory
        ``build(name, config, **options)``, or where it is: ``package.module:function``.
    config
        Fields that differ from `PROBE`; `dec_in` and `c_out` follow `enc_in`.
    options
        Constructor arguments and switches.

    Raises
    ------
    ArmError
        When the factory is not there, or takes no option of a name.
    """
    build = _found(factory) if isinstance(factory, str) else factory
    given = dict(options or {})
    _refuse_unknown(name, build, given, filled=2)
    return Subject(
        name=name,
        config=full_config(config),
        construct=lambda fields: build(name, fields, **given),
        hooks=hooks or Hooks(),
        use=factory if isinstance(factory, str) else "",
    )


def unread_options(factory: str, name: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Options that a factory takes and the network does not read, where that can be told."""
    if factory not in UNREAD or not options:
        return ()
    return tuple(_found(UNREAD[factory])(name, options))


def class_subject(
    use: str,
    config: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    folder: Path | None = None,
    hooks: Hooks | None = None,
) -> Subject | ArmSubject:
    """A user's class: an arm where it has `forecast`, else a network.

    A network's class is called with one namespace of configuration fields, as the originals
    are, and with the options by name.

    Raises
    ------
    ArmError
        When it cannot be imported, is neither, or takes no option of a name.
    """
    ref = ArmRef(name=use, use=use, role="legacy", options=dict(options or {}), folder=folder)
    top = use.partition(":")[0].partition(".")[0]
    try:
        found = ref.find()
    except ArmError as problem:
        cause = problem.__cause__
        if folder is None or not isinstance(cause, ModuleNotFoundError) or cause.name != top:
            raise
        hint = "; that folder has no __init__.py" if (folder / top).is_dir() else ""
        raise ArmError(
            f"'{use}': no module '{top}', neither installed nor in {folder}{hint}"
        ) from None
    if callable(getattr(found, "forecast", None)):
        return arm_subject(ref)
    if not callable(getattr(found, "forward", None)):
        raise ArmError(f"'{use}' has neither `forecast` (an arm) nor `forward` (a network)")
    given = dict(options or {})
    _refuse_unknown(use, found, given, filled=1)
    return Subject(
        name=use,
        config=full_config(config),
        construct=lambda fields: found(fields, **given),
        present=lambda fields: SimpleNamespace(**fields),
        hooks=hooks or Hooks(),
        use=use,
    )


def arm_subject(
    ref: ArmRef, options: Mapping[str, Any] | None = None, *, horizon: int | None = None
) -> ArmSubject:
    """An arm as an experiment names it, with some options changed, asked for `horizon` steps."""
    return ArmSubject(
        name=ref.name,
        options={**ref.options, **(options or {})},
        construct=lambda given: dataclasses.replace(ref, options=given).build(),
        use=ref.use,
        horizon=horizon or HORIZON,
    )


def full_config(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """`PROBE` with other fields; widths that are not given follow `enc_in` and the levels.

    Raises
    ------
    ArmError
        When the sizes are no whole numbers.
    """
    given = dict(config or {})
    made = {**PROBE, **given}
    made["dec_in"] = given.get("dec_in", made["enc_in"])
    targets = given.get("c_out_evaluation", made["enc_in"])
    levels = len(given.get("quantile_levels") or [None])
    made["c_out"] = given.get("c_out", targets * levels)
    NetworkSizes.of(made)
    return made


def _refuse_unknown(
    label: str, made_by: Callable[..., Any], options: Collection[str], *, filled: int
) -> None:
    """Refuse options that a factory or class has no argument for.

    Parameters
    ----------
    filled
        Arguments at the front that are no options: the configuration, and a name before it.
    """
    found = list(inspect.signature(made_by).parameters.values())
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    first = {each.name for each in found[:filled]}
    known = [e.name for e in found if e.kind in by_name and e.name not in first]
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in found)
    unknown = sorted(o for o in options if o in first or not (takes_any or o in known))
    if unknown:
        offered = f"; known options are {', '.join(known)}" if known else ""
        raise ArmError(
            f"{label}: unknown option {', '.join(unknown)}{offered}; fields of the configuration "
            "are given as config.<field>"
        )


def _found(where: str) -> Factory:
    """Import ``package.module:function``."""
    module, _, name = where.partition(":")
    try:
        with user_code():
            found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, QuitError) as problem:
        raise ArmError(f"factory '{where}': {problem}") from None
    factory: Factory = found
    return factory


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
        arm=arm,
    )
