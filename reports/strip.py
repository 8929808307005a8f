"""The trust strip of the first screen: seven things a verdict rests on, a word and a mark each."""

from __future__ import annotations

from harness.judging.validity import HAND_PICKED, ONE_SEED
from reports import wording
from reports.inputs import PageInput
from reports.trust import Item, Mark, bars


def strip(page: PageInput) -> list[Item]:
    """Pairing, completeness, blindness, contamination, random-walk bar, self-test, new evidence."""
    return [
        _pairing(page),
        _completeness(page),
        _blindness(page),
        _contamination(page),
        _random_walk(page),
        _self_test(page),
        _evidence(page),
    ]


def _pairing(page: PageInput) -> Item:
    digests = page.verdict.validity.truth_digests
    same = bool(digests) and all(digests.values())
    text = "same origins and actuals for all arms" if same else "not shown to be the same windows"
    return Item(label="Pairing", mark="holds" if same else "broken", text=text)


def _completeness(page: PageInput) -> Item:
    seen = page.verdict.validity
    whole = seen.declared > 0 and seen.present == seen.declared
    failed = sum(unit.failures for unit in seen.units)
    windows = sum(unit.windows for unit in seen.units)
    lost = f", {failed:,} of {windows:,} windows failed" if failed else ", no window failed"
    alone = any(ONE_SEED in text for text in seen.doubts)
    picked = any(HAND_PICKED in text for text in seen.doubts)
    mark: Mark = "broken" if not whole else "note" if failed or alone or picked else "holds"
    seeds = f"{', one seed only' if alone else ''}{f', {HAND_PICKED}' if picked else ''}"
    text = f"{seen.present} of {seen.declared} cells{lost}{seeds}"
    return Item(label="Completeness", mark=mark, text=text)


def _blindness(page: PageInput) -> Item:
    found = page.verdict.validity.blindness
    if any(each.state == "failed" for each in found):
        arms = wording.listing(each.arm for each in found if each.state == "failed")
        return Item(label="Future-blindness", mark="broken", text=f"{arms} reads past its origin")
    untested = [each.arm for each in found if each.state == "not tested"]
    if untested or not found:
        said = f"{untested[0]} not tested" if len(untested) == 1 else "neither side tested"
        text = f"{said}: see What it rests on"
        return Item(label="Future-blindness", mark="note", text=text)
    return Item(label="Future-blindness", mark="holds", text="both sides passed T10")


def _contamination(page: PageInput) -> Item:
    found = page.verdict.validity.contamination
    known = [each.share for each in found if each.share is not None]
    if not found or len(known) < len(found):
        text = "unknown: the candidate does not say what it was pretrained on"
        return Item(label="Contamination", mark="note", text=text)
    most = max(known)
    if most > 0:
        text = f"up to {wording.percent(most, digits=0)} of origins may be in its pretraining data"
        return Item(label="Contamination", mark="note", text=text)
    return Item(label="Contamination", mark="holds", text="no judged session was pretrained on")


def _random_walk(page: PageInput) -> Item:
    parts, beaten = [], []
    for dataset, sides in bars(page).items():
        mine = sides.get(page.verdict.candidate)
        skill = None if mine is None else mine.skill
        parts.append(f"{wording.percent(skill, signed=True)} on {dataset}")
        beaten.append(skill is not None and skill > 0)
    if not parts:
        return Item(label="Random-walk bar", mark="note", text="no reference arm")
    mark: Mark = "holds" if all(beaten) else "note"
    text = f"candidate's skill {wording.listing(parts)}"
    return Item(label="Random-walk bar", mark=mark, text=text)


def _self_test(page: PageInput) -> Item:
    found = page.verdict.self_test
    if found is None:
        text = f"not run: {page.beside.command('gate')}"
        return Item(label="Self-test", mark="note", text=text)
    count = f"{found.passed} of {len(found.parts)} parts passed"
    bad = [part.code for part in found.parts if part.state == "failed"]
    if bad:
        return Item(label="Self-test", mark="broken", text=f"{count}; failed: {', '.join(bad)}")
    mark: Mark = "holds" if found.passed == len(found.parts) else "note"
    return Item(label="Self-test", mark=mark, text=count)


def _evidence(page: PageInput) -> Item:
    label = "New evidence"
    entry, change = page.beside.entry, page.beside.change
    if entry is None:
        return Item(label=label, mark="note", text="no history is stored")
    if change is None:
        return Item(label=label, mark="holds", text="the first verdict on this pair")
    counts = [
        f"{wording.plural(count, 'new origin')} on {name}"
        for name, count in change.new_origins.items()
    ]
    if not any(change.new_origins.values()):
        return Item(label=label, mark="note", text="no new origin since the last verdict")
    return Item(label=label, mark="holds", text=wording.listing(counts))
