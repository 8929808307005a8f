"""What a pair is judged from: the declared grid, the store that fills it, and the policy."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from harness.experiments.policy import Policy
from harness.running.cells import cell_record, has_cell
from harness.running.grid import Grid, GridCell
from harness.running.store_folder import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """One pair of an experiment, with all there is to judge it from.

    Attributes
    ----------
    policy
        The experiment's own, or the same on another pair.
    """

    grid: Grid
    store: Store
    policy: Policy

    @property
    def name(self) -> str:
        """Of the experiment."""
        return self.grid.experiment.name

    @property
    def cells(self) -> list[GridCell]:
        """Declared cells of the pair, in order."""
        return [cell for cell in self.grid.cells if cell.arm.name in self.policy.pair]

    @property
    def stored(self) -> list[GridCell]:
        """Those of them that are in the store as a whole."""
        return [cell for cell in self.cells if has_cell(self.store, cell)]

    @property
    def cards(self) -> dict[str, dict[str, str]]:
        """What each side says of itself, from its first stored cell."""
        found: dict[str, dict[str, str]] = {}
        for cell in self.stored:
            found.setdefault(cell.arm.name, dict(cell_record(self.store, cell).card))
        return found

    @property
    def others(self) -> list[Dossier]:
        """The same for every other legacy arm: they are judged too, and decide nothing."""
        policy = self.policy
        names = (arm.name for arm in self.grid.experiment.arms if arm.role == "legacy")
        against = (
            dataclasses.replace(  # no arm is a reference for itself
                policy,
                baseline=name,
                reference=None if policy.reference == name else policy.reference,
            )
            for name in names
            if name not in policy.pair
        )
        return [dataclasses.replace(self, policy=each) for each in against]
