"""A pair of arms: the fallback answers where the primary fails, and every such window is flagged.

Shapes: W windows, H steps, Q levels. The pair answers quantiles on the levels it is asked for,
so that both arms' answers fit into one forecast.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.arm import (
    Arm,
    Fetches,
    HasWeights,
    Learns,
    Loads,
    Option,
    Pins,
    Samples,
    Saves,
    Training,
    card_of,
    continues,
    expect_answer,
    training_of,
)
from harness.arm_ref import ArmRef, attempt
from harness.errors import ArmError, exception_line
from harness.forecast import LEVELS, Forecast
from harness.residuals import ResidualDistribution, measure_residuals
from harness.saved_state import SavedState, read_state, write_state
from harness.window import (
    Array,
    Context,
    Contexts,
    RollingOrigin,
    Rows,
    Series,
    contexts_at,
    frozen,
)

CROSSED = "quantiles fall by more than half of what they rise"
"""Crossing beyond repair: sorting such quantiles would be inventing a distribution."""
SIDES = ("primary", "fallback")
NO_DISTRIBUTION = (
    "it gives a point path only, and the pair was not fitted, so there is no validation span to "
    "measure its errors on"
)


@dataclass(slots=True, kw_only=True)
class _Side:
    """One arm of the pair, with what is known of it.

    Attributes
    ----------
    unloaded, unfit
        Why it can answer no window, '' while it can: its weights cannot be read, its fit failed.
    residuals
        Its errors on the validation span of the last fit, unless it was seen to answer a
        distribution of its own.
    unmeasured
        Why there are none, should it answer a point path only.
    """

    arm: Arm
    unloaded: str = ""
    unfit: str = ""
    residuals: ResidualDistribution | None = None
    unmeasured: str = NO_DISTRIBUTION

    def fit(self, context: Context, seed: int) -> Training | None:
        """Fit the arm where it learns, and measure its errors where it may need them."""
        training = None
        lost = self.unfit if continues(self.arm) else ""  # there is nothing to start from
        self.unfit = (lost or self.unloaded) if isinstance(self.arm, Learns) else ""
        if isinstance(arm := self.arm, Learns) and not self.unfit:
            training, problem = attempt(lambda: training_of(arm.fit(context, seed=seed)))
            _expect_own_fault(problem)
            self.unfit = "" if problem is None else exception_line(problem)
        self.residuals, self.unmeasured = None, self.unfit or self.unloaded
        if self.unmeasured:
            return training
        newest, _ = attempt(partial(self._asked, context, np.array([len(context)])))
        if newest is None or not newest.has_distribution:  # measured once a fit
            plan = RollingOrigin(
                horizon=context.horizon, stride=1, origins=1, validation=context.validation
            )
            self.residuals, problem = attempt(
                lambda: measure_residuals(
                    lambda origins: self._asked(context, origins).point,
                    _series(context),
                    fitted_at=len(context),
                    plan=plan,
                )
            )
            _expect_own_fault(problem)
            self.unmeasured = "" if problem is None else exception_line(problem)
        return training

    def _asked(self, context: Context, origins: Rows) -> Forecast:
        """Its forecast at origins inside of the history it was fitted on."""
        plan = RollingOrigin(horizon=context.horizon, stride=1, origins=1)
        length = self.arm.context_length
        contexts = contexts_at(_series(context), origins, plan=plan, length=length, levels=LEVELS)
        forecast = self.arm.forecast(contexts)
        expect_answer(forecast, contexts)
        return forecast

    def save(self, folder: Path) -> dict[str, str]:
        """Write what its arm learned; facts of this side.

        Raises
        ------
        ArmError
            When its arm learns and cannot be saved.
        """
        if isinstance(self.arm, Learns) and not self.unfit:
            if not isinstance(self.arm, Saves):
                raise ArmError(f"its part {type(self.arm).__name__} learns and has no `save`")
            folder.mkdir()
            self.arm.save(folder)
        return {"unfit": self.unfit, "unmeasured": self.unmeasured}

    def restore(self, folder: Path, facts: Mapping[str, str], relative: Array | None) -> None:
        """Stand as after the fit that was saved."""
        self.unfit, self.unmeasured = facts["unfit"], facts["unmeasured"]
        self.residuals = None if relative is None else ResidualDistribution(relative=relative)
        if isinstance(self.arm, Saves) and isinstance(self.arm, Learns) and not self.unfit:
            self.arm.restore(folder)

    def answer(self, contexts: Contexts) -> _Answers:
        """Answer every window it can; a batch that fails is halved until the culprits are alone."""
        if self.unloaded or self.unfit:
            return _Answers.none(contexts, self.unloaded or self.unfit)
        answers, problem = attempt(partial(self._answer, contexts))
        if answers is not None:
            return answers
        assert problem is not None
        _expect_own_fault(problem)
        if len(contexts) == 1:
            return _Answers.none(contexts, exception_line(problem))
        middle = len(contexts) // 2
        first = self.answer(contexts.part(slice(0, middle)))
        return first.beside(self.answer(contexts.part(slice(middle, None))))

    def _answer(self, contexts: Contexts) -> _Answers:
        """Its answers at the levels asked for, and why a window has no admissible one."""
        seen = _last(contexts, self.arm.context_length)
        forecast = self.arm.forecast(seen)
        expect_answer(forecast, seen)
        if not forecast.has_distribution:
            if self.residuals is None:
                self.unfit = self.unmeasured  # the same for every window of this fit
                return _Answers.none(contexts, self.unmeasured)
            forecast = self.residuals.around(forecast, contexts.last)
        given, crossed = forecast.quantiles, np.zeros(len(forecast), dtype=bool)
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused
            if given is not None:
                change = np.diff(given, axis=-1)
                falls = -np.minimum(change, 0).sum(axis=-1)
                crossed = (falls > np.maximum(change, 0).sum(axis=-1) / 2).any(axis=1)
            if given is not None and np.array_equal(forecast.levels, contexts.levels):
                quantiles = given  # what crosses stays visible, and is counted when scored
            else:
                quantiles = forecast.at(contexts.levels)
        why = forecast.fallback or ("",) * len(forecast)  # an arm may say it of a window itself
        return _Answers(
            point=forecast.point,
            quantiles=quantiles,
            reason=tuple(
                CROSSED if bad and fine else "" if fine else own or "forecast is not finite"
                for bad, fine, own in zip(
                    crossed.tolist(), forecast.finite.tolist(), why, strict=True
                )
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """What one arm answered.

    Attributes
    ----------
    point : [W, H]
    quantiles : [W, H, Q]
    reason
        W texts: why a window has no admissible answer, '' where it has one.
    """

    point: Array
    quantiles: Array
    reason: tuple[str, ...]

    @classmethod
    def none(cls, contexts: Contexts, reason: str) -> _Answers:
        """No answer for any window."""
        blank = np.full((len(contexts), contexts.horizon, len(contexts.levels)), np.nan)
        return cls(point=blank[..., 0], quantiles=blank, reason=(reason,) * len(contexts))

    def beside(self, other: _Answers) -> _Answers:
        """Join with the answers for the windows that follow."""
        return _Answers(
            point=np.concatenate([self.point, other.point]),
            quantiles=np.concatenate([self.quantiles, other.quantiles]),
            reason=self.reason + other.reason,
        )

    @property
    def missed(self) -> Rows:
        """Places of the windows without an admissible answer."""
        return np.flatnonzero([bool(text) for text in self.reason])

    def with_fallback(self, other: _Answers) -> _Answers:
        """Put in another arm's answers for the windows that are missed, with both reasons."""
        point, quantiles, reason = self.point.copy(), self.quantiles.copy(), list(self.reason)
        point[self.missed], quantiles[self.missed] = other.point, other.quantiles
        for place, why in zip(self.missed.tolist(), other.reason, strict=True):
            if why:
                reason[place] = f"primary: {reason[place]}; fallback: {why}"
                point[place] = np.nan
        return _Answers(point=point, quantiles=quantiles, reason=tuple(reason))


@dataclass(slots=True, kw_only=True)
class WithFallback:
    """A primary arm and the one that answers where it fails.

    A window that the primary cannot answer (it raises, gives other windows or steps than it was
    asked for, a number that is not finite, or quantiles that cross beyond repair) is answered by
    the fallback and flagged with the reason in `Forecast.fallback`. The harness counts it as the
    primary's failure; what was delivered is scored apart. Where both fail the window fails.

    Attributes
    ----------
    primary, fallback
        Tables as an arm's in an experiment: ``{use = "module:Class", ...}`` with its options.

    Raises
    ------
    ArmError
        When a table is not one, or its arm cannot be built.
    """

    primary: Mapping[str, Any]
    fallback: Mapping[str, Any]
    _sides: tuple[_Side, ...] = field(init=False, repr=False)
    _seed: int | None = field(init=False, repr=False, default=None)
    _restored: bool = field(init=False, repr=False, default=False)

    def __post_init__(self) -> None:
        sides = []
        for side, spec in self._specs():
            if not isinstance(spec, Mapping) or not isinstance(spec.get("use"), str):
                raise ArmError(
                    f'{side} = {spec!r}: expected a table such as {{use = "module:Class"}}'
                )
            options = {key: value for key, value in spec.items() if key != "use"}
            ref = ArmRef(name=side, use=str(spec["use"]), role="reference", options=options)
            sides.append(_Side(arm=ref.build()))
        self._sides = tuple(sides)

    def _specs(self) -> Sequence[tuple[str, Mapping[str, Any]]]:
        return list(zip(SIDES, (self.primary, self.fallback), strict=True))

    @property
    def context_length(self) -> int | None:
        """The longer of both; each arm is handed its own."""
        lengths = [arm.context_length for arm in self.parts()]
        known = [length for length in lengths if length is not None]
        return max(known) if len(known) == len(lengths) else None

    @property
    def draws(self) -> bool:
        """Whether one of them draws random numbers."""
        return any(isinstance(arm, Samples) and arm.draws for arm in self.parts())

    @property
    def batches_draws(self) -> bool:
        """Whether those that draw start their draws anew for every context."""
        drawing = [arm for arm in self.parts() if isinstance(arm, Samples) and arm.draws]
        return all(getattr(arm, "batches_draws", False) for arm in drawing)

    @property
    def continues(self) -> bool:
        """Whether each fit of one of them starts from its last; the other is fitted anew then."""
        return any(map(continues, self.parts()))

    def parts(self) -> Sequence[Arm]:
        """The primary, then the fallback."""
        return [side.arm for side in self._sides]

    def seed(self, value: int) -> None:
        """Start the generators of both."""
        self._seed = value
        for arm in self.parts():
            if isinstance(arm, Samples):
                arm.seed(value)

    def load(self) -> None:
        """Read the weights of both; one that cannot answers no window."""
        for side in self._sides:
            if isinstance(side.arm, Loads):
                problem = attempt(side.arm.load)[1]
                _expect_own_fault(problem)
                side.unloaded = "" if problem is None else exception_line(problem)

    def fetch(self) -> None:
        """Have what both will load."""
        for arm in self.parts():
            if isinstance(arm, Fetches):
                arm.fetch()

    def pinned(self) -> Mapping[str, Option]:
        """The tables of those whose options name their weights loosely, with exact ones."""
        found: dict[str, Option] = {}
        for (name, spec), arm in zip(self._specs(), self.parts(), strict=True):
            exact = arm.pinned() if isinstance(arm, Pins) else {}
            if exact:
                found[name] = {**spec, **exact}
        return found

    def weight_files(self) -> Sequence[Path]:
        """Weight files of both."""
        owners = [arm for arm in self.parts() if isinstance(arm, HasWeights)]
        return [file for arm in owners for file in arm.weight_files()]

    def card(self) -> Mapping[str, str]:
        """Facts of both, each under its side's name."""
        facts: dict[str, str] = {}
        for (name, spec), arm in zip(self._specs(), self.parts(), strict=True):
            facts[name] = str(spec["use"])
            facts |= {f"{name}: {title}": text for title, text in card_of(arm).items()}
        return facts

    def fit(self, context: Context, *, seed: int) -> Training:
        """Fit those that learn; one that fails answers no window until the next fit.

        One whose fits each start from the last never does again. The training record is the
        primary's, or the fallback's where the primary does not learn.
        """
        if self._restored and not all(map(continues, self.parts())):
            new = WithFallback(primary=self.primary, fallback=self.fallback)
            if self._seed is not None:
                new.seed(self._seed)
            new.load()
            pairs = zip(self._sides, new._sides, strict=True)
            self._sides = tuple(old if continues(old.arm) else fresh for old, fresh in pairs)
        found = [side.fit(context, seed) for side in self._sides]
        return next((training for training in found if training is not None), Training())

    def save(self, folder: Path) -> None:
        """Write what both learned, each in a folder of its side's name, and their errors."""
        sides = dict(zip(SIDES, self._sides, strict=True))
        facts = {name: side.save(folder / name) for name, side in sides.items()}
        measured = {n: s.residuals.relative for n, s in sides.items() if s.residuals is not None}
        write_state(folder, self, SavedState(facts=facts, arrays=measured))

    def restore(self, folder: Path) -> None:
        """Stand as after the fit that was saved."""
        self._restored = True
        state = read_state(folder, self)
        for name, side in zip(SIDES, self._sides, strict=True):
            side.restore(folder / name, state.facts[name], state.arrays.get(name))

    def forecast(self, contexts: Contexts) -> Forecast:
        """Answer every window by the primary, or by the fallback where that fails."""
        primary, fallback = self._sides
        found = primary.answer(contexts)
        if len(found.missed):
            found = found.with_fallback(fallback.answer(contexts.part(found.missed)))
        return dataclasses.replace(
            Forecast.of_quantiles(found.quantiles, contexts.levels, found.point),
            fallback=found.reason,
        )


def _last(contexts: Contexts, length: int | None) -> Contexts:
    """The last sessions of each context: what an arm with that context length is handed."""
    size = contexts.target.shape[1]
    if length is None or length >= size:
        return contexts
    return dataclasses.replace(
        contexts,
        dates=contexts.dates[:, -length:],
        target=contexts.target[:, -length:],
        past=contexts.past[:, -length:],
        length=frozen(np.minimum(contexts.length, length)),
    )


def _series(context: Context) -> Series:
    return Series(
        dates=context.dates,
        target=context.target,
        past=context.past,
        past_names=context.past_names,
        weekmask=context.weekmask,
        season=context.season,
    )


def _expect_own_fault(problem: Exception | None) -> None:
    """Let no fallback answer for a machine without memory: another night it might not have."""
    if isinstance(problem, MemoryError):
        raise problem
