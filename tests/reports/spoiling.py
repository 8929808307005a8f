"""Hostile records: the same prefix before every string that comes from outside.

Names still refer to each other, because all of them change alike. Only strings that the code
itself spells (roles, metrics, keys of records) are left alone, so a field that is added to the
records is covered without a change here.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from harness.checks.predicate import CheckRecord, CheckResult
from harness.costs import CRITERIA, Cost, Costs
from harness.experiments.waivers import Waiver, WaiverState
from harness.gate.history import Entry, OriginSpan
from harness.gate.nights import Night
from harness.judging.conclusion import SelfTest, SelfTestPart
from harness.judging.declared import Cell, Look, LookLevel
from harness.judging.fact import FactCode, fact
from harness.judging.findings import Outcome
from harness.judging.verdict import Change, Verdict
from harness.reasons import ReasonCode, reason
from reports.night_input import CostSeries, DataState, HistoryInput, Losses
from reports.page_input import (
    Claimed,
    PageInput,
    PageRecords,
    Registration,
    SessionTimes,
)

Make = Callable[..., PageInput]
EVIL = (
    "<script>pwned=1</script>\"'><img src=x onerror=pwned=1></title></style></svg>]]>&lt;b&gt;"
    "{{7*7}}[a](http://evil.example)![b](x)`c`|@all $x^2$\n# d\n- e\x1b[31m "
)
SEEN = "pwned=1"
OUTCOMES: Mapping[str, Any] = {
    "T10": "pass",
    "T11": "fail",
    "T12": "not applicable",
    "T13": "error",
}
CHECKED = {
    *("Waiver.until", "PageInput.judged_at", "DatasetFacts.until"),
    *("Look.until", "Night.at", "Entry.at", "RecentEffect.since"),
}
"""Fields that hold nothing but what they were checked to be."""


NAMED = ("Fact.values", "Reason.values")
"""Mappings whose keys our own code gives, as names of arguments."""


@cache
def spelt() -> frozenset[str]:
    """Every string constant in the code that judges and reports."""
    found: set[str] = set()
    for name in ("harness", "reports"):
        spec = find_spec(name)
        assert spec is not None
        for folder in spec.submodule_search_locations or ():
            for file in Path(folder).rglob("*.py"):
                nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
                found |= {
                    node.value
                    for node in nodes
                    if isinstance(node, ast.Constant) and isinstance(node.value, str)
                }
    return frozenset(found)


class Spoiler:
    """Puts the hostile prefix before every string, and counts by field where it did."""

    def __init__(self) -> None:
        self.spoiled: Counter[str] = Counter()
        self.kept: dict[str, set[str]] = {}

    def __call__(self, value: Any, where: str = "") -> Any:
        if isinstance(value, Enum):
            return value
        if isinstance(value, str):
            return self._text(value, where)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changes = {
                field.name: self(getattr(value, field.name), f"{type(value).__name__}.{field.name}")
                for field in dataclasses.fields(value)
                if field.init
            }
            return dataclasses.replace(value, **changes)
        if isinstance(value, Mapping) and where in NAMED:
            return {key: self(each, where) for key, each in value.items()}
        if isinstance(value, Mapping):
            return {self(key, f"{where} key"): self(each, where) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self(each, where) for each in value)
        return value

    def _text(self, value: str, where: str) -> str:
        if value in spelt() or not value or interpreted(value) or where in CHECKED:
            self.kept.setdefault(where, set()).add(value)
            return value
        self.spoiled[where] += 1
        return EVIL + value


def interpreted(value: str) -> bool:
    """Text that code takes apart: metrics with a level, ids of findings, parts."""
    return bool(re.fullmatch(r"(coverage|width)_\d+|quantile_\S+", value))


def full_page(make_page: Make, **changes: Any) -> PageInput:
    """A page with something in every text field, and every record beside the verdict."""
    page = make_page(**{"fail": {"chronos-96": 2}, "outcome": Outcome.HOLD, **changes})
    verdict = full_verdict(page.verdict)
    others = (dataclasses.replace(verdict, legacy="autoformer-repaired"),)
    return dataclasses.replace(page, verdict=verdict, beside=beside(verdict, others))


def beside(verdict: Verdict, others: tuple[Verdict, ...]) -> PageRecords:
    """Costs, a session, trials, claims, other pairs and a verdict before."""
    return PageRecords(
        experiment="walks.toml",
        store="runs",
        folder="runs/verdicts/walks/0123456789abcdef",
        others=others,
        costs={each.legacy: measured(each) for each in (verdict, *others)},
        sessions={verdict.legacy: SessionTimes(first_s=(0.4, 0.2), p90_s=(0.2, 0.3))},
        trials=(tried(verdict.candidate), tried(verdict.legacy)),
        since=Change(
            before=Outcome.INVALID,
            findings={each.id: ("HOLD", each.outcome.value) for each in verdict.findings[:4]},
            new_origins={verdict.findings[0].dataset: 3},
        ),
        registered=Registration(day="2023-10-01", before_results=True),
        claims=(claimed(),),
        verdicts=2,
    )


def claimed() -> Claimed:
    """A claim that nothing can be said of yet, beside a number."""
    return Claimed(
        group="claims of some document",
        number="99",
        text="all is better now",
        offered="a drawing of it",
        status="undecided",
        decides="it must be most",
        found=("a share of it", "too few of it"),
        commands=("abharness check it",),
    )


def measured(verdict: Verdict) -> Costs:
    """Every cost, one of them worse, one without evidence."""
    items = {
        name: Cost(
            criterion=name,
            unit=unit,
            baseline=0.21,
            candidate=0.27,
            ratio=1.29,
            low=1.18,
            high=1.41,
            log_se=0.04,
            df=3.0,
            noise_floor=0.031,
            n=4,
            valid=name != "throughput",
            reasons=(reason(ReasonCode.HOST_BUSY, when="while", taken=0.9),)
            if name == "throughput"
            else (),
        )
        for name, unit in CRITERIA.items()
    }
    return Costs(
        baseline=verdict.legacy,
        candidate=verdict.candidate,
        dataset=verdict.findings[0].dataset,
        items=items,
        machine={"processor": "Example CPU 9000", "cores": "2"},
        machine_class="0123456789ab",
        measured_at="2023-11-02T03:04:05",
        record="measures/0123456789ab/k.json",
    )


def tried(target: str) -> CheckRecord:
    """A battery with a part passed, a part failed and a part left out."""
    results = tuple(
        CheckResult(
            code=code,
            title=f"predicate {code} asks something",
            outcome=outcome,
            measured={"value": 0.3},
            limit="at most",
            threshold=0.1,
            unit="",
            draws=(),
            seconds=0.01,
            reason="it was three tenths in module.py:17",
        )
        for code, outcome in OUTCOMES.items()
    )
    return CheckRecord(
        target=target,
        kind="arm",
        role=None,
        use="module:Class",
        options={"width": 3},
        key="5d" * 32,
        source="5e" * 32,
        weights="",
        current=True,
        results=results,
    )


def full_verdict(verdict: Verdict) -> Verdict:
    """A verdict with a waiver, a self-test, a problem and a missing cell."""
    waiver = Waiver(
        finding=verdict.findings[5].id, owner="the owner", reason="a good one", until="2030-01-01"
    )
    failed = fact(FactCode.FAILED_T10, arm="an arm")
    problem = fact(FactCode.READS_AHEAD, arm="an arm").resting_on(failed)
    parts = (
        SelfTestPart(
            code="b", state="failed", found=fact(FactCode.WORSE_PROMOTED, findings=("a rule",))
        ),
        SelfTestPart(
            code="d", state="not run", found=fact(FactCode.EVIDENCE_UNSOUND).resting_on(problem)
        ),
    )
    findings = tuple(
        dataclasses.replace(each, waived=place == 5) for place, each in enumerate(verdict.findings)
    )
    share = fact(FactCode.CONTAMINATED, dataset="ALPHA", arm="an arm", share=0.5, said="a day")
    seed = fact(FactCode.ONE_SEED, arm="an arm")
    cautions = tuple(fact(FactCode.CAUTION).resting_on(each) for each in (share, seed))
    return dataclasses.replace(
        verdict,
        reasons=(*verdict.reasons, *cautions),
        findings=findings,
        self_test=SelfTest(parts=parts),
        waivers=(WaiverState(waiver=waiver, active=True, waived=(verdict.findings[5].id,)),),
        judged_on="2029-01-01",
        validity=dataclasses.replace(
            verdict.validity,
            problems=(problem,),
            missing=(Cell(arm="a missing arm", dataset="ALPHA", seed=1),),
        ),
    )


def a_history(verdict: Verdict) -> HistoryInput:
    """Six nights with two looks, and something in every text field."""
    look = Look(
        number=2,
        until="2020-12-01",
        attempt=2,
        share=0.25,
        most=40,
        origins={"ALPHA": 31, "BETA": 31},
        levels={
            name: LookLevel(guardrail=0.012, success=0.012, reject=0.01)
            for name in ("ALPHA", "BETA")
        },
        spent=0.04,
    )
    earlier = dataclasses.replace(look, number=1, until="2020-06-01")
    held = dataclasses.replace(verdict, look=look)
    failed = fact(FactCode.NOT_UPDATED, dataset="ALPHA", why="'prices' failed, see `log`")
    news = fact(FactCode.STILL, outcome="HOLD", origins=2)
    nights = [
        Night(
            verdict=f"name {place // 3}",
            outcome=Outcome.HOLD,
            candidate=verdict.candidate,
            legacy=verdict.legacy,
            news=(news, failed),
            until={"ALPHA": f"2021-01-0{place + 1}"},
            rows={"ALPHA": "digest"},
            basis={"policy": "digest"},
            marks=("data revised",) if place == 4 else (),
            at=f"2021-01-0{place + 2}T02:00:00",
        )
        for place in range(6)
    ]
    entry = Entry(
        sequence=1,
        name="name 0",
        head="head",
        candidate=verdict.candidate,
        legacy=verdict.legacy,
        outcome=verdict.outcome,
        decides=True,
        meaning="some meaning",
        outcomes={each.id: each.outcome.value for each in verdict.findings},
        spans={"ALPHA": OriginSpan(origins=3, first="2020-01-02", last="2021-01-04")},
        at="2021-01-02T02:00:00",
    )
    days = np.datetime64("2019-01-02") + 7 * np.arange(100)
    noise = np.random.default_rng(0).normal(size=(2, 100))
    return HistoryInput(
        title="A living experiment",
        verdict=held,
        since="2021-01-02",
        nights=nights,
        entries=(entry,),
        looked=((earlier, verdict.findings), (look, verdict.findings)),
        following=("2021-01-12", 3),
        losses=[
            Losses(finding=each, above=1 + 0.1 * noise[0], below=1 + 0.1 * noise[1], dates=days)
            for each in verdict.findings
            if each.comparison is not None and each.estimand is not None
        ],
        prospective={"ALPHA": 4},
        costs=(
            CostSeries(
                arm=verdict.candidate,
                machine="a machine",
                days=tuple(f"2021-01-{day:02}" for day in range(1, 21)),
                seconds=(*np.linspace(1, 1.05, 10), *np.linspace(3, 3.1, 10)),
            ),
        ),
        events=(("2021-01-01", "waiver of ALPHA:crps:guardrail: known", "Ann, until 2021-06-01"),),
        freshness=(
            DataState(
                dataset="ALPHA", until="2021-01-08", last_origin="2021-01-04", ended="", pending=3
            ),
            DataState(
                dataset="BETA",
                until="2021-01-08",
                last_origin="2021-01-04",
                ended="2021-01-08",
                pending=0,
            ),
        ),
        page="a/page.html",
    )
