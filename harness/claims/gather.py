"""Gather from store and source files everything that may decide a claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.checks.stored_checks import read_checks
from harness.checks.subject import NetworkRef, network_of
from harness.claims.catalogue import CLAIMS
from harness.claims.claim import (
    Answer,
    ArmOnTrial,
    Claim,
    ClaimEvidence,
    ClaimRow,
    Status,
    StoredRun,
)
from harness.errors import ArmError
from harness.gate.judge import latest_folder, stored_judgement
from harness.gate.stored_scores import score_grid
from harness.judging.verdict import Verdict
from harness.measure.code_lines import CodeSize, arm_size, checkout_sizes, folder_size, together
from harness.running.grid import Grid
from harness.running.store import Store, read_record
from harness.scoring.scores import UnitScores

if TYPE_CHECKING:
    from harness.costs import Costs


def gather(
    grid: Grid,
    store: Store | None,
    *,
    named: str,
    legacy_root: Path | None = None,
    at: Path = Path("runs"),
) -> ClaimEvidence:
    """Read all records of an experiment.

    The judged pair is that of the last verdict on this grid, else the policy's.

    Parameters
    ----------
    store
        None where there is none: then only source lines are evidence.
    named
        The experiment as the user calls it, for the commands in the rows.
    legacy_root
        A checkout of the legacy models, whose source lines count instead of our rebuild's.
    at
        Where the commands in the rows are to make a store when there is none.

    Raises
    ------
    StoreError
        When a record is torn or of a newer version.
    ConfigError
        When `legacy_root` holds no models.
    """
    verdict, name, scores = _judgement(grid, store)
    policy = grid.experiment.policy
    baseline = verdict.legacy if verdict else policy.baseline
    candidate = verdict.candidate if verdict else policy.candidate
    arms = _arms(grid, baseline, candidate)
    roles = {arm.name: arm.role for arm in grid.experiment.arms}
    return ClaimEvidence(
        experiment=named,
        store=str(store.root if store else at),
        baseline=baseline,
        candidate=candidate,
        reference=verdict.validity.reference if verdict else policy.reference_among(roles),
        arms=arms,
        datasets=tuple(grid.splits),
        alpha=policy.alpha,
        coverage_levels=tuple(dict.fromkeys(rule.level for rule in policy.coverage)),
        verdict=verdict,
        verdict_id=name,
        scores=scores,
        runs=_runs(grid, store),
        declared=len(grid.cells),
        checks=tuple(read_checks(store)) if store else (),
        costs=_costs(grid, store, baseline, candidate),
        sizes=_sizes(arms, legacy_root),
    )


def _judgement(
    grid: Grid, store: Store | None
) -> tuple[Verdict | None, str, tuple[UnitScores, ...]]:
    """The last verdict if it is on this grid, the name of its folder, and all scores."""
    if store is None:
        return None, "", ()
    latest = store.verdict_folder(grid.experiment.name) / "latest.json"
    if not latest.is_file() or read_record(latest)["grid"] != grid.digest:
        return None, "", tuple(score_grid(grid, store))
    found = stored_judgement(grid, store)
    return found.verdict, latest_folder(store, grid.experiment.name).name, tuple(found.scores)


def _runs(grid: Grid, store: Store | None) -> tuple[StoredRun, ...]:
    if store is None:
        return ()
    return tuple(
        StoredRun(
            arm=cell.arm.name,
            role=cell.arm.role,
            dataset=cell.dataset,
            seed=cell.seed,
            key=cell.key,
            record=store.unit(cell.key),
        )
        for cell in grid.cells
        if store.has_unit(cell.key)
    )


def _costs(grid: Grid, store: Store | None, baseline: str, candidate: str) -> Costs | None:
    """Costs of the judged pair, where a measuring session was stored."""
    if store is None or not (store.root / "measures").is_dir():
        return None
    from harness.measure.measurements import read_costs

    return read_costs(store, grid, baseline=baseline, candidate=candidate)


def _arms(grid: Grid, baseline: str, candidate: str) -> dict[str, ArmOnTrial]:
    """The judged pair as it is declared, with the networks that stand for it."""
    found = {}
    for side, name in (("baseline", baseline), ("candidate", candidate)):
        ref = grid.experiment.arm(name)
        found[side] = ArmOnTrial(
            name=name, use=ref.use, options=ref.options, network=network_of(ref)
        )
    return found


def _sizes(arms: Mapping[str, ArmOnTrial], legacy_root: Path | None) -> dict[str, CodeSize]:
    """Source lines of the judged pair, and of the checkout; without sides of unknown source.

    Of both sides the same is counted: the arm, and the network that stands for it.
    """
    found = {} if legacy_root is None else checkout_sizes(legacy_root)
    for side, arm in arms.items():
        with suppress(ArmError):
            own = arm_size(arm.use)
            if arm.network is None:
                found[side] = replace(own, what=f"{own.what}; no network stands for it")
                continue
            network = _network_size(arm.network)
            found[side] = together(f"{own.what}; and its network, {network.what}", own, network)
            found[f"{side}_network"] = network
    return found


def _network_size(network: NetworkRef) -> CodeSize:
    return arm_size(network.use) if network.source is None else folder_size(*network.source)


def collect_claims(
    evidence: ClaimEvidence, claims: Sequence[Claim] = CLAIMS
) -> tuple[ClaimRow, ...]:
    """Set every claim beside what was measured, in the order of the catalogue."""
    return tuple(_row(claim, evidence) for claim in claims)


def _row(claim: Claim, evidence: ClaimEvidence) -> ClaimRow:
    if not claim.requirements:
        return ClaimRow(claim=claim, status="not testable", rule=claim.untestable)
    answers = [each.ask(evidence) for each in claim.requirements]
    status = _status(answers)
    still = [each for each in answers if each.holds is None] if status == "undecided" else []
    return ClaimRow(
        claim=claim,
        status=status,
        rule="; and ".join(each.text for each in claim.requirements),
        measured=tuple(row for answer in answers for row in answer.measured),
        open=tuple(each.why for each in still),
        commands=tuple(dict.fromkeys(line for each in still for line in each.commands)),
    )


def _status(answers: Sequence[Answer]) -> Status:
    """Refuted by any that fails, confirmed by all that hold, else undecided."""
    held = [answer.holds for answer in answers]
    if False in held:
        return "refuted"
    return "undecided" if None in held else "confirmed"
