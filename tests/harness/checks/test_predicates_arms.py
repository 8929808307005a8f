"""Each predicate on arms: one planted arm trips it, one does not."""

import math

import numpy as np
import pytest
import torch

from harness.arm import Epoch, Training
from harness.checks import ArmSubject, catalogue, run_battery
from harness.forecast import Forecast


class Sound:
    """The last value with quantiles around it; learns nothing worth mentioning, but fits."""

    context_length = 20
    best = None

    def __init__(self, factors=(1.0,)):
        self.factors = list(factors)
        self.network = torch.nn.Linear(1, 1).train()

    def fit(self, context, *, seed):
        loss = float(np.square(context.target[-context.validation :]).mean())
        row = Epoch(
            epoch=1, train_loss=1.0, validation_loss=loss, learning_rate=0.1, gradient_norm=1.0
        )
        best = self.best if math.isnan(loss) else 1
        return Training(curve=(row,), best_epoch=best)

    def base(self, contexts):
        return contexts.last * self.factors[0]

    def forecast(self, contexts):
        point = np.repeat(self.base(contexts)[:, None], contexts.horizon, axis=1)
        spread = np.linspace(0.9, 1.1, len(contexts.levels))
        return Forecast.of_quantiles(point[:, :, None] * spread, contexts.levels, point)


class Mates(Sound):
    def base(self, contexts):
        return contexts.last + contexts.last.mean()


class Remembering(Sound):
    """Answers with a later value when it has seen one."""

    def __init__(self):
        super().__init__()
        self.known = {}

    def base(self, contexts):
        for dates, target in zip(contexts.dates, contexts.target, strict=True):
            self.known.update(zip(dates.tolist(), target.tolist(), strict=True))
        return np.array([self.known[max(self.known)]] * len(contexts))


class Noisy(Sound):
    def base(self, contexts):
        return contexts.last * (1.0 + 0.01 * np.random.standard_normal())  # noqa: NPY002


class Switching(Sound):
    def base(self, contexts):
        self.network.eval()
        return contexts.last


class Crossing(Sound):
    def forecast(self, contexts):
        found = super().forecast(contexts)
        return Forecast.of_quantiles(found.quantiles[..., ::-1], found.levels, found.point)


class LiveOptions(Sound):
    def __init__(self, factors=(1.0,)):
        super().__init__()
        self.factors = factors


class Short(Sound):
    def forecast(self, contexts):
        return Forecast.of_point(super().forecast(contexts).point[:, 1:])


class OtherColumn(Sound):
    def base(self, contexts):
        return contexts.past[:, -1, 0]


class KeepsNan(Sound):
    best = 1


class Deaf(Sound):
    def base(self, contexts):
        return np.full(len(contexts), 100.0)


PLANTED = {
    "T1": Mates,
    "T10": Remembering,
    "T18": Noisy,
    "T19": Noisy,
    "T21": Switching,
    "T23": Crossing,
    "T29": LiveOptions,
    "T31": Short,
    "T32": OtherColumn,
    "T33": KeepsNan,
    "T34": Deaf,
}


def result_of(code, kind):
    options = {"factors": [1.0]} if kind in (Sound, LiveOptions) else {}
    subject = ArmSubject(name="planted", options=options, construct=lambda given: kind(**given))
    return run_battery(subject, [code])[0]


def test_a_later_window_of_the_same_batch_must_change_nothing():
    """An arm that mixes the windows of a batch sees what comes later there (T10)."""
    result = result_of("T10", Mates)

    assert result.outcome == "fail"
    assert "beside later contexts" in result.reason


@pytest.mark.parametrize("code", PLANTED)
def test_sound_arm_passes(code):
    """An arm without the fault passes the predicate."""
    result = result_of(code, Sound)

    assert result.outcome == "pass", result.reason


@pytest.mark.parametrize("code", PLANTED)
def test_planted_fault_trips(code):
    """An arm with the fault fails the predicate."""
    result = result_of(code, PLANTED[code])

    assert result.outcome == "fail", result.reason


def test_every_predicate_has_planted_arms():
    """No predicate on arms is listed without an arm that trips it."""
    assert [each.code for each in catalogue("arm")] == list(PLANTED)


def test_predicate_on_networks_does_not_apply_to_an_arm():
    """A code that is asked of networks alone says so when it is asked of an arm."""
    result = result_of("T3", Sound)

    assert result.outcome == "not applicable"
    assert "network" in result.reason


class Spread(Sound):
    """The last value with a distribution in the form it is told."""

    form = "deviation"

    def spread(self, contexts):
        """Relative half width of every step, [W, H]."""
        return np.full((len(contexts), contexts.horizon), 0.01)

    def forecast(self, contexts):
        point = np.repeat(contexts.last[:, None], contexts.horizon, axis=1)
        width = point * self.spread(contexts)
        if self.form == "deviation":
            return Forecast.of_gaussian(point, width)
        if self.form == "quantiles":
            values = point[..., None] + width[..., None] * np.linspace(-1, 1, 3)
            return Forecast.of_quantiles(values, np.array([0.1, 0.5, 0.9]), point)
        return Forecast.of_samples(
            point[:, None] + width[:, None] * np.linspace(-1, 1, 11)[:, None], point
        )


def truths(contexts):
    """What each window would like to know: its first value ahead where a mate holds it, else 0."""
    known = {}
    for dates, target in zip(contexts.dates, contexts.target, strict=True):
        known.update(zip(dates.tolist(), target.tolist(), strict=True))
    ends = contexts.dates[:, -1].tolist()
    ahead = [[day for day in known if day is not None and day > end] for end in ends]
    return np.array([known[min(days)] if days else 0.0 for days in ahead])


class LeakyWidth(Spread):
    """Knows from later windows of its batch how wrong its point will be."""

    def spread(self, contexts):
        found = truths(contexts)
        away = np.where(found > 0, np.abs(found / contexts.last - 1), 0.01)
        return np.repeat(away[:, None], contexts.horizon, axis=1)


class MatesWidth(Spread):
    def spread(self, contexts):
        width = np.full(len(contexts), contexts.last.mean() / 1e4)
        return np.repeat(width[:, None], contexts.horizon, axis=1)


class NoisyWidth(Spread):
    def spread(self, contexts):
        noise = np.random.random_sample((len(contexts), 1))  # noqa: NPY002
        return np.repeat(0.01 + 0.01 * noise, contexts.horizon, axis=1)


class DeafPoint(Spread):
    """Only the width of its forecast depends on the history."""

    def forecast(self, contexts):
        found = super().forecast(contexts)
        still = np.full_like(found.point, 100.0)
        return Forecast.of_gaussian(still, found.deviation * contexts.last[:, None])


class LiveWidth(Spread):
    """Reads the caller's options again when it decides how wide to be."""

    def __init__(self, factors=(1.0,)):
        super().__init__()
        self.factors = factors

    def spread(self, contexts):
        return super().spread(contexts) * (1 + len(self.factors))


def tried(code, kind, **attributes):
    made = type(kind.__name__, (kind,), attributes)
    options = {"factors": [1.0]} if issubclass(kind, LiveWidth) else {}
    subject = ArmSubject(name="planted", options=options, construct=lambda given: made(**given))
    return run_battery(subject, [code])[0]


@pytest.mark.parametrize("form", ["deviation", "quantiles", "samples"])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("T1", MatesWidth), ("T10", LeakyWidth), ("T10", MatesWidth), ("T18", NoisyWidth),
        ("T29", LiveWidth),
    ],
)  # fmt: skip
def test_a_distribution_is_compared_in_every_form(code, kind, form):
    """A fault that the point path does not show is found in deviations, quantiles and samples."""
    assert tried(code, Spread, form=form).outcome == "pass"

    assert tried(code, kind, form=form).outcome == "fail"


def test_a_width_that_reads_the_history_is_enough():
    """An arm whose width alone follows the history depends on it (T34)."""
    assert tried("T34", DeafPoint).outcome == "pass"


class Drawing(Spread):
    """Draws its width, all windows at once, in an order the batch decides."""

    draws = True

    def seed(self, value):
        self.rng = np.random.default_rng(value)

    def spread(self, contexts):
        return 0.01 + 0.01 * self.rng.random((contexts.horizon, len(contexts))).T


class LeakyDrawing(Drawing):
    def spread(self, contexts):
        return super().spread(contexts) * (1 + truths(contexts)[:, None])


class Choosy(Drawing):
    """Draws as often as its batch mates' prices make it."""

    def spread(self, contexts):
        for price in contexts.last[::-1]:
            self.rng.random(round(100 * float(price)) % 17)
        return super().spread(contexts)


class Undeclared(Drawing):
    """Draws from a global generator and says nothing of it."""

    draws = False

    def spread(self, contexts):
        shape = (contexts.horizon, len(contexts))
        return 0.01 + 0.01 * np.random.random_sample(shape).T  # noqa: NPY002


class Restless(Spread):
    """Draws from a generator of its own that nobody can start again."""

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def spread(self, contexts):
        return 0.01 + 0.01 * self.rng.random((len(contexts), contexts.horizon))


@pytest.mark.parametrize("form", ["deviation", "samples"])
@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (Drawing, "pass"), (Undeclared, "pass"), (LeakyDrawing, "fail"),
        (Choosy, "not applicable"), (Restless, "not applicable"),
    ],
)  # fmt: skip
def test_arms_that_draw_are_asked_beside_later_contexts(kind, outcome, form):
    """Random numbers excuse no leak and are taken for none; what nobody can tell is no pass."""
    assert tried("T10", kind, form=form).outcome == outcome


class Historian(Spread):
    """Answers NaN where there is less history than it needs, as the documentation advises."""

    context_length = 1000
    need = 645

    def spread(self, contexts):
        found = super().spread(contexts)
        found[contexts.length < self.need] = np.nan
        return found


class LeakyHistorian(Historian):
    def spread(self, contexts):
        return super().spread(contexts) * (1 + truths(contexts)[:, None])


def test_an_arm_is_asked_with_as_much_history_as_it_reads():
    """Windows of NaN for want of history are no fault, and hide none (T10)."""
    assert tried("T10", Historian).outcome == "pass"
    assert tried("T10", LeakyHistorian).outcome == "fail"


class Nothing(Sound):
    def base(self, contexts):
        return contexts.last * np.nan


class NothingBeside(Sound):
    """Has no answer for a window whose history is padded, so none beside later ones."""

    context_length = None

    def base(self, contexts):
        return np.where(np.isnan(contexts.target).any(axis=1), np.nan, contexts.last)


@pytest.mark.parametrize("code", ["T1", "T10", "T18", "T23", "T29", "T32", "T34"])
def test_no_number_is_neither_a_fault_nor_a_pass(code):
    """Where an arm gives no forecast in numbers, the question does not apply, and that is said."""
    result = tried(code, Nothing)

    assert result.outcome == "not applicable"
    assert "in numbers" in result.reason
    assert tried("T31", Nothing).outcome == "fail"


def test_no_number_beside_later_contexts_is_no_leak():
    """An arm that has no answer in a batch is not accused of reading past its origin (T10)."""
    assert tried("T10", NothingBeside).outcome == "not applicable"


class FitsNothing(Sound):
    def fit(self, context, *, seed):
        pass


@pytest.mark.parametrize("code", ["T10", "T33"])
def test_a_fit_without_a_record_is_an_error(code):
    """What `fit` must return is said by the battery, too."""
    result = tried(code, FitsNothing)

    assert result.outcome == "error"
    assert "expected a Training" in result.reason
