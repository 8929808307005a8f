"""Where subjects come from: a factory of networks, a user's class, an arm."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

from harness.arm import ArmRef
from harness.battery.arms import ArmSubject
from harness.battery.subject import Hooks, Sizes, Subject
from harness.errors import ArmError, QuitError
from harness.user_code import user_code

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
    found = _class_of(ref)
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


def _class_of(ref: ArmRef) -> type[Any]:
    """Import a class; say where it was looked for when its module is nowhere."""
    top = ref.use.partition(":")[0].partition(".")[0]
    try:
        return ref.find()
    except ArmError as problem:
        cause = problem.__cause__
        if ref.folder is None or not isinstance(cause, ModuleNotFoundError) or cause.name != top:
            raise
        hint = "; that folder has no __init__.py" if (ref.folder / top).is_dir() else ""
        raise ArmError(
            f"'{ref.use}': no module '{top}', neither installed nor in {ref.folder}{hint}"
        ) from None


def arm_subject(ref: ArmRef, options: Mapping[str, Any] | None = None) -> ArmSubject:
    """An arm as an experiment names it, with some options changed."""
    return ArmSubject(
        name=ref.name,
        options={**ref.options, **(options or {})},
        construct=lambda given: dataclasses.replace(ref, options=given).build(),
        use=ref.use,
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
    Sizes.of(made)
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
