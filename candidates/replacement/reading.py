"""What an arm's contexts hold for a backbone.

Shapes: W windows, T sessions, H steps, C covariates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from candidates.replacement.history import History, informative
from harness.window import Array, Context, Contexts, Dates

CALENDAR = 3


def calendar(dates: Dates) -> Array:
    """Day of the week, of the month and of the year [..., 3], each from 0 to 1; NaN for NaT."""
    days = dates.astype("datetime64[D]")
    month, year = days.astype("datetime64[M]"), days.astype("datetime64[Y]")
    marks = np.stack(
        [
            (days.astype(np.int64) - 4) % 7 / 6,  # 1970-01-05 was a Monday
            (days - month).astype(np.int64) / 30,
            (days - year).astype(np.int64) / 365,
        ],
        axis=-1,
    )
    return np.where(np.isnat(days)[..., None], np.nan, marks)


def history_of(contexts: Contexts, *, covariates: bool) -> History:
    """The target, and with `covariates` the other columns and the calendar, known ahead."""
    target = single(contexts.target)[:, None]
    if not covariates:
        return History(
            targets=target,
            covariates=target[:, :0],
            ahead=target[:, :0, :1].expand(-1, -1, contexts.horizon),
            horizon=contexts.horizon,
        )
    marks = single(calendar(contexts.dates)).transpose(1, 2)
    ahead = single(calendar(contexts.future_dates)).transpose(1, 2)
    past = single(contexts.past).transpose(1, 2)
    unknown = ahead.new_full((*past.shape[:2], contexts.horizon), torch.nan)
    return History(
        targets=target,
        covariates=torch.cat([past, marks], dim=1),
        ahead=torch.cat([unknown, ahead], dim=1),
        horizon=contexts.horizon,
    )


def prepared(history: History) -> list[dict[str, Any]]:
    """The same as Chronos-2's own pipeline takes it: a task per window."""
    ahead = informative(history.covariates, history.ahead)
    targets, others = history.targets.shape[1], history.covariates.shape[1]
    unknown = torch.full((targets, history.horizon), torch.nan)
    return [
        {
            "context": torch.cat([target, other]),
            "future_covariates": torch.cat([unknown, later]),
            "n_targets": targets,
            "n_covariates": others,
            "n_future_covariates": min(CALENDAR, others),
        }
        for target, other, later in zip(history.targets, history.covariates, ahead, strict=True)
    ]


def whole_series(context: Context, *, covariates: bool) -> Tensor:
    """Target and, with `covariates`, other columns and calendar, [1 + C + 3, T]."""
    rows = [single(context.target)[None]]
    if covariates:
        rows += [single(context.past).T, single(calendar(context.dates)).T]
    return torch.cat(rows)


def single(values: Array) -> Tensor:
    """A copy in single precision."""
    return torch.from_numpy(np.array(values, dtype=np.float32))
