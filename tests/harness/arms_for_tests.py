"""Small arms that behave, misbehave and break, for the tests of the harness."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass

import numpy as np

from harness.arm import Epoch, Training
from harness.forecast import Forecast


@dataclass(slots=True, kw_only=True)
class Flat:
    """The last value, with quantiles a fixed share around it; fails in the way it is told."""

    context: int = 30
    fault: str = ""
    at: float = 0.0
    wait_s: float = 0.0

    @property
    def context_length(self):
        return self.context

    def forecast(self, contexts):
        if self.wait_s:
            time.sleep(self.wait_s)
        last = np.repeat(contexts.last[:, None], contexts.horizon, axis=1)
        if self.fault == "nan":
            last[:] = np.nan
        if self.fault == "raise":
            raise RuntimeError("told to <raise>")
        if self.fault == "raise at" and (contexts.last == self.at).any():
            raise RuntimeError("this window is bad")
        if self.fault == "nan at":
            last[contexts.last == self.at] = np.nan
        if self.fault == "short":
            last = last[:-1]
        if self.fault == "die":
            os._exit(3)
        if self.fault == "eat":
            _ = np.ones(100_000_000)
            time.sleep(60)
        spread = np.linspace(0.9, 1.1, len(contexts.levels))
        return Forecast.of_quantiles(last[:, :, None] * spread, contexts.levels)


@dataclass(slots=True)
class Learner:
    """Learns the mean daily growth; a point path only; draws a little noise per seed."""

    growth: float = 0.0
    noise: float = 0.0
    context_length = 10

    def fit(self, context, *, seed):
        known = context.target[: len(context) - context.validation]
        self.growth = float(np.mean(np.diff(np.log(known))))
        self.noise = float(np.random.default_rng(seed).normal() * 1e-3)
        epoch = Epoch(
            epoch=1,
            train_loss=1.0,
            validation_loss=1.0,
            learning_rate=0.1,
            gradient_norm=1.0,
        )
        return Training(curve=(epoch,), best_epoch=1)

    def forecast(self, contexts):
        steps = np.arange(1, contexts.horizon + 1)
        return Forecast.of_point(
            contexts.last[:, None] * np.exp((self.growth + self.noise) * steps)
        )


@dataclass(slots=True)
class Sampler:
    """Draws paths around the last value."""

    draws = True
    context_length = 5
    value: int = 0

    def seed(self, value):
        self.value = value

    def forecast(self, contexts):
        rng = np.random.default_rng(self.value)
        noise = rng.normal(1.0, 0.025, (len(contexts), 50, contexts.horizon))
        return Forecast.of_samples(contexts.last[:, None, None] * noise)


class Keeper(Learner):
    """A learner that keeps its fits."""

    def save(self, folder):
        (folder / "state.json").write_text(json.dumps([self.growth, self.noise]))

    def restore(self, folder):
        self.growth, self.noise = json.loads((folder / "state.json").read_text())


class Chained(Keeper):
    """Starts each fit from its last one."""

    continues = True

    def fit(self, context, *, seed):
        before = self.growth
        training = super().fit(context, seed=seed)
        self.growth = before / 2 + self.growth
        return training
