"""A dataset as a plan sees it, and what of it a unit is handed.

All that lies between the rows whose digest names a unit and the unit itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.running.unit import Job
from harness.window import RollingOrigin, Series, Windows, up_to

if TYPE_CHECKING:
    from harness.arm import ArmRef
    from harness.data.dataset import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A dataset as the plan sees it.

    Attributes
    ----------
    dataset
        After `skip_repeats`, where the plan asks for it.
    windows
        All origins.
    data
        Digest of the rows the plan uses.
    """

    dataset: Dataset
    plan: RollingOrigin
    windows: Windows
    data: str

    @property
    def seen(self) -> Series:
        """Rows before the last origin: all that any forecast may depend on."""
        return up_to(self.dataset.series, int(self.windows.origin[-1]))

    def job(self, ref: ArmRef, *, seed: int, threads: int, batch: int) -> Job:
        """What a process needs to carry out an arm with a seed on it."""
        return Job(
            ref=ref,
            seed=seed,
            plan=self.plan,
            series=self.seen,
            windows=self.windows,
            threads=threads,
            batch=batch,
        )


def split(dataset: Dataset, plan: RollingOrigin) -> Split:
    """Cut a plan's windows out of a dataset."""
    if plan.skip_repeats:
        dataset = dataset.without_repeats()
    windows = plan.over(dataset.series.dates, label=dataset.manifest.id)
    stop = int(windows.judged.max()) + 1
    return Split(dataset=dataset, plan=plan, windows=windows, data=dataset.span_digest(stop))
