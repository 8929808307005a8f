"""Training curves per seed, and words for arms that have none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.window import Array
from reports.charts import strokes, training_chart
from reports.page_input import ArmFacts, PageInput, UnitKey
from reports.section import Chart, Table, TableCell, columns, text
from reports.words import numbers

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
            charts.append(_chart(page, arm, curves, name=f"{name}-train-{place}"))
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


def _chart(page: PageInput, arm: ArmFacts, curves: _Curves, *, name: str) -> Chart:
    fits = [(key[2], *fit) for key, curve in curves.items() for fit in _fits(curve)]
    once = len(fits) == len(curves)
    table = _table(arm, fits)
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
            + "; ".join(_told(*fit) for fit in fits[:8]),
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


def _told(seed: int, _: int, curve: Mapping[str, Array]) -> str:
    losses = curve["validation_loss"]
    if not np.isfinite(losses).any():
        return f"seed {seed}: no finite validation loss"
    best = int(np.nanargmin(losses))
    return (
        f"seed {seed}: lowest validation loss {numbers.number(float(losses[best]))} at epoch "
        f"{curve['epoch'][best]:g}"
    )


def _table(arm: ArmFacts, fits: list[tuple[int, int, Mapping[str, Array]]]) -> Table:
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
