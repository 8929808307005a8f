"""How far the seeds of an arm lie apart, beside how far the arms do."""

from __future__ import annotations

from collections.abc import Sequence

from harness.scoring.metrics import AGGREGATES, aggregate
from reports.charts import Dot, dot_chart, strokes
from reports.page_input import ArmFacts, PageInput
from reports.section import Chart, Table, columns, text
from reports.words import numbers

_METRIC = "crps"


def seed_view(page: PageInput, dataset: str, *, name: str) -> Chart | None:
    """Draw every arm's CRPS with each of its seeds; None where no arm has a value."""
    found = {arm.name: _per_seed(page, arm, dataset) for arm in page.arms}
    known = {arm: seeds for arm, seeds in found.items() if seeds}
    if not known:
        return None
    dots = [_dot(page, arm, seeds) for arm, seeds in known.items()]
    cut = _cut(dots)
    several = [arm for arm, seeds in known.items() if len(seeds) > 1]
    facts = page.datasets.get(dataset)
    return Chart(
        title="CRPS of every arm and seed",
        caption="Dot: mean over seeds; upright: each seed of an arm that has several."
        + (" An arrow: beyond the chart, see its figures." if cut else "")
        + page.dagger,
        svg=dot_chart(
            dots,
            cut=cut,
            unit=facts.unit if facts else "",
            name=name,
            alt=f"CRPS on {dataset} by arm and seed. "
            + "; ".join(_told(arm, known[arm]) for arm in several or known),
        ),
        table=_table(known, dataset),
    )


def _dot(page: PageInput, arm: str, seeds: dict[int, float]) -> Dot:
    return Dot(
        label=page.label(arm),
        value=sum(seeds.values()) / len(seeds),
        others=tuple(seeds.values()) if len(seeds) > 1 else (),
        ink=strokes(page)[arm].ink,
    )


def _cut(dots: Sequence[Dot]) -> float | None:
    """Where to end the axis when an arm that is not judged lies far beyond all that are."""
    judged = [dot.value for dot in dots if dot.ink in ("candidate", "legacy", "reference")]
    far = max(dot.value for dot in dots)
    return 1.35 * max(judged) if judged and far > 3 * max(judged) else None


def _per_seed(page: PageInput, arm: ArmFacts, dataset: str) -> dict[int, float]:
    each = AGGREGATES[_METRIC]
    units = [unit for unit in page.scores_of(arm.name, dataset) if each.of in unit.values]
    values = {unit.seed: aggregate(_METRIC, unit.values[each.of]).value for unit in units}
    return {seed: value for seed, value in values.items() if numbers.is_number(value)}


def _told(arm: str, seeds: dict[int, float]) -> str:
    low, high = (numbers.number(end) for end in (min(seeds.values()), max(seeds.values())))
    return f"{arm} {numbers.between(low, high)}"


def _table(known: dict[str, dict[int, float]], dataset: str) -> Table:
    rows = [
        (
            text(arm),
            text(str(len(seeds))),
            text(numbers.number(sum(seeds.values()) / len(seeds))),
            text(numbers.number(min(seeds.values()))),
            text(numbers.number(max(seeds.values()))),
        )
        for arm, seeds in known.items()
    ]
    return Table(
        caption=f"CRPS by seed on {dataset}",
        columns=columns("Arm", "seeds", "mean", "lowest", "highest"),
        rows=tuple(rows),
    )
