"""What `abharness check` does: find the subject, try it, write the results, choose a code."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from harness.arm import ArmRef, Role
from harness.battery.arms import ArmSubject
from harness.battery.behind import CONFIG, network_behind, network_of, plain_options
from harness.battery.nouns import CheckResult, Kind
from harness.battery.records import write_check
from harness.battery.render import WIDTH, table_lines, to_json, to_junit
from harness.battery.runner import check_codes, expect_input, run_battery
from harness.battery.sources import Factory, arm_subject, class_subject, network_subject
from harness.battery.subject import Subject
from harness.errors import ConfigError, InputError
from harness.running.store import Store

Form = Literal["table", "json", "junit"]
Resolver = Callable[[str, Mapping[str, Any]], Subject | ArmSubject | None]
"""A target and its options to a subject; None where the target is not known to it."""

FAILED = 3
ALL = "all"
"""In place of a code that is required: every one."""


def check(
    target: str,
    options: Mapping[str, Any],
    *,
    require: bool | Collection[str] = False,
    form: Form = "table",
    codes: Collection[str] | None = None,
    resolver: Resolver | None = None,
    store: Store | None = None,
    role: Role | None = None,
    folder: Path | None = None,
    width: int = WIDTH,
) -> tuple[str, int]:
    """Try a target and say how it went.

    Parameters
    ----------
    target
        A name the resolver knows, or ``module:Class``.
    options
        Options of the arm or network; those called ``config.<field>`` change its configuration.
    require
        True: no predicate may fail. Codes: these must pass; with ``all`` among them no other may
        fail either.
    form
        How the results are written.
    codes
        Which predicates; None is all.
    store
        Where to keep the results, if anywhere.
    role
        The side the target is on, kept with them.
    folder
        Where a ``module:Class`` is looked for when it is not installed.
    width
        Columns of the table.

    Returns
    -------
    text, exit code
        0, or 3 when a requirement is not met. A failure that is not required is a result.

    Raises
    ------
    InputError
        When target, option or code is unknown, or the target lacks something it reads.
    """
    check_codes([*(codes or ()), *_codes_in(require)])
    found = resolver(target, options) if resolver else None
    subject = found or _by_class(target, options, folder)
    expect_input(subject)
    results = run_battery(subject, codes)
    if store is not None:
        used = subject.options if isinstance(subject, ArmSubject) else options
        write_check(store, subject, results, target=target, role=role, options=used)
    text = _written(results, form, subject.name, width)
    return text, FAILED if failed(results, require=require) else 0


def _written(results: Sequence[CheckResult], form: Form, name: str, width: int) -> str:
    if form == "json":
        return to_json(results, subject=name)
    if form == "junit":
        return to_junit(results, subject=name)
    return "\n".join(table_lines(results, title=name, width=width)) + "\n"


def failed(results: Sequence[CheckResult], *, require: bool | Collection[str]) -> bool:
    """Whether a requirement is not met.

    A required code must have passed: one that does not apply, or was not tried, has not. All are
    required by True, or by ``all`` among the codes: none may fail, and one must pass.
    """
    passed = {result.code for result in results if result.outcome == "pass"}
    bad = any(result.outcome in ("fail", "error") for result in results)
    everything = require if isinstance(require, bool) else ALL in require
    return (everything and (bad or not passed)) or not set(_codes_in(require)) <= passed


def _codes_in(require: bool | Collection[str]) -> list[str]:
    """The single predicates that are required."""
    return [] if isinstance(require, bool) else [code for code in require if code != ALL]


def make_resolver(
    *,
    arms: Mapping[str, ArmRef] | None = None,
    networks: Mapping[str, Factory | str] | None = None,
    kind: Kind | None = None,
) -> Resolver:
    """Make a resolver of arms by name, and of networks by name with the factory of each.

    Of an arm and a network of the same name the network is taken, which shows more, unless
    `kind` asks for the arm. Asked for a network, an arm that builds one goes before a name.
    """
    factories = {} if kind == "arm" else dict(networks or {})
    arms = dict(arms or {})

    def resolve(target: str, options: Mapping[str, Any]) -> Subject | ArmSubject | None:
        config, others = split_options(options)
        behind = kind == "network" and target in arms
        if behind and (target not in factories or _builds(arms[target])):
            return network_behind(arms[target], config, others)
        if target in factories:
            return _buildable(network_subject(factories[target], target, config, others))
        if target in arms:
            return arm_subject(arms[target], options)
        if ":" not in target:
            known = ", ".join(dict.fromkeys([*factories, *arms])) or "none"
            raise ConfigError(f"unknown '{target}'; known are {known}, or 'module:Class'")
        return None

    return resolve


def _builds(ref: ArmRef) -> bool:
    """Whether an arm builds a network of its own."""
    found = network_of(ref)
    return found is not None and found.builds


def _buildable(subject: Subject) -> Subject:
    """Refuse options that the factory refuses; whatever else it raises is for the predicates."""
    try:
        expect_input(subject, refusals=(ValueError, InputError))
    except ValueError as problem:
        raise ConfigError(f"{subject.name}: {' '.join(str(problem).split())}") from None
    return subject


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take ``config.<field>`` options apart from the others."""
    config = {k.removeprefix(CONFIG): v for k, v in options.items() if k.startswith(CONFIG)}
    return config, plain_options(options)


def _by_class(target: str, options: Mapping[str, Any], folder: Path | None) -> Subject | ArmSubject:
    if ":" not in target:
        raise ConfigError(f"'{target}': expected 'module:Class'")
    config, others = split_options(options)
    return class_subject(target, config, others, folder=folder)
