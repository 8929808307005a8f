"""Results of a battery in the store, and back.

Records ``check``: one per subject and options, and another when it is tried again with other
results. Results of predicates that were not tried again stay, as long as subject and battery are
the same code.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from harness.arm import Arm, Role
from harness.arm_ref import folders_beside
from harness.checks.arm_subject import ArmSubject
from harness.checks.predicate import CheckRecord, CheckResult, Kind, attempt, number_of
from harness.checks.subject import Subject
from harness.parsing import parse_record
from harness.running.identity import (
    library_versions,
    weights_digest,
)
from harness.running.sources import CodeReader, digest
from harness.running.store_folder import Store


def write_check(
    store: Store,
    subject: Subject | ArmSubject,
    results: Sequence[CheckResult],
    *,
    target: str,
    role: Role | None,
    options: Mapping[str, Any],
) -> CheckRecord:
    """Store the results of a subject, and keep older ones of predicates that were left out.

    Results that were found on other code or other files are not kept.
    """
    kind: Kind = "arm" if isinstance(subject, ArmSubject) else "network"
    if isinstance(subject, ArmSubject):
        arm, _ = attempt(lambda: subject.construct(copy.deepcopy(dict(subject.options))))
    else:
        arm = subject.arm
    weights = "" if arm is None else files_digest(arm)
    key = digest([target, kind, subject.use, dict(options)])
    source = _source(subject.use, folders_beside())
    with store.journal.writing():
        last = store.journal.latest("check", key)
        known = None if last is None else read_check(last, where=f"check {key[:12]}")
        same = known is not None and (known.source, known.weights) == (source, weights)
        kept = known.results if known is not None and same else ()
        merged = {each.code: each for each in (*kept, *results)}
        record = CheckRecord(
            target=target,
            kind=kind,
            role=role,
            use=subject.use,
            options=dict(options),
            key=key,
            source=source,
            weights=weights,
            current=True,
            results=tuple(sorted(merged.values(), key=lambda each: number_of(each.code))),
        )
        store.journal.append_new("check", key, _plain(record))
    return record


def files_digest(arm: Arm) -> str:
    """Digest of the files an arm names as its own."""
    return digest(weights_digest(arm))


def read_checks(store: Store) -> list[CheckRecord]:
    """Read every stored check, by target, kind and key.

    Raises
    ------
    StoreError
        When one is not what was written.
    """
    newest = store.journal.newest("check").values()
    found = [read_check(store.journal.body(each), where=str(each)) for each in newest]
    return sorted(found, key=lambda each: (each.target, each.kind, each.key))


def _plain(record: CheckRecord) -> dict[str, Any]:
    """As JSON has it: a number that is not finite is null."""
    content = dataclasses.asdict(record)
    del content["current"]
    for row in content["results"]:
        measured = row["measured"].items()
        row["measured"] = {name: v if math.isfinite(v) else None for name, v in measured}
    return content


def read_check(content: Mapping[str, Any], *, where: str) -> CheckRecord:
    """Read one stored check; a number that was not finite comes back as NaN.

    Parameters
    ----------
    content
        As the journal gives it.
    where
        Names it in errors.

    Raises
    ------
    StoreError
        When it is not whole.
    """
    rows = [
        {**row, "measured": {k: math.nan if v is None else v for k, v in row["measured"].items()}}
        for row in content["results"]
    ]
    current = content["source"] == _source(content["use"], folders_beside())
    return parse_record(CheckRecord, {**content, "results": rows, "current": current}, where=where)


@lru_cache(maxsize=64)
def _source(use: str, beside: tuple[str, ...]) -> str:  # what is kept goes by it
    """Digest of everything that can change what a battery says about a subject."""
    module = use.partition(":")[0]
    own = [module] if module else []
    code = CodeReader()
    battery = code.harness_digest([__name__.rpartition(".")[0]], own)
    return digest([code.arm_digest(own, data=True), battery, library_versions()])
