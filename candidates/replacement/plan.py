"""How a fine-tuning goes, and where its windows lie; knows no framework."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from harness.window import Rows

LEAST_HISTORY = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuning:
    """How long and how fast to learn.

    Attributes
    ----------
    steps
        Most updates.
    lr
        Learning rate.
    batch_size
        Windows of an update, drawn at random from the training span.
    every
        Updates between two looks at the validation span; one row of the training curve.
    patience
        Looks without improvement after which it ends.
    """

    steps: int = 200
    lr: float = 1e-5
    batch_size: int = 32
    every: int = 20
    patience: int = 3

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "every", "patience"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"finetune.{name} = {value!r}: expected 1 or more")
        number = isinstance(self.lr, (int, float)) and not isinstance(self.lr, bool)
        if not number or not 0.0 < self.lr < math.inf:
            raise ValueError(f"finetune.lr = {self.lr!r}: expected more than 0")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> FineTuning:
        """Read a table.

        Raises
        ------
        ValueError
            Names what is unknown or out of range.
        """
        known = [item.name for item in fields(cls)]
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ValueError(f"finetune.{unknown[0]}: unknown; known are {', '.join(known)}")
        return cls(**given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Where windows may start to be forecast, in one history.

    Attributes
    ----------
    train
        Origins whose truth ends before the validation span.
    validation
        Origins whose truth lies in it, an eighth of the horizon apart.
    """

    train: Rows
    validation: Rows

    @classmethod
    def of(cls, sessions: int, validation: int, horizon: int) -> Spans:
        """Cut a history of N sessions.

        Raises
        ------
        ValueError
            When a span holds no window.
        """
        cut = sessions - validation
        found = cls(
            train=np.arange(min(LEAST_HISTORY, max(cut // 2, 1)), cut - horizon + 1),
            validation=np.arange(max(cut, 1), sessions - horizon + 1, max(1, horizon // 8)),
        )
        if not len(found.train) or not len(found.validation):
            raise ValueError(
                f"a history of {sessions} sessions with {validation} for validation holds "
                f"{len(found.train)} training and {len(found.validation)} validation windows of "
                f"{horizon} steps"
            )
        return found
