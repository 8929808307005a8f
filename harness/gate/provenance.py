"""Where a verdict comes from: what is known of grid, arms and machines beside the scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.arm import ArmRef
from harness.battery.nouns import CheckResult
from harness.battery.records import read_checks
from harness.gate.stored_scores import scoring_digest
from harness.judging.given import Fact, Given
from harness.judging.policy import Policy
from harness.judging.validity import HAND_PICKED, ONE_SEED
from harness.judging.verdict import plain
from harness.measure.records import read_costs
from harness.running.grid import Grid, GridCell, Split, seeded
from harness.running.identity import digest, package_digest
from harness.running.store import Store

FUTURE = "T10"
"""The predicate of the battery that says whether an arm sees past its origin."""


def given_of(
    grid: Grid, store: Store, policy: Policy, *, problems: Sequence[str], today: str | None
) -> Given:
    """Gather what a verdict on a pair rests on besides its scores, without fingerprints.

    Parameters
    ----------
    problems
        What allows no conclusion, found by the caller.
    today
        ISO date for the waivers.
    """
    costs = read_costs(store, grid, baseline=policy.baseline, candidate=policy.candidate)
    wanted = policy.limits.costs
    return Given(
        stride={name: split.plan.stride for name, split in grid.splits.items()},
        room={name: _room(split) for name, split in grid.splits.items()},
        costs={k: v for k, v in costs.items.items() if k in wanted and not costs.reason},
        cards=_cards(grid, store, policy),
        blind=_blind(grid, store),
        doubts=(*_picked_seeds(grid, policy), *_single_seeds(grid, policy)),
        problems=tuple(problems),
        today=today if policy.waivers else None,
        measure=f"abharness measure {Path(grid.experiment.source).name}",
        facts=_facts(grid),
    )


def _cards(grid: Grid, store: Store, policy: Policy) -> dict[str, dict[str, str]]:
    """What the pair says of itself, from the first stored unit of each."""
    found: dict[str, dict[str, str]] = {}
    for cell in grid.cells:
        name = cell.arm.name
        judged = name in (policy.baseline, policy.candidate) and name not in found
        if judged and store.has_unit(cell.key):
            found[name] = dict(store.unit(cell.key)["card"])
    return found


def tried_for_future(grid: Grid, store: Store) -> dict[str, CheckResult]:
    """What the battery said of each arm it tried: that later sessions change no forecast."""
    found: dict[str, CheckResult] = {}
    files = {cell.arm.name: digest(cell.identity["weights"]) for cell in grid.cells}
    for record in read_checks(store):
        said = record.result(FUTURE)
        for arm in grid.experiment.arms:
            same = record.use == arm.use and dict(record.options) == dict(arm.options)
            same = same and record.weights == files.get(arm.name)
            if not same or record.kind != "arm" or not record.current or said is None:
                continue
            found[arm.name] = said
    return found


def _blind(grid: Grid, store: Store) -> dict[str, bool]:
    """Whether arms passed; one the battery could not answer for is as good as not tried."""
    tried = tried_for_future(grid, store).items()
    return {arm: said.outcome == "pass" for arm, said in tried if said.outcome in ("pass", "fail")}


def _single_seeds(grid: Grid, policy: Policy) -> tuple[str, ...]:
    """A sentence on each arm of the pair that another seed would change, where one was declared."""
    if len(grid.experiment.run.seeds) > 1:
        return ()
    pair = (policy.baseline, policy.candidate)
    return tuple(
        f"{ref.name} {ONE_SEED}: how much another would change is in no interval."
        for ref in grid.experiment.arms
        if ref.name in pair and _seeded(ref)
    )


def _picked_seeds(grid: Grid, policy: Policy) -> tuple[str, ...]:
    """A sentence where other seeds were run than the experiment declares, if a seed matters."""
    ran, declared = grid.experiment.run.seeds, grid.experiment.declared_seeds
    pair = (policy.baseline, policy.candidate)
    if set(ran) == set(declared) or not any(
        ref.name in pair and _seeded(ref) for ref in grid.experiment.arms
    ):
        return ()
    said = f"run with {_listed(ran)}; the experiment declares {_listed(declared)}"
    return (f"{said}: a verdict on {HAND_PICKED} is not the declared one.",)


def _listed(seeds: Sequence[int]) -> str:
    """Seeds in words: seed 1; seeds 1 to 5; seeds 1, 3 and 7."""
    found = sorted(seeds)
    if len(found) == 1:
        return f"seed {found[0]}"
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"seeds {found[0]} to {found[-1]}"
    return f"seeds {', '.join(map(str, found[:-1]))} and {found[-1]}"


def _seeded(ref: ArmRef) -> bool:
    arm = ref.build()
    with ref.asking():
        return seeded(arm)


def fingerprints(grid: Grid, store: Store, policy: Policy) -> dict[str, str]:
    """Digests of everything a verdict rests on.

    ``meaning`` is all that decides scores and how they are judged: the same meaning, the same
    numbers. ``machine`` is where the units ran: timings may differ with it, scores never.
    """
    meant = {
        "grid": grid.digest,
        "policy": digest(plain(policy)),
        "scoring": scoring_digest(),
        "code": package_digest("harness"),
    } | {f"data {name}": split.data for name, split in grid.splits.items()}
    machines = [_machine(cell, store) for cell in grid.cells if store.has_unit(cell.key)]
    return meant | {"meaning": digest(meant), "machine": digest(sorted(set(machines)))}


def _machine(cell: GridCell, store: Store) -> str:
    return digest([store.unit(cell.key)["machine"], cell.identity["libraries"]])


def _facts(grid: Grid) -> dict[str, Fact]:
    found: dict[str, Fact] = {
        "experiment": grid.experiment.name,
        "seeds": ", ".join(map(str, grid.experiment.run.seeds)),
    }
    for name, split in grid.splits.items():
        found[f"{name} origins"] = _origins_text(split)
        found[f"{name} refit"] = _refit_text(split)
        if split.plan.skip_repeats:
            found[f"{name} skip_repeats"] = f"{split.dataset.skipped} repeated sessions left out"
    return found


def _room(split: Split) -> int:
    """Independent origins that raising the plan's `origins` could add."""
    plan, origin = split.plan, split.windows.origin
    if plan.first is None:  # counted back from the end: more origins start earlier
        rows = int(origin[0]) - (plan.history or plan.validation + 2)
    else:
        rows = len(split.dataset) - plan.gap - plan.horizon - int(origin[-1])
    return max(0, rows) // max(plan.stride, plan.gap + plan.horizon)


def _origins_text(split: Split) -> str:
    dates = split.dataset.series.dates[split.windows.origin]
    plan = split.plan
    return (
        f"{len(split.windows)} from {dates[0]} to {dates[-1]}, every {plan.stride} sessions, "
        f"{plan.horizon} steps each" + (f" after a gap of {plan.gap}" if plan.gap else "")
    )


def _refit_text(split: Split) -> str:
    fits = len(list(split.windows.segments()))
    return (
        "once, at the first origin"
        if fits == 1
        else f"{fits} fits, every {split.plan.refit} origins"
    )
