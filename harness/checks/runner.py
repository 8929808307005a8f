"""Runs the predicates on a subject, each shielded from the others."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import sys
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.arm import Role, generators_kept, staying
from harness.arm_ref import ArmRef
from harness.checks.arm_subject import ArmSubject
from harness.checks.predicate import (
    REGISTERED,
    CheckOutcome,
    CheckResult,
    Kind,
    Measured,
    NotApplicableError,
    Predicate,
    attempt,
    number_of,
)
from harness.checks.predicates import arms, construction, input_data, inside, uncertainty
from harness.checks.stored_checks import write_check
from harness.checks.subject import (
    CONFIG,
    Factory,
    Subject,
    arm_subject,
    class_subject,
    network_behind,
    network_of,
    network_subject,
    plain_options,
)
from harness.errors import ConfigError, InputError, meant
from harness.running.store_folder import Store

GROUPS = (construction, input_data, uncertainty, inside, arms)


def catalogue(kind: Kind = "network") -> tuple[Predicate, ...]:
    """All predicates asked of a kind of subject, by number."""
    found = [each for (on, _), each in REGISTERED.items() if on == kind]
    return tuple(sorted(found, key=lambda each: number_of(each.code)))


def known_codes() -> tuple[str, ...]:
    """All codes, by number."""
    return tuple(sorted({code for _, code in REGISTERED}, key=number_of))


def check_codes(codes: Collection[str]) -> None:
    """Refuse what is no code of a predicate.

    Raises
    ------
    ConfigError
        Names it, and the known ones.
    """
    unknown = sorted(set(codes) - set(known_codes()))
    if unknown:
        known = ", ".join(known_codes())
        raise ConfigError(f"unknown predicate {', '.join(unknown)}; known are {known}")


def run_battery(
    subject: Subject | ArmSubject, codes: Collection[str] | None = None
) -> tuple[CheckResult, ...]:
    """Try a subject; one result a predicate, by number.

    The global random state is put back, and what the subject prints is swallowed.

    Parameters
    ----------
    subject
        A network or an arm.
    codes
        Which predicates; None is all that are asked of its kind.

    Raises
    ------
    ConfigError
        When a code is unknown.
    """
    kind: Kind = "arm" if isinstance(subject, ArmSubject) else "network"
    listed = {each.code: each for each in catalogue(kind)}
    check_codes(codes or ())
    wanted = listed if codes is None else sorted(set(codes), key=number_of)
    results = []
    with _random_state_kept():
        for code in wanted:
            if code in listed:
                results.append(_tried(listed[code], subject))
                continue
            other = next(each for (_, name), each in REGISTERED.items() if name == code)
            why = f"it applies to a {other.on}; this is an {kind}"
            results.append(_result(other, "not applicable", why))
    return tuple(results)


def expect_input(
    subject: Subject | ArmSubject, *, refusals: tuple[type[Exception], ...] = (InputError,)
) -> None:
    """Build a subject once: what is missing from the input is one error, not one a predicate.

    Raises
    ------
    InputError
        Such as weights that are not there, or an option it does not have; or another of
        `refusals`. Whatever else it raises is for the predicates.
    """
    build = subject.fresh if isinstance(subject, ArmSubject) else subject.build
    with _random_state_kept(), _at_work(subject):
        attempt(build, passing=refusals)


@dataclass(frozen=True, slots=True, kw_only=True)
class _DrawAnswer:
    """What a predicate said on one draw of weights."""

    outcome: CheckOutcome
    reason: str
    found: Measured | None = None


def _tried(predicate: Predicate, subject: Subject | ArmSubject) -> CheckResult:
    """Run one predicate; whatever it raises becomes its result.

    The gravest answer of all draws of weights counts: error, fail, not applicable, pass.
    """
    start = time.perf_counter()
    answers = [_asked(predicate, subject)]
    if isinstance(subject, Subject) and answers[0].found is not None:
        for number in range(1, predicate.draws):
            other = dataclasses.replace(subject, draw=number)
            if not _has_other_weights(subject, other):
                break
            answers.append(_asked(predicate, other))
    outcomes = tuple(each.outcome for each in answers)
    outcome = next(each for each in _GRAVEST if each in outcomes)
    sign = 1 if predicate.limit == "at most" else -1

    def badness(answer: _DrawAnswer) -> float:
        value = math.nan if answer.found is None else sign * answer.found.value
        return math.inf if math.isnan(value) else value

    decides = max((each for each in answers if each.outcome == outcome), key=badness)
    reason = decides.reason
    if len(set(outcomes)) > 1:
        passing = outcomes.count("pass")
        reason += f"; draws of weights disagree: {passing} of {len(outcomes)} pass"
    seconds = time.perf_counter() - start
    return _result(predicate, outcome, reason, draws=outcomes, found=decides.found, seconds=seconds)


_GRAVEST: tuple[CheckOutcome, ...] = ("error", "fail", "not applicable", "pass")


def _asked(predicate: Predicate, subject: Subject | ArmSubject) -> _DrawAnswer:
    try:
        with _at_work(subject):
            found, reason = attempt(lambda: predicate.function(subject))
    except NotApplicableError as reason_given:
        return _DrawAnswer(outcome="not applicable", reason=str(reason_given))
    if found is None:
        return _DrawAnswer(outcome="error", reason=reason)
    return _DrawAnswer(outcome=predicate.judge(found.value), reason=found.said, found=found)


def _has_other_weights(subject: Subject, other: Subject) -> bool:
    """Whether two draws differ: a pretrained network is the same in each, and asked once."""
    import torch

    with _at_work(subject):
        states, problem = attempt(lambda: [each.build().state_dict() for each in (subject, other)])
        if problem:
            return False
        first, second = states
        return first.keys() != second.keys() or not all(
            torch.equal(tensor, second[name]) for name, tensor in first.items()
        )


def _result(
    predicate: Predicate,
    outcome: CheckOutcome,
    reason: str,
    *,
    draws: tuple[CheckOutcome, ...] = (),
    found: Measured | None = None,
    seconds: float = 0.0,
) -> CheckResult:
    return CheckResult(
        code=predicate.code,
        title=predicate.title,
        outcome=outcome,
        measured={} if found is None else {"value": float(found.value), **found.more},
        limit=predicate.limit,
        threshold=predicate.threshold,
        unit=predicate.unit,
        draws=draws,
        reason=" ".join(reason.split()),
        seconds=seconds,
    )


@contextlib.contextmanager
def _at_work(subject: Subject | ArmSubject) -> Iterator[None]:
    """Let a subject's code run: quietly, and a network's on the CPU, where its inputs are.

    Torch is imported for networks alone: an arm that needs it brings it.
    """
    nowhere = io.StringIO()  # what it prints, draws as progress, or warns of
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(redirect_stdout(nowhere))
        stack.enter_context(redirect_stderr(nowhere))
        warnings.simplefilter("ignore")
        if isinstance(subject, Subject):
            import torch

            stack.enter_context(staying(torch.Tensor, torch.nn.Module))
            stack.enter_context(subject.at_work())
        yield


@contextlib.contextmanager
def _random_state_kept() -> Iterator[None]:
    """Put the global generators of Python, numpy and, where it was loaded before, torch back."""
    torch = sys.modules.get("torch")
    kept = torch and (torch.get_rng_state(), torch.is_grad_enabled())
    try:
        with generators_kept():
            yield
    finally:
        if torch and kept:
            torch.set_rng_state(kept[0])
            torch.set_grad_enabled(kept[1])


Resolver = Callable[[str, Mapping[str, Any]], Subject | ArmSubject | None]
"""A target and its options to a subject; None where the target is not known to it."""

ALL = "all"
"""In place of a code that is required: every one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of trying a target.

    Attributes
    ----------
    subject
        What was tried, by the name it is shown with.
    results
        One per predicate, by number.
    met
        Whether everything that was required passed.
    """

    subject: str
    results: tuple[CheckResult, ...]
    met: bool


def check(
    target: str,
    options: Mapping[str, Any],
    *,
    require: bool | Collection[str] = False,
    codes: Collection[str] | None = None,
    resolver: Resolver | None = None,
    store: Store | None = None,
    role: Role | None = None,
    folder: Path | None = None,
) -> Trial:
    """Try a target. A failure that is not required is a result like any other.

    Parameters
    ----------
    target
        A name the resolver knows, or ``module:Class``.
    options
        Options of the arm or network; those called ``config.<field>`` change its configuration.
    require
        True: no predicate may fail. Codes: these must pass; with ``all`` among them no other may
        fail either.
    codes
        Which predicates; None is all.
    store
        Where to keep the results, if anywhere.
    role
        The side the target is on, kept with them.
    folder
        Where a ``module:Class`` is looked for when it is not installed.

    Raises
    ------
    InputError
        When target, option or code is unknown, or the target lacks something it reads.
    """
    check_codes([*(codes or ()), *_codes_in(require)])
    subject = resolver(target, options) if resolver else None
    if subject is None:
        if ":" not in target:
            raise ConfigError(f"'{target}': expected 'module:Class'")
        config, others = split_options(options)
        subject = class_subject(target, config, others, folder=folder)
    expect_input(subject)
    results = run_battery(subject, codes)
    if store is not None:
        used = subject.options if isinstance(subject, ArmSubject) else options
        write_check(store, subject, results, target=target, role=role, options=used)
    met = not failed(results, require=require)
    return Trial(subject=subject.name, results=results, met=met)


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
    horizon: int | None = None,
) -> Resolver:
    """Make a resolver of arms by name, and of networks by name with the factory of each.

    Arms are asked for `horizon` steps: the most that a plan of their experiment asks for.

    Of an arm and a network of the same name the network is taken, which shows more, unless
    `kind` asks for the arm. Asked for a network, an arm that builds one goes before a name.
    """
    factories = {} if kind == "arm" else dict(networks or {})
    arms = dict(arms or {})

    def resolve(target: str, options: Mapping[str, Any]) -> Subject | ArmSubject | None:
        config, others = split_options(options)
        if kind == "network" and target in arms:
            stands = None if target not in factories else network_of(arms[target])
            if target not in factories or (stands is not None and stands.builds):
                return network_behind(arms[target], config, others)
        if target in factories:
            subject = network_subject(factories[target], target, config, others)
            try:  # options that the factory refuses; the rest it raises is for the predicates
                expect_input(subject, refusals=(ValueError, InputError))
            except ValueError as problem:
                raise ConfigError(f"{subject.name}: {' '.join(str(problem).split())}") from None
            return subject
        if target in arms:
            return arm_subject(arms[target], options, horizon=horizon)
        if ":" not in target:
            names = list(dict.fromkeys([*factories, *arms]))
            known, near = ", ".join(names) or "none", meant(target, names)
            raise ConfigError(f"unknown '{target}'{near}; known are {known}, or 'module:Class'")
        return None

    return resolve


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take ``config.<field>`` options apart from the others."""
    config = {k.removeprefix(CONFIG): v for k, v in options.items() if k.startswith(CONFIG)}
    return config, plain_options(options)
