"""What the verdict rests on: pairing, completeness, failures, the random-walk bar, origins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.judging.fact import FactCode
from harness.judging.validity import Validity
from reports.page_input import ArmFacts, DatasetFacts, PageInput
from reports.section import Basis, BasisList, Part, Section
from reports.words import numbers

_ORIGIN_WORDS = ("checkpoint", "origin", "contamin", "pretrain", "trained on", "weights")


def trust_strip(page: PageInput) -> list[Basis]:
    """Say at length what the findings rest on, each as a word, a mark and a sentence."""
    return [
        _completeness(page),
        _pairing(page),
        _failures(page),
        _blindness(page),
        *_distribution(page),
        *_random_walk(page),
        *_crossings(page),
        *_origins(page),
        *_refits(page),
        *_repeats(page),
    ]


def _completeness(page: PageInput) -> Basis:
    seen = page.verdict.validity
    text = f"{seen.present} of {seen.declared} declared cells have scores"
    if seen.missing:
        text += f"; missing: {numbers.listing(map(str, seen.missing[:4]))}"
        text += f" and {len(seen.missing) - 4} more" if len(seen.missing) > 4 else ""
    text += completeness_noted(seen)
    return Basis(label="Completeness", mark=seen.completeness, text=f"{text}.")


def completeness_noted(seen: Validity) -> str:
    """What is known beside the cells: failed windows, one seed, other seeds than declared."""
    failed = sum(unit.failures for unit in seen.units)
    windows = sum(unit.windows for unit in seen.units)
    lost = f", {failed:,} of {windows:,} windows failed" if failed else ""
    alone = ", one seed only" if seen.doubted(FactCode.ONE_SEED) else ""
    picked = ", hand-picked seeds" if seen.doubted(FactCode.HAND_PICKED_SEEDS) else ""
    return lost + alone + picked


def _pairing(page: PageInput) -> Basis:
    seen = page.verdict.validity
    text = f"Same origins and same actuals for every arm on {numbers.listing(seen.truth_digests)}."
    if seen.pairing != "holds":
        torn = [name for name, digest in seen.truth_digests.items() if not digest]
        where = f" on {numbers.listing(torn)}" if torn else ""
        text = f"It is not shown that all arms were judged on the same windows{where}."
    return Basis(label="Pairing", mark=seen.pairing, text=text)


def _failures(page: PageInput) -> Basis:
    seen = page.verdict.validity
    windows = sum(unit.windows for unit in seen.units)
    failed: dict[str, int] = {}
    for unit in seen.units:
        if unit.failures:
            failed[unit.arm] = failed.get(unit.arm, 0) + unit.failures
    text = f"None of {numbers.plural(windows, 'window')} (all arms and seeds) failed."
    if failed:
        by_arm = numbers.listing(f"{arm} ({count})" for arm, count in failed.items())
        text = f"{sum(failed.values())} of {numbers.plural(windows, 'window')} failed: {by_arm}."
    return Basis(label="Failures", mark=seen.failures, text=text)


def _blindness(page: PageInput) -> Basis:
    """Which sides were shown not to see past their origin, and how to try those that were not."""
    states = {each.arm: each.state for each in page.verdict.validity.blindness}
    sides = (page.verdict.legacy, page.verdict.candidate)
    untested = [arm for arm in sides if states.get(arm, "not tested") == "not tested"]
    said = [f"{arm}: {state}" for arm, state in states.items() if state != "not tested"]
    said += [f"{arm}: not tested: {page.beside.check_command(arm)}" for arm in untested]
    return Basis(
        label="Future-blindness",
        mark=page.verdict.validity.future_blindness,
        text=f"Later sessions change no forecast (predicate T10). {'; '.join(said)}.",
    )


def _distribution(page: PageInput) -> Iterator[Basis]:
    marked = {unit.arm for unit in page.verdict.validity.units if unit.residual_distribution}
    marked |= {arm.name for arm in page.arms if arm.residual_distribution}
    if marked:
        yield Basis(
            label="Distribution",
            mark="note",
            text="A point path is all they give: the predictive distribution (CRPS, coverage, "
            f"width) of {numbers.listing(sorted(marked))} is the harness's doing, made of the "
            "arm's own residuals on its validation span.",
        )


def _random_walk(page: PageInput) -> Iterator[Basis]:
    seen = page.verdict.validity
    for dataset, sides in seen.bars.items():
        texts = [
            f"{side.arm} {numbers.percent(side.skill, signed=True)}" for side in sides.values()
        ]
        metric = numbers.metric_name(next(iter(sides.values())).metric)
        reference = next(iter(sides.values())).reference
        yield Basis(
            label=f"Random-walk bar, {dataset}",
            mark=seen.above_reference(dataset),
            text=f"Skill in {metric} against {reference} (above 0 is better than it): "
            f"{numbers.listing(texts)}.",
        )


def weak_legacy(page: PageInput) -> list[str]:
    """Datasets on which the candidate beats the legacy arm and neither beats the random walk."""
    found = []
    for dataset, sides in page.verdict.validity.bars.items():
        candidate, legacy = sides.get(page.verdict.candidate), sides.get(page.verdict.legacy)
        if candidate is None or legacy is None or candidate.value is None or legacy.value is None:
            continue
        below = [side.skill is not None and side.skill <= 0 for side in (candidate, legacy)]
        if candidate.value < legacy.value and all(below):
            found.append(dataset)
    return found


def _crossings(page: PageInput) -> Iterator[Basis]:
    for arm in (page.verdict.candidate, page.verdict.legacy):
        units = [unit for unit in page.verdict.validity.units if unit.arm == arm]
        crossed = max((unit.crossings for unit in units), default=0.0)
        beyond = max((unit.extrapolated for unit in units), default=0)
        parts = []
        if crossed:
            parts.append(f"up to {numbers.percent(crossed)} of a unit's cells came out of order")
        if beyond:
            levels = numbers.plural(beyond, "level")
            parts.append(f"{levels} of the common grid had to be extrapolated")
        if parts:
            text = f"Before scoring, {' and '.join(parts)}."
            yield Basis(label=f"Quantiles of {arm}", mark="note", text=text)


def _origins(page: PageInput) -> Iterator[Basis]:
    """Where the candidate's weights come from, as its card says."""
    facts = next((arm for arm in page.arms if arm.name == page.verdict.candidate), None)
    if facts is None:
        return
    told = _told(facts)
    if told:
        text = "; ".join(f"{title}: {said}" for title, said in told.items())
        mark = page.verdict.validity.uncontaminated
        yield Basis(label="Checkpoint", mark=mark, text=f"{text}.")
    else:
        yield Basis(
            label="Checkpoint",
            mark="note",
            text=f"{facts.name} does not say where its weights come from, nor whether they were "
            "trained on the judged span.",
        )


def _told(facts: ArmFacts) -> Mapping[str, str]:
    return {
        title: said
        for title, said in facts.card.items()
        if any(word in title.lower() for word in _ORIGIN_WORDS)
    }


def _refits(page: PageInput) -> Iterator[Basis]:
    texts = {_refit(facts): None for facts in page.datasets.values()}
    if texts:
        yield Basis(
            label="Refits", mark="holds", text=f"Arms that learn are fitted {'; '.join(texts)}."
        )


def _refit(facts: DatasetFacts) -> str:
    if facts.refit is None:
        return "once, before the first origin"
    return "at each origin" if facts.refit == 1 else f"again every {facts.refit} origins"


def _repeats(page: PageInput) -> Iterator[Basis]:
    if not page.datasets:
        return
    texts = [
        f"{facts.id}: {numbers.percent(facts.repeats)} of sessions repeat the price before them, "
        f"{'dropped' if facts.skip_repeats else 'kept'}"
        for facts in page.datasets.values()
    ]
    many = any(facts.repeats > 0.01 and not facts.skip_repeats for facts in page.datasets.values())
    yield Basis(
        label="Repeated prices", mark="note" if many else "holds", text=f"{'; '.join(texts)}."
    )


def basis(page: PageInput) -> Iterator[Section]:
    """At length, below the first screen."""
    items = tuple(trust_strip(page))
    yield Section(id="basis", title="What it rests on", items=(BasisList(items=items),))


PARTS = (Part(order=200, page=basis),)
