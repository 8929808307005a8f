"""Runs the predicates on a subject, each shielded from the others."""

from __future__ import annotations

import contextlib
import io
import random
import time
import warnings
from collections.abc import Collection, Iterator
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import numpy as np

from harness.battery import (  # the modules that list predicates
    arm_predicates,
    construction,
    divergence,
    inputs,
    internals,
    modes,
    pipeline,
    quantiles,
    smoothness,
    spread,
)
from harness.battery.arms import ArmSubject
from harness.battery.guard import attempt
from harness.battery.nouns import (
    CheckResult,
    Kind,
    Measured,
    NotApplicableError,
    Outcome,
    Predicate,
    number_of,
)
from harness.battery.registry import REGISTERED
from harness.battery.subject import Subject
from harness.devices import staying
from harness.errors import ConfigError, InputError

GROUPS = (
    modes,
    inputs,
    smoothness,
    spread,
    quantiles,
    divergence,
    construction,
    pipeline,
    internals,
    arm_predicates,
)


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
    with _random_state_kept():
        return tuple(
            _tried(listed[code], subject) if code in listed else _not_asked(code, kind)
            for code in wanted
        )


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


def _tried(predicate: Predicate, subject: Any) -> CheckResult:
    """Run one predicate; whatever it raises becomes its result."""
    start = time.perf_counter()
    found: Measured | None = None
    outcome: Outcome = "error"
    try:
        with _at_work(subject):
            found, reason = attempt(lambda: predicate.function(subject))
    except NotApplicableError as reason_given:
        outcome, reason = "not applicable", str(reason_given)
    if found is not None:
        outcome, reason = predicate.judge(found.value), found.said
    return _result(predicate, outcome, reason, found=found, seconds=time.perf_counter() - start)


def _result(
    predicate: Predicate,
    outcome: Outcome,
    reason: str,
    *,
    found: Measured | None = None,
    seconds: float = 0.0,
) -> CheckResult:
    wanted = f"{predicate.limit} {predicate.threshold:g} {predicate.unit}".strip()
    return CheckResult(
        code=predicate.code,
        title=predicate.title,
        outcome=outcome,
        measured={} if found is None else {"value": float(found.value), **found.more},
        threshold=predicate.threshold,
        wanted=wanted,
        reason=" ".join(reason.split()),
        seconds=seconds,
    )


def _not_asked(code: str, kind: Kind) -> CheckResult:
    """The result of a predicate that is not asked of this kind of subject."""
    other = next(each for (_, name), each in REGISTERED.items() if name == code)
    return _result(other, "not applicable", f"it is asked of a {other.on}, this is an {kind}")


@contextlib.contextmanager
def _at_work(subject: Subject | ArmSubject) -> Iterator[None]:
    """Let a subject's code run: quietly, and a network's on the CPU, where its inputs are."""
    import torch

    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet())
        if isinstance(subject, Subject):
            stack.enter_context(staying(torch.Tensor, torch.nn.Module))
            stack.enter_context(subject.at_work())
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Swallow what a subject prints, draws as progress, or warns of."""
    nowhere = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _random_state_kept() -> Iterator[None]:
    """Put the global generators of Python, numpy and torch back."""
    import torch

    own, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002  # the global one
    kept, grads = torch.get_rng_state(), torch.is_grad_enabled()
    try:
        yield
    finally:
        random.setstate(own)
        np.random.set_state(legacy)  # noqa: NPY002
        torch.set_rng_state(kept)
        torch.set_grad_enabled(grads)
