"""Gather from store and source files everything that may decide a claim."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.arm_ref import ArmRef
from harness.checks.blindness import RECORDED
from harness.checks.predicate import CheckRecord
from harness.checks.stored_checks import files_digest, read_checks
from harness.checks.subject import NetworkRef, network_of
from harness.claims.catalogue import CLAIMS
from harness.claims.claim import (
    ArmOnTrial,
    Claim,
    ClaimEvidence,
    ClaimRow,
    Status,
    StoredRun,
)
from harness.errors import ArmError
from harness.experiments.experiment import Experiment
from harness.gate.history import read_verdict, standing
from harness.gate.judge import Judgement, stored_judgement
from harness.gate.stored_scores import score_grid
from harness.judging.verdict import plain
from harness.measure.code_lines import (
    CodeSize,
    arm_size,
    checkout_models,
    checkout_sizes,
    folder_size,
    together,
)
from harness.measure.record import read_costs
from harness.running.cells import cell_record, has_cell
from harness.running.grid import Grid, GridCell, limits_of
from harness.running.isolation import in_isolation
from harness.running.store_folder import Store
from harness.scoring.scores import UnitScores

_DOCUMENT = {"baseline": "BayesianEnhancedAutoformer", "candidate": "HFBayesianAutoformer"}
"""The pair that the migration summary counts lines of."""


def gather(
    grid: Grid,
    store: Store | None,
    *,
    named: str,
    legacy_root: Path | None = None,
    at: Path = Path("runs"),
    judgement: Judgement | None = None,
) -> ClaimEvidence:
    """Read all records of an experiment.

    The judged pair is that of the last verdict on this grid by the experiment's policy, else the
    policy's own.

    Parameters
    ----------
    store
        None where there is none: then only source lines are evidence.
    named
        The experiment as the user calls it, for the commands in the rows.
    legacy_root
        A checkout of the legacy models, whose source lines and stored checks count instead of
        our rebuild's.
    at
        Where the commands in the rows are to make a store when there is none.
    judgement
        The last verdict on this grid where it was read already.

    Raises
    ------
    StoreError
        When a record is torn or of a newer version.
    ConfigError
        When `legacy_root` holds no models.
    """
    policy = grid.experiment.policy
    verdict, name, scores = None, "", list[UnitScores]()
    if store is not None:
        name = standing(store, grid.experiment.name)
        if name and read_verdict(store, name).fingerprints.get("grid") == grid.digest:
            judged = judgement or stored_judgement(grid, store)
            scores = list(judged.scores)
            if _rules(judged.verdict.policy) == _rules(plain(policy)):
                verdict = judged.verdict
        else:
            scores = list(score_grid(grid, store))
    baseline = verdict.legacy if verdict else policy.baseline
    candidate = verdict.candidate if verdict else policy.candidate
    roles = {arm.name: arm.role for arm in grid.experiment.arms}
    with _importable(legacy_root):
        checks = read_checks(store) if store else []
    sides = {"baseline": grid.experiment.arm(baseline), "candidate": grid.experiment.arm(candidate)}
    behind = _ask_networks(grid.experiment, sides.values(), checks)
    checks = [_as_today(check, behind) for check in checks]
    arms = {
        side: ArmOnTrial(
            name=ref.name,
            use=ref.use,
            options=ref.options,
            network=behind[ref.name].network,
            folder=ref.folder,
        )
        for side, ref in sides.items()
    }
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
        verdict_id=name if verdict else "",
        scores=tuple(scores),
        runs=tuple(_run(store, c) for c in grid.cells if has_cell(store, c)) if store else (),
        declared=len(grid.cells),
        checks=tuple(checks),
        costs=read_costs(store, grid, baseline=baseline, candidate=candidate)
        if store and store.journal.newest("measurement")
        else None,
        checkout={} if legacy_root is None else checkout_models(legacy_root),
        checkout_root="" if legacy_root is None else str(legacy_root),
        sizes=_sizes(arms, legacy_root),
    )


def _rules(policy: Mapping[str, Any]) -> dict[str, Any]:
    """A policy as plain data, whatever pair it was put to."""
    pair = ("baseline", "candidate", "reference")
    return {key: value for key, value in policy.items() if key not in pair}


@dataclass(frozen=True, slots=True, kw_only=True)
class _ArmNetwork:
    """The network behind an arm, and the digest of the arm's files where a check needs it."""

    use: str
    network: NetworkRef | None = None
    files: str = ""


def _ask_networks(
    experiment: Experiment, sides: Iterable[ArmRef], checks: Sequence[CheckRecord]
) -> dict[str, _ArmNetwork]:
    """Ask arms for their networks, in a process of their own: building one runs the user's code.

    `ArmError` when an arm of the pair cannot be built.
    """
    tried = {(check.target, check.use) for check in checks if check.kind == "network"}
    checked = [ref.name for ref in experiment.arms if (ref.name, ref.use) in tried]
    must = {ref.name for ref in sides}
    refs = [ref for ref in experiment.arms if ref.name in must or ref.name in checked]

    def asked() -> dict[str, Any]:
        found = {}
        for ref in refs:
            with suppress(*(() if ref.name in must else (ArmError,))):
                arm = ref.build()
                network = network_of(ref, arm)
                files = files_digest(arm) if ref.name in checked else ""
                plain = None if network is None else asdict(network)
                if network is not None and network.source is not None:
                    plain = {**asdict(network), "source": [str(each) for each in network.source]}
                found[ref.name] = {"use": ref.use, "network": plain, "files": files}
        return found

    behind = {}
    for name, each in in_isolation(asked, limits=limits_of(experiment)).items():
        network = each["network"]
        if network is not None:
            source = network["source"]
            where = None if source is None else (Path(source[0]), source[1])
            network = NetworkRef(**{**network, "source": where})
        behind[name] = _ArmNetwork(use=each["use"], network=network, files=each["files"])
    return behind


def _as_today(check: CheckRecord, behind: Mapping[str, _ArmNetwork]) -> CheckRecord:
    """A check, marked as of other code where an arm's own files make another network by now."""
    found = behind.get(check.target)
    if found is None or found.use != check.use or not check.current or check.kind != "network":
        return check
    if found.network is None or not found.network.is_tried_with(check.options):
        return check
    return replace(check, current=found.files == check.weights)


@contextmanager
def _importable(folder: Path | None) -> Iterator[None]:
    """Let modules of a folder be found, so that it shows whether a check is of their code today."""
    if folder is None:
        yield
        return
    place = str(folder.resolve())
    sys.path.append(place)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(place)


def _run(store: Store, cell: GridCell) -> StoredRun:
    record = cell_record(store, cell)
    return StoredRun(
        arm=cell.arm.name,
        dataset=cell.dataset,
        seed=cell.seed,
        key=cell.key,
        windows=record.windows,
        failed=record.failed,
        first_reason=record.first_reason,
        diverged=sum(fit.diverged for fit in record.fits),
        form=record.form,
        levels=record.levels,
        residual_distribution=record.residual_distribution,
        forecast_s=record.seconds.get("forecast"),
        peak_bytes=max(record.peak_bytes.values(), default=None),
        machine=record.machine,
    )


def _sizes(arms: Mapping[str, ArmOnTrial], legacy_root: Path | None) -> dict[str, CodeSize]:
    """Source lines of the judged pair, and of the checkout; without sides of unknown source.

    An arm that plays records back is such a side: what made its forecasts is not there. Of both
    sides the same is counted: the arm, and the network that stands for it.
    """
    found = {}
    if legacy_root is not None:
        found = checkout_sizes(legacy_root)
        there = checkout_models(legacy_root)
        if all(name in there for name in _DOCUMENT.values()):
            for side, name in _DOCUMENT.items():
                found[f"document_{side}"] = folder_size(legacy_root, f"models.{name}")
    for side, arm in arms.items():
        if arm.use == RECORDED[0]:
            continue
        with suppress(ArmError):
            own = arm_size(arm.use, arm.folder)
            if arm.network is None:
                found[side] = replace(own, what=f"{own.what}; no network stands for it")
                continue
            source = arm.network.source
            network = (
                arm_size(arm.network.use, arm.folder) if source is None else folder_size(*source)
            )
            found[side] = together(f"{own.what}; and its network, {network.what}", own, network)
            found[f"{side}_network"] = network
    return found


def collect_claims(
    evidence: ClaimEvidence, claims: Sequence[Claim] = CLAIMS
) -> tuple[ClaimRow, ...]:
    """Set every claim beside what was measured, in the order of the catalogue.

    Refuted by any requirement that fails, confirmed by all that hold, else undecided.
    """
    rows = []
    for claim in claims:
        answers = [each.ask(evidence) for each in claim.requirements]
        held = [answer.holds for answer in answers]
        status: Status = "confirmed"
        if not answers:
            status = "not testable"
        elif False in held:
            status = "refuted"
        elif None in held:
            status = "undecided"
        still = [each for each in answers if each.holds is None and status == "undecided"]
        rule = "; and ".join(each.text for each in claim.requirements)
        commands = [line for each in still for line in each.commands]
        rows.append(
            ClaimRow(
                claim=claim,
                status=status,
                rule=rule or claim.untestable,
                measured=tuple(row for answer in answers for row in answer.measured),
                open=tuple(each.why for each in still),
                commands=tuple(dict.fromkeys(commands)),
            )
        )
    return tuple(rows)
