"""From an arm's contexts to what a backbone is told.

Shapes: W (or B) windows, T sessions of history, H (or P) steps ahead, nt targets, C covariates,
m calendar marks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.window import Array, Context, Contexts, Dates


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One batch, targets apart from what may explain them.

    Attributes
    ----------
    targets : [B, nt, T]
    covariates : [B, C + m, T]
        Other channels, then calendar marks.
    ahead : [B, C + m, P]
        Their values ahead, NaN where they are not known.
    horizon
        P.
    """

    targets: Tensor
    covariates: Tensor
    ahead: Tensor
    horizon: int

    @property
    def rows(self) -> Tensor:
        """Every target of every window, [B * nt, T]."""
        return self.targets.flatten(0, 1)

    def part(self, start: int, stop: int) -> History:
        """Some windows."""
        chosen = slice(start, stop)
        return History(
            targets=self.targets[chosen],
            covariates=self.covariates[chosen],
            ahead=self.ahead[chosen],
            horizon=self.horizon,
        )


def informative(covariates: Tensor, ahead: Tensor) -> Tensor:
    """`ahead` with NaN for what never varied in the history: nothing can be learned from it.

    A backbone that scales by the spread of the history would blow such a value up.
    """
    first = covariates.nan_to_num(nan=torch.inf).amin(-1, keepdim=True)
    last = covariates.nan_to_num(nan=-torch.inf).amax(-1, keepdim=True)
    return torch.where(last > first, ahead, torch.nan)


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
