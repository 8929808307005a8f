"""Requirements that stored units, measuring sessions and source lines answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from harness.claims.claim import Answer, ClaimEvidence, Measurement, Requirement, StoredRun

GIB = 2.0**30


def unmeasured(what: str, *, tried: str = "") -> Requirement:
    """Something no verb of ours measures, so that it stays open.

    Parameters
    ----------
    tried
        What of it was tried, and what was not.
    """
    why = f"nothing here measures: {what}" + (f"; {tried}" if tried else "")
    return Requirement(text=what, ask=lambda _: Answer.missing(why))


def _each_unit(text: str, measure: Callable[[Sequence[StoredRun]], Measurement]) -> Requirement:
    """Measure the candidate's units on every dataset; open where one has none."""

    def ask(found: ClaimEvidence) -> Answer:
        rows, why = list[Measurement](), list[str]()
        for dataset in found.datasets:
            units = found.units_of(found.candidate, dataset)
            if units:
                row = measure(units)
                rows.append(
                    replace(row, arm=found.candidate, dataset=dataset, source=_sources(units))
                )
            else:
                why.append(f"no unit of {found.candidate} on {dataset} is stored")
        answer = Answer.of(rows)
        if why and answer.holds is not False:
            return Answer.missing("; ".join(why), found.command("run"), measured=rows)
        return answer

    return Requirement(text=text, ask=ask)


def no_failures() -> Requirement:
    """The candidate failed no window and no fit diverged, in all its declared units."""

    def measure(units: Sequence[StoredRun]) -> Measurement:
        bad = sum(unit.failed + unit.diverged for unit in units)
        return Measurement(
            what="failed windows and diverged fits",
            value=bad,
            unit=f"of {sum(unit.windows for unit in units)} windows",
            said=next(filter(None, (unit.first_reason for unit in units)), ""),
            holds=bad == 0,
        )

    return _each_unit("no window of the candidate failed and none of its fits diverged", measure)


def own_distribution() -> Requirement:
    """The candidate gives its own predictive distribution; the harness added none."""

    def measure(units: Sequence[StoredRun]) -> Measurement:
        added = any(unit.residual_distribution for unit in units)
        form = units[0].form
        return Measurement(
            what=f"form of the forecasts: {form}" + (", added by the harness" if added else ""),
            holds=form != "none" and not added,
        )

    return _each_unit("the candidate answers with quantiles or samples of its own", measure)


def levels_offered(low: float, high: float) -> Requirement:
    """The candidate's own quantile levels reach from `low` to `high`; samples hold every one."""

    def measure(units: Sequence[StoredRun]) -> Measurement:
        levels, samples = units[0].levels, units[0].form == "samples"
        reach = bool(levels) and min(levels) <= low and high <= max(levels)
        ends = f"from {min(levels):g} to {max(levels):g}" if levels else ""
        return Measurement(
            what="quantile levels offered",
            value=None if samples else len(levels),
            said="samples" if samples else ends,
            holds=samples or reach,
        )

    return _each_unit(f"its levels reach from {low:g} to {high:g}", measure)


def no_crossings() -> Requirement:
    """No quantiles of the candidate came out of order in the grid."""

    def ask(found: ClaimEvidence) -> Answer:
        keys = {(run.arm, run.dataset, run.seed): run.key for run in found.runs}
        rows = [
            Measurement(
                what="steps whose quantiles cross",
                value=100 * unit.crossings,
                unit="%",
                arm=unit.arm,
                dataset=unit.dataset,
                source=f"unit {keys[place][:12]}" if place in keys else "",
                holds=unit.crossings == 0,
            )
            for unit in found.scores
            if unit.arm == found.candidate
            for place in [(unit.arm, unit.dataset, unit.seed)]
        ]
        if not rows:
            return Answer.missing("no scores of the candidate are stored", found.command("run"))
        return Answer.of(rows)

    return Requirement(text="no quantiles of the candidate cross on any window", ask=ask)


def cheaper(criterion: Literal["latency", "peak_memory"], text: str) -> Requirement:
    """The candidate costs less, by a measuring session; what units took only stands beside it."""

    def ask(found: ClaimEvidence) -> Answer:
        cost = None if found.costs is None else found.costs.items.get(criterion)
        if found.costs is None or cost is None or not cost.valid or cost.ratio is None:
            rows = [row for row in (_by_units(found, d, criterion) for d in found.datasets) if row]
            why = "units run beside whatever else a machine does: only a paired session decides"
            return Answer.missing(why, found.command("measure"), measured=rows)
        decides = cost.differs or cost.exact
        row = Measurement(
            what=f"{criterion.replace('_', ' ')} over {found.baseline}'s, paired session",
            value=cost.ratio,
            unit="times",
            low=cost.low,
            high=cost.high,
            arm=found.candidate,
            dataset=found.costs.dataset,
            source=found.costs.record,
            holds=(cost.ratio < 1) != cost.higher_is_better if decides else None,
        )
        return Answer.of([row], why="the interval does not decide")

    return Requirement(text=text, ask=ask)


def _by_units(found: ClaimEvidence, dataset: str, criterion: str) -> Measurement | None:
    """Ratio of both sides' units of one machine, its range over seeds; None without a pair."""

    def figure(unit: StoredRun) -> float | None:
        if criterion == "latency":
            return 1000 * unit.forecast_s / unit.windows if unit.forecast_s else None
        return None if unit.peak_bytes is None else unit.peak_bytes / GIB

    sides = [found.units_of(arm, dataset) for arm in (found.candidate, found.baseline)]
    machines = {tuple(sorted(unit.machine.items())) for units in sides for unit in units}
    ours, theirs = ([v for v in map(figure, units) if v is not None] for units in sides)
    if not ours or not theirs or len(machines) != 1:
        return None
    unit = "ms a window" if criterion == "latency" else "GiB"
    return Measurement(
        what=f"{criterion.replace('_', ' ')} over {found.baseline}'s, range over seeds",
        value=(sum(ours) / len(ours)) / (sum(theirs) / len(theirs)),
        unit="times",
        low=min(ours) / max(theirs),
        high=max(ours) / min(theirs),
        arm=found.candidate,
        dataset=dataset,
        source=_sources([*sides[0], *sides[1]]),
        said=f"{min(ours):.3g} against {min(theirs):.3g} {unit}; units of the grid, not paired",
    )


def _sources(units: Sequence[StoredRun]) -> str:
    keys = [unit.key[:12] for unit in units]
    more = f" and {len(keys) - 2} more" if len(keys) > 2 else ""
    return f"unit{'s' if len(keys) > 1 else ''} {', '.join(keys[:2])}{more}"


_PAIRS = (
    ("document_baseline", "document_candidate", "the pair that the document names"),
    ("legacy", "replacement", "networks alone of both sides, all of the checkout"),
    ("legacy", "candidate_network", "networks alone of both sides, ours against the checkout's"),
    ("legacy", "candidate", "networks of the checkout against the arm alone"),
    ("baseline", "candidate", "arm and network of both sides"),
    ("baseline_network", "candidate_network", "networks alone of both sides, ours"),
)
"""What may be set against each other, the first that is there decides."""


def less_code(share: float) -> Requirement:
    """The candidate's code is at least that share smaller than the baseline's."""

    def ask(found: ClaimEvidence) -> Answer:
        sizes, rows = found.sizes, list[Measurement]()
        for old, new, what in _PAIRS:
            if old not in sizes or new not in sizes or sizes[old].lines == 0:
                continue
            saved = 1 - sizes[new].lines / sizes[old].lines
            rows.append(
                Measurement(
                    what="source lines saved" + (", beside" if rows else ""),
                    value=100 * saved,
                    unit="%",
                    source="source files",
                    said=f"{sizes[new].lines} against {sizes[old].lines}; {what}, no harness",
                    holds=None if rows else saved >= share,
                )
            )
        if not rows:
            return Answer.missing(
                "the source of both sides was not found; an arm that plays records back has none"
            )
        counted = [
            Measurement(
                what=f"source lines of {size.what}",
                value=size.lines,
                unit=f"lines in {len(size.files)} files",
                source="source files",
            )
            for size in sizes.values()
        ]
        return Answer(holds=rows[0].holds, measured=(*rows, *counted))

    return Requirement(
        text=f"the replacement's source lines are at least {100 * share:g} % fewer than those of "
        "what it replaces: of HFBayesianAutoformer and BayesianEnhancedAutoformer, which the "
        "document names, where a checkout holds both; else of the networks of the checkout; else "
        "of the judged pair",
        ask=ask,
    )


def code_at_least(lines: int) -> Requirement:
    """The replacements have more lines than that: the checkout's where there are some, else ours.

    Lines of any kind: the claim is about the length of files.
    """

    def ask(found: ClaimEvidence) -> Answer:
        size = found.sizes.get("replacement") or found.sizes.get("candidate")
        if size is None:
            return Answer.missing("the replacement's source was not found")
        row = Measurement(
            what=f"lines of {size.what}, blank ones and comments included",
            value=size.all_lines,
            unit=f"lines in {len(size.files)} files",
            source="source files",
            said=f"{size.lines} of them are source lines",
            holds=size.all_lines > lines,
        )
        return Answer.of([row])

    return Requirement(text=f"the replacements have more than {lines} lines", ask=ask)
