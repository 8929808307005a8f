"""Each predicate on arms: one planted arm trips it, one does not."""

import math

import numpy as np
import pytest
import torch

from harness.arm import Epoch, Training
from harness.battery import ArmSubject, catalogue, run_battery
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
