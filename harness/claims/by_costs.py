"""Requirements that stored units, measuring sessions and source lines answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.claims.claim import Answer, ClaimEvidence, Measurement, Requirement, StoredRun
from harness.costs import Cost
from harness.measure.code_lines import CodeSize

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


def no_failures() -> Requirement:
    """The candidate failed no window and no fit diverged, in all its declared units."""
    return Requirement(
        text="no window of the candidate failed and none of its fits diverged",
        ask=lambda found: _each_unit(found, _failures),
    )


def _each_unit(
    found: ClaimEvidence, measure: Callable[[Sequence[StoredRun]], Measurement]
) -> Answer:
    """Measure the candidate's units on every dataset; open where one has none."""
    rows, why = list[Measurement](), list[str]()
    for dataset in found.datasets:
        units = found.units_of(found.candidate, dataset)
        if units:
            rows.append(measure(units))
        else:
            why.append(f"no unit of {found.candidate} on {dataset} is stored")
    answer = Answer.of(rows)
    if why and answer.holds is not False:
        return Answer.missing("; ".join(why), found.command("run"), measured=rows)
    return answer


def _failures(units: Sequence[StoredRun]) -> Measurement:
    failed = sum(int(unit.record["failed"]) for unit in units)
    diverged = sum(bool(fit["diverged"]) for unit in units for fit in unit.record["fits"])
    windows = sum(int(unit.record["windows"]) for unit in units)
    return Measurement(
        what="failed windows and diverged fits",
        value=failed + diverged,
        unit=f"of {windows} windows",
        arm=units[0].arm,
        dataset=units[0].dataset,
        source=_sources(units),
        said=next((str(unit.record["first_reason"]) for unit in units), ""),
        holds=failed + diverged == 0,
    )


def own_distribution() -> Requirement:
    """The candidate gives its own predictive distribution; the harness added none."""
    return Requirement(
        text="the candidate answers with quantiles or samples of its own",
        ask=lambda found: _each_unit(found, _form),
    )


def _form(units: Sequence[StoredRun]) -> Measurement:
    added = any(bool(unit.record["residual_distribution"]) for unit in units)
    form = str(units[0].record["form"])
    return Measurement(
        what=f"form of the forecasts: {form}" + (", added by the harness" if added else ""),
        arm=units[0].arm,
        dataset=units[0].dataset,
        source=_sources(units),
        holds=form != "none" and not added,
    )


def levels_offered(low: float, high: float) -> Requirement:
    """The candidate's own quantile levels reach from `low` to `high`; samples hold every one."""
    return Requirement(
        text=f"its levels reach from {low:g} to {high:g}",
        ask=lambda found: _each_unit(found, lambda units: _levels(units, low, high)),
    )


def _levels(units: Sequence[StoredRun], low: float, high: float) -> Measurement:
    record = units[0].record
    levels = [float(each) for each in record["levels"]]
    samples = record["form"] == "samples"
    reach = bool(levels) and min(levels) <= low and high <= max(levels)
    return Measurement(
        what="quantile levels offered",
        value=None if samples else len(levels),
        arm=units[0].arm,
        dataset=units[0].dataset,
        source=_sources(units),
        said="samples" if samples else f"from {min(levels):g} to {max(levels):g}" if levels else "",
        holds=samples or reach,
    )


def no_crossings() -> Requirement:
    """No quantiles of the candidate came out of order in the grid."""
    return Requirement(text="no quantiles of the candidate cross on any window", ask=_crossings)


def _crossings(found: ClaimEvidence) -> Answer:
    rows = [
        Measurement(
            what="steps whose quantiles cross",
            value=100 * unit.crossings,
            unit="%",
            arm=unit.arm,
            dataset=unit.dataset,
            source=next((r.source for r in found.runs if _same(r, unit)), ""),
            holds=unit.crossings == 0,
        )
        for unit in found.scores
        if unit.arm == found.candidate
    ]
    if not rows:
        return Answer.missing("no scores of the candidate are stored", found.command("run"))
    return Answer.of(rows)


def _same(run: StoredRun, unit: object) -> bool:
    return all(getattr(run, name) == getattr(unit, name) for name in ("arm", "dataset", "seed"))


def cheaper(criterion: str, text: str) -> Requirement:
    """The candidate costs less, by a measuring session; what units took only stands beside it.

    Parameters
    ----------
    criterion
        ``latency`` or ``peak_memory``, as a session names it.
    """
    return Requirement(text=text, ask=lambda found: _cost(found, criterion))


def _cost(found: ClaimEvidence, criterion: str) -> Answer:
    cost = None if found.costs is None else found.costs.items.get(criterion)
    if cost is not None and cost.valid:
        return Answer.of([_session(found, cost)], why="the interval does not decide")
    rows = [row for row in (_by_units(found, d, criterion) for d in found.datasets) if row]
    why = "units run beside whatever else a machine does: only a paired session decides"
    return Answer.missing(why, found.command("measure"), measured=rows)


def _session(found: ClaimEvidence, cost: Cost) -> Measurement:
    assert found.costs is not None
    assert cost.ratio is not None
    holds = (cost.ratio < 1) != cost.higher_is_better if cost.differs or cost.exact else None
    return Measurement(
        what=f"{cost.criterion.replace('_', ' ')} over {found.baseline}'s, paired session",
        value=cost.ratio,
        unit="times",
        low=cost.low,
        high=cost.high,
        arm=found.candidate,
        dataset=found.costs.dataset,
        source=found.costs.record,
        said=cost.note,
        holds=holds,
    )


def _by_units(found: ClaimEvidence, dataset: str, criterion: str) -> Measurement | None:
    """Ratio of both sides' units of one machine, its range over seeds; None without a pair."""
    read = _seconds_a_window if criterion == "latency" else _peak
    sides = [found.units_of(arm, dataset) for arm in (found.candidate, found.baseline)]
    machines = [{str(sorted(u.record["machine"].items())) for u in units} for units in sides]
    values = [[v for v in map(read, units) if v is not None] for units in sides]
    if not all(values) or machines[0] != machines[1] or len(machines[0]) != 1:
        return None
    ours, theirs = values
    low, high = min(ours) / max(theirs), max(ours) / min(theirs)
    mean = (sum(ours) / len(ours)) / (sum(theirs) / len(theirs))
    unit = "ms a window" if criterion == "latency" else "GiB"
    return Measurement(
        what=f"{criterion.replace('_', ' ')} over {found.baseline}'s, range over seeds",
        value=mean,
        unit="times",
        low=low,
        high=high,
        arm=found.candidate,
        dataset=dataset,
        source=_sources([*sides[0], *sides[1]]),
        said=f"{min(ours):.3g} against {min(theirs):.3g} {unit}; units of the grid, not paired",
    )


def _seconds_a_window(unit: StoredRun) -> float | None:
    spent = unit.record["seconds"].get("forecast")
    return None if not spent else 1000 * float(spent) / int(unit.record["windows"])


def _peak(unit: StoredRun) -> float | None:
    peaks = unit.record["peak_bytes"].values()
    return max(peaks) / GIB if peaks else None


def _sources(units: Sequence[StoredRun]) -> str:
    keys = [unit.key[:12] for unit in units]
    more = f" and {len(keys) - 2} more" if len(keys) > 2 else ""
    return f"unit{'s' if len(keys) > 1 else ''} {', '.join(keys[:2])}{more}"


def less_code(share: float) -> Requirement:
    """The candidate's code is at least that share smaller than the baseline's."""
    return Requirement(
        text=f"the candidate's source lines, arm and network, are at least {100 * share:g} % fewer "
        "than the baseline's (of the networks alone on both sides, where a checkout is given)",
        ask=lambda found: _less(found, share),
    )


def _less(found: ClaimEvidence, share: float) -> Answer:
    old, new, counted = _both_sides(found.sizes)
    if old is None or new is None or old.lines == 0:
        return Answer.missing("the source of both sides was not found")
    saved = 1 - new.lines / old.lines
    row = Measurement(
        what="source lines saved",
        value=100 * saved,
        unit="%",
        arm=found.candidate,
        source="source files",
        said=f"{new.lines} against {old.lines}; {counted}, no harness",
        holds=saved >= share,
    )
    return Answer(holds=row.holds, measured=(row, *_sizes(found)))


def _both_sides(
    sizes: Mapping[str, CodeSize],
) -> tuple[CodeSize | None, CodeSize | None, str]:
    """The same of both sides, and what it is: a checkout holds networks, and no arms."""
    if "legacy" not in sizes:
        return sizes.get("baseline"), sizes.get("candidate"), "arm and network of both sides"
    for name in ("replacement", "candidate_network"):
        if name in sizes:
            return sizes["legacy"], sizes[name], "networks alone of both sides"
    return sizes["legacy"], sizes.get("candidate"), "networks of the checkout against the arm alone"


def _sizes(found: ClaimEvidence) -> list[Measurement]:
    return [
        Measurement(
            what=f"source lines of {size.what}",
            value=size.lines,
            unit=f"lines in {len(size.files)} files",
            source="source files",
        )
        for size in found.sizes.values()
    ]


def code_at_least(lines: int) -> Requirement:
    """The replacement has that many source lines: the checkout's where there is one, else ours."""
    return Requirement(
        text=f"the replacement, arm and network, has {lines} source lines or more",
        ask=lambda found: _at_least(found, lines),
    )


def _at_least(found: ClaimEvidence, lines: int) -> Answer:
    size = found.sizes.get("replacement") or found.sizes.get("candidate")
    if size is None:
        return Answer.missing("the replacement's source was not found")
    row = Measurement(
        what=f"source lines of {size.what}",
        value=size.lines,
        unit=f"lines in {len(size.files)} files",
        source="source files",
        holds=size.lines >= lines,
    )
    return Answer.of([row])
