"""Losses over steps, time, seeds and slices, and how the arms that learn were trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np

from harness.evidence.estimand import MeanLoss
from harness.evidence.estimates import Question, by_test
from harness.evidence.pairing import Pair, PairingError, filled, pair
from harness.scoring.metrics import AGGREGATES, aggregate
from harness.scoring.scores import UnitScores, in_time_order, non_overlapping
from harness.scoring.subsets import LEAST, Slice, slices_of
from harness.stats.longrun import FEW, choose_lag, long_run_covariance
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
from reports.section import Chart, Table, table_of, there
from reports.words import numbers

METRIC = "crps"
_ROWS = 60
"""More would make no table of figures but a listing: some are left out, or told by fit."""


def time_view(page: PageInput, dataset: str, *, name: str) -> Chart | None:
    """Draw the cumulative loss difference of a dataset; None where the sides cannot be paired.

    The band at each origin is 1.96 times the root of its number times the long-run variance.
    """
    sides = [page.scores_of(arm, dataset) for arm in (page.verdict.candidate, page.verdict.legacy)]
    try:
        both = filled(pair(sides[0], sides[1], METRIC))
    except PairingError:
        return None
    difference = 100 * (both.candidate.mean(axis=0) - both.legacy.mean(axis=0))
    if len(difference) < 2 or not np.isfinite(difference).all():
        return None
    lag = choose_lag(difference, both.overlap)
    spread = float(long_run_covariance(difference[None], lag)[0, 0])
    band: Array = 1.96 * np.sqrt(np.arange(1, len(difference) + 1) * spread)
    path = np.cumsum(difference)
    found = page.verdict.diagnostics
    spans = [
        (span.first, span.last)
        for test in (() if found is None else found.fluctuations)
        if (test.dataset, test.metric) == (dataset, METRIC)
        for span in test.spans
    ]
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


def _points(value: float) -> str:
    return numbers.number(float(value))


def _time_table(both: Pair, difference: Array, path: Array, band: Array) -> Table:
    """Every origin, or evenly spread ones where there are many."""
    count = len(path)
    step = -(-count // _ROWS)
    rows = [place for place in range(count) if (count - 1 - place) % step == 0]
    return table_of(
        "The difference over time, in points of the last value seen"
        + (f", every {step} origins" if step > 1 else ""),
        ("Origin", "difference", "added up", "band"),
        (
            (
                str(both.origin_date[place]),
                _points(difference[place]),
                _points(path[place]),
                f"\u00b1 {_points(band[place])}",
            )
            for place in rows
        ),
    )


def step_views(page: PageInput, dataset: str, *, name: str) -> tuple[Chart, ...]:
    """Draw a dataset's losses over steps, where there are values."""
    looks, facts = strokes(page), page.datasets.get(dataset)
    first = 1 + (facts.gap if facts else 0)
    lines = [
        Line(
            label=page.label(arm.name),
            x=first + np.arange(len(row.by_step), dtype=float),
            y=row.by_step,
            stroke=looks[arm.name],
        )
        for arm in page.arms
        if (row := page.summary(arm.name, dataset, METRIC)) is not None
        and np.isfinite(row.by_step).any()
    ]
    if not lines:
        return ()
    by_step = Chart(
        title="CRPS by step",
        caption="Mean over windows and seeds. Lower is better." + cut_note(lines) + page.dagger,
        svg=line_chart(
            lines,
            x_label="sessions ahead",
            unit=facts.unit if facts else "",
            name=f"{name}-step",
            alt=f"CRPS on {dataset} by step. " + _ends(lines),
        ),
        table=_line_table(f"CRPS on {dataset} by step", "step", lines),
    )
    return there(by_step, _against_reference(page, dataset, lines, name=f"{name}-ratio"))


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
        (f"{x:g}", *(numbers.number(float(line.y[place])) for line in lines))
        for place, x in enumerate(lines[0].x.tolist())
    )
    return table_of(caption, (first, *(line.label for line in lines)), rows)


def seed_view(page: PageInput, dataset: str, *, name: str) -> Chart | None:
    """Draw every arm's CRPS with each of its seeds; None where no arm has a value.

    The axis ends early where an arm that is not judged lies far beyond all that are.
    """
    measure = AGGREGATES[METRIC]
    known: dict[str, dict[int, float]] = {}
    for arm in page.arms:
        units = [unit for unit in page.scores_of(arm.name, dataset) if measure.of in unit.values]
        values = {u.seed: aggregate(METRIC, u.values[measure.of]).value for u in units}
        seeds = {seed: value for seed, value in values.items() if numbers.is_number(value)}
        known |= {arm.name: seeds} if seeds else {}
    if not known:
        return None
    dots = [
        Dot(
            label=page.label(arm),
            value=sum(seeds.values()) / len(seeds),
            others=tuple(seeds.values()) if len(seeds) > 1 else (),
            ink=strokes(page)[arm].ink,
        )
        for arm, seeds in known.items()
    ]
    judged = [dot.value for dot in dots if dot.ink in ("candidate", "legacy", "reference")]
    far = max(dot.value for dot in dots)
    cut = 1.35 * max(judged) if judged and far > 3 * max(judged) else None
    several = [arm for arm, seeds in known.items() if len(seeds) > 1]
    ends = {
        arm: [numbers.number(end) for end in (min(seeds.values()), max(seeds.values()))]
        for arm, seeds in known.items()
    }
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
            + "; ".join(f"{arm} {numbers.between(*ends[arm])}" for arm in several or known),
        ),
        table=table_of(
            f"CRPS by seed on {dataset}",
            ("Arm", "seeds", "mean", "lowest", "highest"),
            (
                (
                    arm,
                    str(len(seeds)),
                    numbers.number(sum(seeds.values()) / len(seeds)),
                    *ends[arm],
                )
                for arm, seeds in known.items()
            ),
        ),
    )


_Curves = Mapping[UnitKey, Mapping[str, Array]]


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
            continue
        units = [page.units[key] for key in page.unit_keys(arm.name, dataset)]
        why = "no unit is stored, so there is no curve to show"
        if units:
            why = "nothing was trained, so there is no curve"
        if any(unit.fits for unit in units):
            why = "fitted, but no curve was kept"
        without.setdefault(why, []).append(arm.name)
    return tuple(charts), tuple(
        f"{numbers.listing(names)}: {why}." for why, names in without.items()
    )


def _training_chart(page: PageInput, arm: ArmFacts, curves: _Curves, *, name: str) -> Chart:
    """Draw the fits of an arm: a unit's curve is cut by the origin each fit was made at."""
    fits: list[tuple[int, int, Mapping[str, Array]]] = []
    for key, curve in curves.items():
        fitted_at = curve.get("fitted_at", np.zeros(len(curve["epoch"])))
        for origin in dict.fromkeys(fitted_at.tolist()):
            rows = fitted_at == origin
            one = {name: column[rows] for name, column in curve.items()}
            fits.append((key[2], int(origin), one))
    once = len(fits) == len(curves)
    lowest = []
    for seed, _, curve in fits[:8]:
        losses = curve["validation_loss"]
        told = "no finite validation loss"
        if np.isfinite(losses).any():
            best = int(np.nanargmin(losses))
            least, epoch = numbers.number(float(losses[best])), curve["epoch"][best]
            told = f"lowest validation loss {least} at epoch {epoch:g}"
        lowest.append(f"seed {seed}: {told}")
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
            alt=f"Training of {arm.name}, {numbers.plural(len(fits), 'fit')}. " + "; ".join(lowest),
        ),
        table=_training_table(arm, fits),
    )


def _training_table(arm: ArmFacts, fits: list[tuple[int, int, Mapping[str, Array]]]) -> Table:
    """Every epoch while that stays readable, else a row per fit."""
    caption = f"Training of {arm.name}"
    if sum(len(curve["epoch"]) for _, _, curve in fits) <= _ROWS:
        return table_of(
            caption,
            ("Seed", "epoch", "training loss", "validation loss"),
            (
                (str(seed), f"{epoch:g}", *map(numbers.number, losses))
                for seed, _, curve in fits
                for epoch, *losses in zip(
                    *(curve[name].tolist() for name in ("epoch", "train_loss", "validation_loss")),
                    strict=True,
                )
            ),
        )
    rows = []
    for seed, origin, curve in fits:
        losses = curve["validation_loss"]
        best = int(np.nanargmin(losses)) if np.isfinite(losses).any() else None
        told = (
            str(seed),
            str(origin),
            str(len(losses)),
            "none" if best is None else f"{curve['epoch'][best]:g}",
            numbers.NONE if best is None else numbers.number(float(losses[best])),
            numbers.number(float(losses[-1])),
        )
        rows.append(told)
    heads = ("Seed", "fitted at row", "epochs", "best epoch", "lowest validation")
    return table_of(f"{caption}, a row per fit", (*heads, "last validation"), rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceEffect:
    """CRPS of the candidate over that of a legacy arm, less 1, on one part.

    Attributes
    ----------
    effect, lower, upper
        With bounds by the autocorrelation-robust t test, each as sure as those of a rule at 5 %
        and not joined over the parts: a description, no test. None where there are too few
        non-overlapping windows.
    """

    dataset: str
    legacy: str
    name: str
    title: str
    windows: int
    effect: float | None
    lower: float | None
    upper: float | None

    @property
    def shown(self) -> bool:
        """Whether the bounds leave 0 out."""
        above, below = (
            self.lower is not None and self.lower > 0,
            self.upper is not None and self.upper < 0,
        )
        return above or below


_KNOWN: WeakKeyDictionary[PageInput, dict[tuple[str, str], tuple[SliceEffect, ...]]]
_KNOWN = WeakKeyDictionary()
"""Parts of the pages there are: several sections ask for them."""


def slice_effects(page: PageInput, dataset: str, legacy: str) -> tuple[SliceEffect, ...]:
    """All parts of a dataset; empty where the sides cannot be paired, or one failed everywhere."""
    known = _KNOWN.setdefault(page, {})
    if (dataset, legacy) in known:
        return known[dataset, legacy]
    ours = [in_time_order(unit) for unit in page.scores_of(page.verdict.candidate, dataset)]
    theirs = [in_time_order(unit) for unit in page.scores_of(legacy, dataset)]
    parts: tuple[Slice, ...] = ()
    scored = all(METRIC in unit.values for unit in (*ours, *theirs))
    if scored and all(any(unit.ok.any() for unit in side) for side in (ours, theirs)):
        parts = (Slice(name="all", title="everything"), *slices_of(ours[0].truth))
    effects = (_effect(ours, theirs, part) for part in parts)
    known[dataset, legacy] = tuple(each for each in effects if each is not None)
    return known[dataset, legacy]


def _effect(
    ours: Sequence[UnitScores], theirs: Sequence[UnitScores], part: Slice
) -> SliceEffect | None:
    try:
        cut = [[unit.at(part.rows, part.columns) for unit in side] for side in (ours, theirs)]
        picked = len(cut[0][0]) < len(ours[0])
        both = filled(pair(cut[0], cut[1], METRIC, part=picked))
    except PairingError:
        return None
    count = len(both.origin)
    apart = len(non_overlapping(both.origin, both.reach))
    effect = lower = upper = None
    known = np.isfinite(both.candidate).all() and np.isfinite(both.legacy).all()
    if apart >= LEAST and bool(known):
        loss = MeanLoss(metric=METRIC)
        found = loss.ratio_of(loss.sides(both))
        estimate = by_test("hac", found, Question(estimand=loss, bound_high=0.0))
        effect = loss.effect(found.excess) if np.isfinite(found.excess) else None
        lower, upper = estimate.lower, estimate.upper
        lower = None if lower is None else max(lower, -1.0)  # no loss falls by more than all of it
    return SliceEffect(
        dataset=both.names[2],
        legacy=both.names[1],
        name=part.name,
        title=part.title,
        windows=count,
        effect=effect,
        lower=lower,
        upper=upper,
    )


def worst_slice(page: PageInput, legacy: str) -> SliceEffect | None:
    """The part on which the candidate does worst against a legacy arm."""
    known = [
        each
        for name in page.dataset_names
        for each in slice_effects(page, name, legacy)
        if each.effect is not None and each.name != "all"
    ]
    return max(known, key=lambda each: each.effect or 0.0, default=None)


def slice_view(page: PageInput, dataset: str, *, name: str) -> Chart | None:
    """Draw the effect on every part of a dataset; None where nothing can be paired."""
    found = slice_effects(page, dataset, page.verdict.legacy)
    drawn = [each for each in found if each.effect is not None]
    if not drawn:
        return None
    worst = max(drawn, key=lambda each: each.effect or 0.0)
    dots = [
        Dot(
            label=each.title.partition(" (")[0].replace("worst drawdown, ", "drawdown "),
            value=100 * (each.effect or 0.0),
            low=None if each.lower is None else 100 * each.lower,
            high=None if each.upper is None else 100 * each.upper,
            hollow=True,
        )
        for each in drawn
    ]
    table = table_of(
        f"CRPS by slice on {dataset}, candidate against legacy",
        ("Slice", "windows", "effect", "bounds"),
        (
            (
                each.title,
                f"{each.windows:,}",
                "too few" if each.effect is None else numbers.effect("share", each.effect),
                numbers.effects("share", each.lower, each.upper),
            )
            for each in found
        ),
        note="Bounds: 95 % sure of each side, as the rules' are, and not joined over the slices. "
        f"Fewer than {LEAST} non-overlapping windows are too few. A slice of fewer than {FEW} "
        "windows has Student's t at the lag of their overlap. Everything but the step is known at "
        "the origin: no slice is picked by its outcome.",
    )
    return Chart(
        title=f"{page.verdict.candidate} against {page.verdict.legacy} by slice",
        caption=f"{AGGREGATES[METRIC].title} divided by the legacy arm's, less 1: left of 0 the "
        "candidate is better. Lines: bounds, 95 % sure of each side, not joined over the slices; "
        "hollow: none.",
        svg=dot_chart(
            dots,
            unit="%",
            zero="equal",
            name=name,
            alt=f"Effect on {dataset} by slice. The worst is {worst.title}: "
            f"{numbers.effect('share', worst.effect)}.",
        ),
        table=table,
    )
