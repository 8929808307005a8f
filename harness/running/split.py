"""A dataset as a plan sees it, and what of it an arm's process is handed.

All that lies between the rows whose digest names a fit and the fit itself.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import ConfigError
from harness.running.sources import digest
from harness.running.unit import Job
from harness.window import Dates, RollingOrigin, Rows, Series, Windows, up_to

if TYPE_CHECKING:
    from harness.arm_ref import ArmRef
    from harness.data.dataset import Dataset

_NOT_IN_ANCHOR = ("refit", "history", "validation", "truth")
"""Fields of a plan that move no origin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A dataset as the plan sees it.

    Attributes
    ----------
    dataset
        After `skip_repeats`, where the plan asks for it.
    issued
        All origins that can be forecast, those whose outcome has not come included.
    windows
        Those whose steps have all come: what is judged.
    data
        Digest of the rows that decide the judged forecasts and their actuals.
    recorded
        How many of the origins the store had recorded before.
    """

    dataset: Dataset
    plan: RollingOrigin
    issued: Windows
    windows: Windows
    data: str
    recorded: int
    _asked: dict[tuple[str, int, bytes], str] = field(
        default_factory=dict, repr=False, compare=False
    )
    _rows: dict[int, str] = field(default_factory=dict, repr=False, compare=False)
    _days: dict[bytes, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def cutoffs(self) -> Dates:
        """The last session seen at each issued origin."""
        return self.dataset.series.dates[self.issued.origin - 1]

    @property
    def seen(self) -> Series:
        """Rows before the last judged origin: all that any judged forecast may depend on."""
        return up_to(self.dataset.series, int(self.windows.origin[-1]))

    @property
    def asked(self) -> str:
        """Digest of the judged origins, the gap, and the rows that decide forecasts and actuals."""
        name = (self.data, self.windows.gap, self.windows.origin.tobytes())
        if name not in self._asked:
            days = self.days(self.windows.origin)
            self._asked[name] = digest([self.data, self.windows.gap, days])
        return self._asked[name]

    @property
    def nights(self) -> str:
        """Digest of what all nights of a plan on a dataset have in common."""
        return digest([anchor_of(self.dataset.id, self.plan), self.plan.refit])

    def rows_digest(self, origin: int) -> str:
        """Digest of the rows visible at an origin."""
        if origin not in self._rows:
            self._rows[origin] = self.dataset.span_digest(origin)
        return self._rows[origin]

    def days(self, origins: Rows) -> tuple[str, ...]:
        """The last session seen at each of some origins, as ISO dates."""
        name = origins.tobytes()
        if name not in self._days:
            seen = self.dataset.series.dates[origins - 1]
            self._days[name] = tuple(np.datetime_as_string(seen, "D").tolist())
        return self._days[name]

    def job(
        self,
        ref: ArmRef,
        *,
        seed: int,
        threads: int,
        batch: int,
        windows: Windows | None = None,
    ) -> Job:
        """What a process needs to carry out an arm with a seed.

        Parameters
        ----------
        windows
            Left out, all that are judged. No row at or after the last origin is handed over.
        """
        asked = self.windows if windows is None else windows
        return Job(
            ref=ref,
            seed=seed,
            plan=self.plan,
            series=up_to(self.dataset.series, int(asked.origin[-1])),
            windows=asked,
            threads=threads,
            batch=batch,
        )


def anchor_of(dataset: str, plan: RollingOrigin) -> dict[str, object]:
    """What recorded origins belong to: the dataset, and all of the plan that moves an origin."""
    moves = dataclasses.asdict(plan)
    return {
        "dataset": dataset,
        "plan": {name: value for name, value in moves.items() if name not in _NOT_IN_ANCHOR},
    }


def split(
    dataset: Dataset, plan: RollingOrigin, *, cutoffs: Dates | None = None, grow: bool = True
) -> Split:
    """Cut a plan's windows out of a dataset.

    Parameters
    ----------
    cutoffs : [C], optional
        Origins recorded before; see `RollingOrigin.issued`.
    grow
        Add the origins whose context exists by now; where none is recorded, always.

    Raises
    ------
    ConfigError
        When the plan does not fit, or no step of it has come yet.
    """
    if plan.skip_repeats:
        dataset = dataset.without_repeats()
    dates, label = dataset.series.dates, dataset.manifest.id
    known = np.empty(0, dtype="datetime64[D]") if cutoffs is None else cutoffs
    grow = grow or not len(known)
    issued = plan.issued(dates, cutoffs=known, grow=grow, label=label)
    windows = issued.complete(len(dates))
    if not len(windows):
        raise ConfigError(f"[plan] no origin recorded for {label} has all its steps in the data")
    stop = int(windows.judged.max()) + 1
    return Split(
        dataset=dataset,
        plan=plan,
        issued=issued,
        windows=windows,
        data=dataset.span_digest(stop),
        recorded=len(known),
    )
