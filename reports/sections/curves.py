"""Losses over steps, over time and by seed, and how the arms that learn were trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.evidence.pairing import Pair, PairingError, filled, pair
from harness.scoring.metrics import AGGREGATES, aggregate
from harness.stats.longrun import choose_lag, long_run_covariance
from harness.window import Array
from reports.charts import (
    Dot,
    Line,
    band_chart,
    cut_note,
    dot_chart,
    line_chart,
    strokes,
    training_chart,
)
from reports.page_input import ArmFacts, PageInput, UnitKey
from reports.section import Chart, Table, TableCell, columns, text
from reports.words import numbers

_METRIC = "crps"
_TABLE_ROWS = 60


def time_view(page: PageInput, dataset: str, *, name: str) -> Chart | None:
    """Draw the cumulative loss difference of a dataset; None where the sides cannot be paired."""
    both = _pair(page, dataset)
    if both is None or len(both.origin) < 2:
        return None
    difference = 100 * (both.candidate.mean(axis=0) - both.legacy.mean(axis=0))
    if not np.isfinite(difference).all():
        return None
    path, band = np.cumsum(difference), _band(difference, both.overlap)
    spans = _spans(page, dataset)
    return Chart(
        title=f"{page.verdict.candidate} less {page.verdict.legacy}, added up",
        caption="CRPS as a share of the last value seen, candidate less legacy, added up over the "
        "origins: falling is a gain for the candidate. Grey: where 95 % of paths of equal arms "
        "lie at each date." + (" Shaded: shown to differ there (fluctuation test)." * bool(spans)),
        svg=band_chart(
            both.origin_date,
            path,
            band,
            spans=spans,
            unit="points of the last value",
            name=name,
            alt=f"The difference on {dataset} adds up to {_points(path[-1])} points from "
            f"{both.origin_date[0]} to {both.origin_date[-1]}; equal arms would end within "
            f"{_points(band[-1])} points of 0 in 95 % of cases.",
        ),
        table=_time_table(both, difference, path, band),
    )


def _pair(page: PageInput, dataset: str) -> Pair | None:
    sides = [page.scores_of(arm, dataset) for arm in (page.verdict.candidate, page.verdict.legacy)]
    try:
        return filled(pair(sides[0], sides[1], _METRIC))
    except PairingError:
        return None


def _band(difference: Array, overlap: int) -> Array:
    """Half-width at each origin: 1.96 times the root of its number times the long-run variance."""
    lag = choose_lag(difference, overlap)
    spread = float(long_run_covariance(difference[None], lag)[0, 0])
    half: Array = 1.96 * np.sqrt(np.arange(1, len(difference) + 1) * spread)
    return half


def _spans(page: PageInput, dataset: str) -> list[tuple[str, str]]:
    found = page.verdict.diagnostics
    tests = [] if found is None else found.fluctuations
    return [
        (span.first, span.last)
        for test in tests
        if (test.dataset, test.metric) == (dataset, _METRIC)
        for span in test.spans
    ]


def _points(value: float) -> str:
    return numbers.number(float(value))


def _time_table(both: Pair, difference: Array, path: Array, band: Array) -> Table:
    """Every origin, or evenly spread ones where there are many."""
    count = len(path)
    step = -(-count // _TABLE_ROWS)
    rows = [place for place in range(count) if (count - 1 - place) % step == 0]
    return Table(
        caption="The difference over time, in points of the last value seen"
        + (f", every {step} origins" if step > 1 else ""),
        columns=columns("Origin", "difference", "added up", "band"),
        rows=tuple(
            (
                text(str(both.origin_date[place])),
                text(_points(difference[place])),
                text(_points(path[place])),
                text(f"\u00b1 {_points(band[place])}"),
            )
            for place in rows
        ),
    )


def step_views(page: PageInput, dataset: str, *, name: str) -> tuple[Chart, ...]:
    """Draw a dataset's losses over steps, where there are values."""
    steps = _steps(page, dataset, "crps")
    if not steps:
        return ()
    found = (
        _by_step(page, dataset, steps, name=f"{name}-step"),
        _against_reference(page, dataset, steps, name=f"{name}-ratio"),
    )
    return tuple(chart for chart in found if chart is not None)


def _steps(page: PageInput, dataset: str, metric: str) -> list[Line]:
    """One line per arm that has a value at some step."""
    looks = strokes(page)
    found = []
    for arm in page.arms:
        row = page.summary(arm.name, dataset, metric)
        if row is not None and np.isfinite(row.by_step).any():
            x = _first_step(page, dataset) + np.arange(len(row.by_step), dtype=float)
            found.append(
                Line(label=page.label(arm.name), x=x, y=row.by_step, stroke=looks[arm.name])
            )
    return found


def _first_step(page: PageInput, dataset: str) -> int:
    facts = page.datasets.get(dataset)
    return 1 + (facts.gap if facts else 0)


def _by_step(page: PageInput, dataset: str, lines: Sequence[Line], *, name: str) -> Chart:
    facts = page.datasets.get(dataset)
    return Chart(
        title="CRPS by step",
        caption="Mean over windows and seeds. Lower is better." + cut_note(lines) + page.dagger,
        svg=line_chart(
            lines,
            x_label="sessions ahead",
            unit=facts.unit if facts else "",
            name=name,
            alt=f"CRPS on {dataset} by step. " + _ends(lines),
        ),
        table=_line_table(f"CRPS on {dataset} by step", "step", lines),
    )


def _ends(lines: Sequence[Line]) -> str:
    return "; ".join(
        f"{line.label} from {numbers.number(float(line.y[0]))} to "
        f"{numbers.number(float(line.y[-1]))}"
        for line in lines
    )


def _against_reference(
    page: PageInput, dataset: str, lines: Sequence[Line], *, name: str
) -> Chart | None:
    base = next((line for line in lines if line.label == page.label(page.reference or "")), None)
    if base is None:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = [replace(line, y=np.where(base.y > 0, line.y / base.y, np.nan)) for line in lines]
    return Chart(
        title=f"CRPS by step against {base.label}",
        caption=f"Divided by that of {base.label}: below 1 is better than it."
        + cut_note(ratios)
        + page.dagger,
        svg=line_chart(
            ratios,
            x_label="sessions ahead",
            unit="ratio",
            level=1.0,
            name=name,
            alt=f"CRPS on {dataset} divided by that of {base.label}. " + _ends(ratios),
        ),
        table=_line_table(f"CRPS on {dataset} over that of {base.label}", "step", ratios),
    )


def _line_table(caption: str, first: str, lines: Sequence[Line]) -> Table:
    rows = tuple(
        (text(f"{x:g}"), *(text(numbers.number(float(line.y[place]))) for line in lines))
        for place, x in enumerate(lines[0].x.tolist())
    )
    return Table(
        caption=caption, columns=columns(first, *(line.label for line in lines)), rows=rows
    )


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
            + "; ".join(_seed_range(arm, known[arm]) for arm in several or known),
        ),
        table=_seed_table(known, dataset),
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


def _seed_range(arm: str, seeds: dict[int, float]) -> str:
    low, high = (numbers.number(end) for end in (min(seeds.values()), max(seeds.values())))
    return f"{arm} {numbers.between(low, high)}"


def _seed_table(known: dict[str, dict[int, float]], dataset: str) -> Table:
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


_Curves = Mapping[UnitKey, Mapping[str, Array]]
_ROWS = 60


def training_views(
    page: PageInput, dataset: str, *, name: str
) -> tuple[tuple[Chart, ...], tuple[str, ...]]:
    """Draw a chart per arm that was trained; say in words which were not."""
    charts = []
    without: dict[str, list[str]] = {}
    for place, arm in enumerate(page.arms):
        curves = {
            key: page.curves[key]
            for key in sorted(page.curves)
            if key[:2] == (arm.name, dataset) and len(page.curves[key].get("epoch", ()))
        }
        if curves:
            charts.append(_training_chart(page, arm, curves, name=f"{name}-train-{place}"))
        else:
            without.setdefault(_why_none(page, arm, dataset), []).append(arm.name)
    return tuple(charts), tuple(
        f"{numbers.listing(names)}: {why}." for why, names in without.items()
    )


def _why_none(page: PageInput, arm: ArmFacts, dataset: str) -> str:
    units = [page.units[key] for key in page.unit_keys(arm.name, dataset)]
    if not units:
        return "no unit is stored, so there is no curve to show"
    if any(unit.fits for unit in units):
        return "fitted, but no curve was kept"
    return "nothing was trained, so there is no curve"


def _training_chart(page: PageInput, arm: ArmFacts, curves: _Curves, *, name: str) -> Chart:
    fits = [(key[2], *fit) for key, curve in curves.items() for fit in _fits(curve)]
    once = len(fits) == len(curves)
    table = _training_table(arm, fits)
    return Chart(
        title=page.label(arm.name),
        caption="Solid: validation loss; dotted: training loss; dot: lowest validation loss. "
        + ("One pair per seed." if once else "One pair per seed and fit.")
        + (" A repaired build." if arm.repaired else ""),
        svg=training_chart(
            [curve for _, _, curve in fits],
            [f"seed {seed}" if once else "" for seed, _, _ in fits],
            stroke=strokes(page)[arm.name],
            name=name,
            alt=f"Training of {arm.name}, {numbers.plural(len(fits), 'fit')}. "
            + "; ".join(_best_epoch(*fit) for fit in fits[:8]),
        ),
        table=table,
    )


def _fits(curve: Mapping[str, Array]) -> list[tuple[int, Mapping[str, Array]]]:
    """Cut a unit's curve into its fits, by the origin they were made at."""
    fitted_at = curve.get("fitted_at", np.zeros(len(curve["epoch"])))
    found: list[tuple[int, Mapping[str, Array]]] = []
    for origin in dict.fromkeys(fitted_at.tolist()):
        rows = fitted_at == origin
        found.append((int(origin), {name: column[rows] for name, column in curve.items()}))
    return found


def _best_epoch(seed: int, _: int, curve: Mapping[str, Array]) -> str:
    losses = curve["validation_loss"]
    if not np.isfinite(losses).any():
        return f"seed {seed}: no finite validation loss"
    best = int(np.nanargmin(losses))
    return (
        f"seed {seed}: lowest validation loss {numbers.number(float(losses[best]))} at epoch "
        f"{curve['epoch'][best]:g}"
    )


def _training_table(arm: ArmFacts, fits: list[tuple[int, int, Mapping[str, Array]]]) -> Table:
    """Every epoch while that stays readable, else a row per fit."""
    caption = f"Training of {arm.name}"
    if sum(len(curve["epoch"]) for _, _, curve in fits) > _ROWS:
        return Table(
            caption=f"{caption}, a row per fit",
            columns=columns(
                "Seed",
                "fitted at row",
                "epochs",
                "best epoch",
                "lowest validation",
                "last validation",
            ),
            rows=tuple(_fit_row(*fit) for fit in fits),
        )
    return Table(
        caption=caption,
        columns=columns("Seed", "epoch", "training loss", "validation loss"),
        rows=tuple(row for seed, _, curve in fits for row in _epoch_rows(seed, curve)),
    )


def _fit_row(seed: int, origin: int, curve: Mapping[str, Array]) -> tuple[TableCell, ...]:
    losses = curve["validation_loss"]
    best = int(np.nanargmin(losses)) if np.isfinite(losses).any() else None
    return (
        text(str(seed)),
        text(str(origin)),
        text(str(len(losses))),
        text("none" if best is None else f"{curve['epoch'][best]:g}"),
        text(numbers.NONE if best is None else numbers.number(float(losses[best]))),
        text(numbers.number(float(losses[-1]))),
    )


def _epoch_rows(seed: int, curve: Mapping[str, Array]) -> list[tuple[TableCell, ...]]:
    return [
        (
            text(str(seed)),
            text(f"{epoch:g}"),
            text(numbers.number(train)),
            text(numbers.number(validation)),
        )
        for epoch, train, validation in zip(
            curve["epoch"].tolist(),
            curve["train_loss"].tolist(),
            curve["validation_loss"].tolist(),
            strict=True,
        )
    ]
