"""What a backbone is told of one batch.

Shapes: B windows, T steps of history, P steps ahead, nt targets, C covariates, m marks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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
