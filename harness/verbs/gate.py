"""The verb `gate`: judge what is stored, and write what a CI system reads."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Literal

from harness.verbs.common import (
    BaselineOption,
    CandidateOption,
    DataFolders,
    DateOption,
    Experiment,
    FilePath,
    HoldAs,
    HoldAsOption,
    LeftOut,
    PolicyFile,
    RecordsFolder,
    Seeds,
    Settings,
    StoreFolder,
    StrictDataOption,
    day_of,
    opened,
    say_freshness,
    verb,
)
from harness.verbs.report import page_content
from harness.verbs.result import Result

if TYPE_CHECKING:
    from harness.experiments.policy import Policy
    from harness.gate.judge import Judgement
    from harness.judging.fact import Fact
    from harness.running.grid import Grid
    from harness.running.store_folder import Store
    from reports.page_input import PageInput


@verb("abharness gate quick --candidate-arm HFBayesianAutoformer-96")
def gate(
    experiment: Experiment = "quick",
    *,
    store: StoreFolder = "runs",
    data_dir: DataFolders = (),
    seeds: Seeds = None,
    changes: Settings = (),
    without: LeftOut = (),
    baseline_arm: BaselineOption = None,
    candidate_arm: CandidateOption = None,
    hold_as: HoldAsOption = None,
    policy: PolicyFile = None,
    date: DateOption = None,
    records: RecordsFolder = None,
    strict_data: StrictDataOption = False,
) -> Result:
    """Judge what is stored; the exit code is the decision.

    Records the verdict, and one on every other legacy arm, and writes verdict.json, junit.xml and
    summary.md. A read-only store is judged too; nothing is recorded then.

    Parameters
    ----------
    experiment, store, data_dir, seeds, changes, without
        As for `harness.run`; the store must be there.
    baseline_arm, candidate_arm
        Judge this pair instead of the policy's.
    hold_as
        Exit code of HOLD: fail is 4, pass is 0; None is as the policy says.
    policy
        A file to judge by instead of the experiment's policy.
    date
        ISO day on which waivers must be valid; None is today.
    records
        Write the files of the deciding verdict to this folder as well.
    strict_data
        As for `harness.run`.

    Raises
    ------
    InputError
        When experiment, data, arms or store cannot be used.
    """
    from harness.running.incoming import seal_incoming

    day = day_of(date)
    grid, kept = opened(
        experiment,
        store,
        data_dir,
        seeds=seeds,
        changes=changes,
        without=without,
        policy=policy,
        create=False,
    )
    say_freshness(grid, strict=strict_data)
    if not kept.journal.read_only:
        seal_incoming(grid, kept)
    judgement = judged(grid, kept, baseline_arm, candidate_arm, day)
    content = page_content(grid, kept, judgement)
    write_files(kept, judgement, content, hold_as, records)
    last_line = last_line_of(kept, judgement, f"records: {judgement.folder}")
    shown = as_typed(content, grid, kept, data_dir)
    return result_of(judgement, content, shown, hold_as=hold_as, last_line=last_line)


def chosen_pair(grid: Grid, baseline: str | None, candidate: str | None) -> Policy:
    """The experiment's policy, on the pair that was asked for."""
    from harness.data.dataset import check_count

    check_count(grid.experiment.datasets)
    return grid.experiment.policy_on(baseline=baseline, candidate=candidate)


def judged(
    grid: Grid,
    store: Store,
    baseline: str | None,
    candidate: str | None,
    day: str,
    *,
    nightly: bool = False,
) -> Judgement:
    """Judge a pair by the experiment's policy, and store the verdicts.

    What is new is told of a nightly, which is recorded, and where the policy plans looks.
    """
    from harness.gate.dossier import Dossier
    from harness.gate.judge import judge_grid
    from harness.gate.nights import data_facts, record_night

    policy = chosen_pair(grid, baseline, candidate)
    found = judge_grid(grid, store, policy=policy, today=day)
    told = nightly or policy.looks is not None
    found = replace(found, news=(*found.news, *data_facts(grid)) if told else ())
    if nightly:
        record_night(Dossier(grid=grid, store=store, policy=policy), found)
    return found


def write_files(
    store: Store,
    judgement: Judgement,
    content: PageInput,
    hold_as: HoldAs,
    records: FilePath | None,
) -> None:
    """Draw every verdict for others to read: as JSON, JUnit XML and Markdown.

    The deciding one has its page's tables. What was drawn of the verdict before on a pair goes,
    unless it has a page.
    """
    from harness.judging.verdict import plain, to_json
    from harness.running.sources import digest
    from harness.running.store_folder import write_text
    from harness.verbs.report import PAGE, keep_drawn
    from reports.collect import drawn_from
    from reports.forms.junit import render_junit
    from reports.forms.markdown import render_markdown
    from reports.page_input import HEAD, PageInput

    said, marks = _hold_as(judgement, hold_as), content.fingerprints

    def drawn(page: PageInput, new: tuple[Fact, ...]) -> dict[str, Callable[[], str]]:
        head, logs = marks.get(HEAD, ""), page.beside.logs
        return {
            "verdict.json": lambda: to_json(page.verdict),
            "junit.xml": lambda: render_junit(
                page.verdict, hold_as=said, head=head, news=new, logs=logs
            ),
            "summary.md": lambda: render_markdown(page, news=new),
        }

    others = [(PageInput(verdict=v, fingerprints=marks), folder) for v, folder in judgement.others]
    decides = drawn(content, judgement.news)
    if not store.journal.read_only:
        made_of = [drawn_from(content), said]
        told = digest([*made_of, plain(judgement.news)])
        keep_drawn(store, judgement.folder, decides, made_of=told)
        for page, folder in others:
            told = digest([*made_of, plain(page.verdict)])
            keep_drawn(store, folder, drawn(page, ()), made_of=told)
        for former in judgement.former:
            if former.is_dir() and not (former / PAGE).is_file():
                shutil.rmtree(former, ignore_errors=True)
    if records is not None:
        for name, draw in decides.items():
            write_text(Path(records) / name, draw())


def last_line_of(store: Store, judgement: Judgement, said: str) -> str:
    """The head of the store's records, and where they or the page are."""
    from harness.records.journal import SHORT

    if store.journal.read_only:
        said = "records: none, the store is read-only"
    return f"head of the store's records: {judgement.head[:SHORT]}\n{said}"


def _hold_as(judgement: Judgement, flag: HoldAs) -> Literal["fail", "pass"]:
    """What HOLD ends with: the flag, else the policy."""
    return flag or ("pass" if judgement.verdict.policy.get("hold_as") == "pass" else "fail")


def as_typed(
    content: PageInput, grid: Grid, store: Store, data_dir: Sequence[FilePath]
) -> PageInput:
    """The same with commands that work where this one was given: with paths instead of names.

    A page may be read elsewhere; a terminal is read here.
    """

    def from_here(path: FilePath) -> str:
        with suppress(ValueError):
            return str(Path(path).absolute().relative_to(Path.cwd()))
        return str(path)

    root, source = from_here(store.root), grid.experiment.source
    experiment = quote(from_here(source) if Path(source).is_file() else source)
    words = [root, *(word for each in data_dir for word in ("--data-dir", from_here(each)))]
    name = store.root.resolve().name
    beside = replace(
        content.beside,
        experiment=experiment,
        store=" ".join(map(quote, words)),
        folder=f"{root}{content.beside.folder.removeprefix(name)}",
        logs={unit: f"{root}{log.removeprefix(name)}" for unit, log in content.beside.logs.items()},
    )
    step = content.verdict.next_action
    if "experiment" in step.values:
        step = replace(step, values={**step.values, "experiment": experiment})
    return replace(content, beside=beside, verdict=replace(content.verdict, next_action=step))


def result_of(
    judgement: Judgement,
    content: PageInput,
    shown: PageInput,
    *,
    hold_as: HoldAs,
    last_line: str,
    page: Path | None = None,
) -> Result:
    """A judgement as a result: the verdict on the policy's pair decides the code, no other.

    `shown` is the same as `content`, as it is told on the terminal.
    """
    from shutil import get_terminal_size

    from reports.forms.terminal import render_terminal
    from reports.words.facts import first_line

    verdict = judgement.verdict
    table = render_terminal(shown, width=get_terminal_size((80, 24)).columns)
    passed = verdict.outcome == "HOLD" and _hold_as(judgement, hold_as) == "pass"
    first = f"{first_line(judgement.news)}\n\n" if judgement.news else ""
    return Result(
        text=f"{first}{table}\n{last_line}",
        exit_code=0 if passed else verdict.exit_code,
        verdict=verdict,
        others=tuple(other for other, _ in judgement.others),
        folder=judgement.folder,
        page=page,
        news=judgement.news,
        content=None if content.alone else content,
    )
