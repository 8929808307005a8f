"""What stands beside a verdict in the store: other pairs, costs, checks, claims, earlier verdicts.

Every part may be absent; the page then names the command that makes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.battery.records import CheckRecord
    from harness.claims.nouns import ClaimRow
    from harness.costs import Costs
    from harness.gate.history import Change, Entry
    from harness.judging.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Records beside the verdict.

    Attributes
    ----------
    experiment, store, folder
        As commands name them: experiment, folder of the store, folder of the verdict. Names only,
        no path of a machine.
    others
        Verdicts of the same candidate against the other legacy arms.
    costs
        Measured costs of the candidate by legacy arm; where nothing was measured they say why.
    sessions
        Records of the measuring sessions by legacy arm: phases, percentiles.
    checks
        Results of the battery.
    claims
        What was claimed beside what was measured.
    entry, change
        This verdict in the experiment's history, and what changed since the one before.
    verdicts
        How many verdicts on this pair the history holds.
    """

    experiment: str = "EXPERIMENT"
    store: str = "STORE"
    folder: str = "VERDICT"
    others: Sequence[Verdict] = ()
    costs: Mapping[str, Costs] = field(default_factory=dict)
    sessions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    checks: Sequence[CheckRecord] = ()
    claims: Sequence[ClaimRow] = ()
    entry: Entry | None = None
    change: Change | None = None
    verdicts: int = 0

    def command(self, verb: str, *options: str) -> str:
        """The command that makes a record of the experiment."""
        return " ".join(["abharness", verb, self.experiment, *options, "--store", self.store])

    def check_command(self, arm: str) -> str:
        """The command that tries the battery on an arm of the experiment."""
        return f"abharness check {arm} --experiment {self.experiment} --store {self.store}"

    @property
    def replay_command(self) -> str:
        """The command that judges the same records again."""
        name = self.experiment.removesuffix(".toml")
        return f"abharness replay {self.store}/verdicts/{name}/{self.folder}"
