"""The eight things of the first screen, and what stands in for those that are not recorded."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.costs import Cost, Costs
from harness.experiments.waivers import Waiver, WaiverState
from harness.judging.conclusion import SelfTest, SelfTestPart
from harness.judging.fact import FactCode, fact
from harness.judging.findings import Outcome, outlooks_of
from harness.judging.validity import Blindness, Contamination
from harness.judging.verdict import Change
from harness.reasons import ReasonCode, reason
from reports.forms.html import render_html
from reports.forms.terminal import render_terminal
from reports.page_input import PageInput, PageRecords
from reports.sections.cost_tables import cost_line, not_measured
from reports.sections.curves import worst_slice
from reports.sections.first_screen import (
    changed,
    fallback,
    lost_windows,
    nothing_lost,
    open_rules,
    weakest,
)
from reports.sections.scorecard import build_scorecard
from reports.sections.trust import at_length, strip
from reports.words import verdicts
from reports.words.cautions import cautions
from reports.words.sentences import sentence_of
from reports.words.verdicts import headline

Make = Callable[..., PageInput]
CELLS = "Completeness"
ONE_SEED = {
    "random-walk": ("reference", (1,), 1.0),
    "autoformer": ("legacy", (1,), 1.35),
    "chronos-512": ("candidate", (1,), 0.97),
}


def with_verdict(page: PageInput, **changes: Any) -> PageInput:
    """The same page on a changed verdict."""
    return dataclasses.replace(page, verdict=dataclasses.replace(page.verdict, **changes))


def with_validity(page: PageInput, **changes: Any) -> PageInput:
    """The same page on changed validity."""
    return with_verdict(page, validity=dataclasses.replace(page.verdict.validity, **changes))


def marks(page: PageInput) -> dict[str, str]:
    """Label to mark of the trust strip."""
    return {item.label: item.mark for item in strip(page)}


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome.PROMOTE, "all 9 binding rules are met."),
        (Outcome.HOLD, "still undecided: CRPS, RMSE, MAE and 80 % coverage on BETA."),
        (Outcome.REJECT, "worse than allowed: CRPS on BETA."),
    ],
)  # fmt: skip
def test_the_answer_is_one_sentence_of_result_and_obstacle(
    make_page: Make, outcome: Outcome, said: str
) -> None:
    """How much lower or higher the leading loss is, then what stands in the way."""
    findings = [
        dataclasses.replace(each, outcome=outcome if at in open_ else Outcome.PROMOTE)
        for at, each in enumerate(make_page().verdict.findings)
        for open_ in [{5, 6, 7, 8} if outcome is Outcome.HOLD else {5}]
    ]

    sentence = headline(make_page(outcome=outcome, findings=findings).verdict)

    assert sentence.startswith("CRPS is 8.0\u202f% lower on ALPHA and 2.0\u202f% higher on BETA")
    assert "(not told apart from equal on BETA) compared with autoformer" in sentence
    assert sentence.endswith(said)


def test_the_same_change_everywhere_is_said_once(make_page: Make) -> None:
    """Both datasets are named together; a change that is told apart has no doubt beside it."""
    verdict = make_page().verdict
    first, *rest = verdict.findings
    twice = (first, dataclasses.replace(first, dataset="BETA"), *rest[:1])

    sentence = headline(dataclasses.replace(verdict, findings=twice, outcome=Outcome.PROMOTE))

    assert sentence.startswith(
        "CRPS is 8.0\u202f% lower on both datasets compared with autoformer;"
    )


def test_an_invalid_verdict_has_its_own_sentence(make_page: Make) -> None:
    """No figure stands where no conclusion is allowed."""
    verdict = make_page(outcome=Outcome.INVALID).verdict

    assert headline(verdict) == verdicts.summary(verdict)


@pytest.mark.slow
def test_cautions_are_told_the_gravest_first(make_page: Make) -> None:
    """What a reader must know with the answer, each a whole sentence, once."""
    seed = fact(FactCode.CAUTION).resting_on(fact(FactCode.ONE_SEED, arm="old"))
    share = fact(FactCode.CONTAMINATED, dataset="ALPHA", arm="new", share=0.5, said="2020-01-01")
    weak = fact(FactCode.CAUTION).resting_on(share)
    page = with_verdict(make_page(), reasons=(seed, weak))

    found, drawn = cautions(page.verdict), html.unescape(render_html(page))

    assert [each.code for each in found] == [FactCode.CONTAMINATED, FactCode.ONE_SEED]
    assert all(each.said.endswith(".") for each in found)
    assert all(each.said in drawn for each in found)


def test_bounds_are_the_widest_of_all_methods_that_decide(make_page: Make) -> None:
    """From the lowest to the highest; the origins that do not overlap decide nothing."""
    finding = make_page().verdict.findings[0]
    assert finding.comparison is not None
    deciding = [each for each in finding.comparison.estimates if each.method != "independent"]

    low, high = finding.bounds

    assert low == min(each.lower for each in deciding if each.lower is not None)
    assert high == max(each.upper for each in deciding if each.upper is not None)


def test_a_sentence_has_the_bounds_of_the_table(make_page: Make) -> None:
    """Whoever reads a rule in a sentence and in the scorecard finds the same two numbers."""
    compared = [
        (row.interval, sentence_of(finding))
        for finding, row in zip(
            make_page().verdict.findings,
            [row for _, rows in build_scorecard(make_page().verdict).groups for row in rows],
            strict=True,
        )
        if finding.comparison is not None and finding.unit == "share"
    ]

    assert len(compared) > 3
    for interval, said in compared:
        first, last = re.findall(r"[\d.]+", interval)
        assert re.search(rf"bounds .{{0,2}}{float(first):.1f}.* to .{{0,2}}{float(last):.1f}", said)


def test_a_bound_that_is_open_in_one_method_is_open(make_page: Make) -> None:
    """An interval without an end must not look decided."""
    finding = make_page().verdict.findings[0]
    assert finding.comparison is not None
    first, *rest = finding.comparison.estimates
    torn = dataclasses.replace(
        finding.comparison, estimates=(dataclasses.replace(first, upper=None), *rest)
    )

    assert torn.bounds[1] is None


def test_rows_are_grouped_by_role_and_dataset(make_page: Make) -> None:
    """Guardrails of each dataset, then gains; counts that are kept are not drawn."""
    scorecard = build_scorecard(make_page().verdict)

    titles = [title for title, _ in scorecard.by_role]

    assert titles == ["Guardrails on ALPHA", "Guardrails on BETA", "Gains asked for on ALPHA"]
    assert [row.label for row in scorecard.silent] == ["failures", "failures"]


def test_a_broken_count_is_a_row(make_page: Make) -> None:
    """A limit that is not kept never hides in the line below."""
    page = make_page()
    findings = [
        dataclasses.replace(each, outcome=Outcome.REJECT) if each.role == "limit" else each
        for each in page.verdict.findings
    ]

    scorecard = build_scorecard(dataclasses.replace(page.verdict, findings=tuple(findings)))

    assert scorecard.by_role[-1][0] == "Limits"
    assert scorecard.silent == []


def test_open_rules_say_what_would_decide(make_page: Make) -> None:
    """Limit, origins in all and date of each undecided rule; the nearest stands first."""
    rule = open_rules(make_page(outcome=Outcome.HOLD).verdict)[0]

    assert (rule.rule, rule.dataset, rule.limit) == ("CRPS", "BETA", "5.0\u202f%")
    assert rule.needed == "41 by 2026-05-04"


def test_the_worst_windows_are_the_worst_of_all_datasets(make_page: Make) -> None:
    """Three, by the difference to the legacy arm, gravest first."""
    lost = list(lost_windows(make_page()))
    gaps = [float(by.split()[0]) for _, _, by, _, _ in lost]
    losses = [[float(text.split("\u202f")[0]) for text in row[3:]] for row in lost]

    assert len(lost) == 3
    assert gaps == sorted(gaps, reverse=True)
    assert gaps == pytest.approx([mine - theirs for mine, theirs in losses], abs=0.011)


@pytest.mark.parametrize("arm", ["chronos-512", "autoformer"])
def test_a_side_that_failed_everywhere_loses_no_window_and_no_slice(
    make_page: Make, arm: str
) -> None:
    """Nothing can be compared, and the page says so, with no effect of made-up losses."""
    drawn = html.unescape(render_html(make_page(fail={arm: 20})))

    assert "No slice can be compared: the sides share no scores." in drawn
    assert "No window can be compared: none has a forecast by both sides." in drawn
    assert "No window was lost" not in drawn
    assert "n/a: windows failed" in drawn


def test_the_weakest_slice_says_that_failures_count_in_it(make_page: Make) -> None:
    """A loss of ours for a window without a forecast never reads as measured."""
    pages = [make_page(fail={"chronos-512": count}) for count in (0, 3)]

    said = [weakest(worst_slice(page, page.verdict.legacy), page) for page in pages]

    assert ["failures counted" in each for each in said] == [False, True]


def test_nothing_lost_speaks_of_windows_with_both_forecasts(make_page: Make) -> None:
    """A failed window counts as lost, so it is not said that none was."""
    said = [nothing_lost(make_page(fail={"chronos-512": count})) for count in (0, 3)]

    assert said == [
        "No window was lost against autoformer.",
        "No window that both sides forecast was lost against autoformer.",
    ]


@pytest.mark.parametrize(("arms", "said"), [(ONE_SEED, "seed 1,"), (None, "seeds 1 and 2,")])
def test_one_seed_is_no_seeds(make_page: Make, arms: Any, said: str) -> None:
    """The run is named with the seeds of the pair."""
    page = make_page() if arms is None else make_page(arms=arms)

    assert said in render_html(page)


def test_one_guardrail_has_no_chance_together(make_page: Make) -> None:
    """The row of all guardrails stands only where there are several."""
    rules = [
        dataclasses.replace(each, role="guardrail", chance=0.4)
        for each in outlooks_of(make_page().verdict.findings)
    ]
    pages = [with_verdict(make_page(), power=tuple(rules[:count])) for count in (1, 2)]

    assert ["guardrails together" in render_html(page) for page in pages] == [False, True]
    assert "all 2 guardrails together" in render_html(pages[1])


def test_the_strip_has_seven_items_whatever_is_missing(make_page: Make) -> None:
    """Each has its place even where nothing was recorded."""
    page = with_verdict(make_page(), self_test=None)

    assert list(marks(page)) == [
        *(
            "Same windows",
            "Completeness",
            "Look-ahead test",
            "Pretraining data",
            "Against random walk",
        ),
        *("Gate self-test", "Since the last look"),
    ]
    assert list(marks(dataclasses.replace(page, scores=[], datasets={}, arms=[]))) == list(
        marks(page)
    )


def test_one_seed_is_said_beside_completeness(make_page: Make) -> None:
    """How much another seed would change is in no interval, so the first screen says so."""
    page = make_page()
    doubt = fact(FactCode.ONE_SEED, arm="old")

    several, alone = (
        next(item for item in strip(with_validity(page, doubts=doubts)) if item.label == CELLS)
        for doubts in ((), (doubt,))
    )

    assert not several.text.endswith("one seed only")
    assert alone.text.endswith(", one seed only")
    assert alone.mark == "note"


@pytest.mark.parametrize(
    ("states", "mark"),
    [(("passed", "passed"), "holds"), (("passed", "not tested"), "note"),
     (("passed", "failed"), "broken"), ((), "note")],
)  # fmt: skip
def test_blindness_is_held_only_where_both_passed(
    make_page: Make, states: tuple[Any, ...], mark: str
) -> None:
    """One side untested is a note, one failed is broken."""
    found = tuple(Blindness(arm=f"arm {at}", state=state) for at, state in enumerate(states))

    assert marks(with_validity(make_page(), blindness=found))["Look-ahead test"] == mark


def test_a_side_that_was_not_tried_names_the_command(make_page: Make) -> None:
    """For each side, below the first screen."""
    found = (Blindness(arm="chronos-512", state="passed"),)
    page = with_validity(make_page(), blindness=found)

    item = next(item for item in at_length(page) if item.label == "Look-ahead test")

    assert item.mark == "note"
    assert "chronos-512: passed" in item.text
    assert "autoformer: not tested: abharness check autoformer" in item.text


@pytest.mark.parametrize(("share", "mark"), [(0.0, "holds"), (0.4, "note"), (None, "note")])
def test_contamination_is_held_only_where_none_is_possible(
    make_page: Make, share: float | None, mark: str
) -> None:
    """An unknown share is no 0."""
    found = (Contamination(arm="chronos-512", dataset="ALPHA", share=share, said="so"),)

    assert marks(with_validity(make_page(), contamination=found))["Pretraining data"] == mark


def test_a_failed_self_test_is_broken(make_page: Make) -> None:
    """And names its parts."""
    parts = [SelfTestPart(code=code, state=state, found=fact(FactCode.SAME_BYTES))
             for code, state in (("a", "passed"), ("b", "failed"))]  # fmt: skip
    page = with_verdict(make_page(), self_test=SelfTest(parts=tuple(parts)))

    item = next(item for item in strip(page) if item.label == "Gate self-test")

    assert (item.mark, item.text) == ("broken", "1 of 2 parts passed; failed: b")


def test_a_self_test_that_was_not_run_passed_no_part(make_page: Make) -> None:
    """It is said to be not run, which is no failure."""
    found = fact(FactCode.EVIDENCE_UNSOUND).resting_on(fact(FactCode.NOTHING_COMPARED))
    parts = [SelfTestPart(code=code, state="not run", found=found) for code in ("a", "b")]
    page = with_verdict(make_page(), self_test=SelfTest(parts=tuple(parts)))

    item = next(item for item in strip(page) if item.label == "Gate self-test")

    assert (item.mark, item.text) == ("note", "not run")
    assert "Self-test of the gate: not run." in render_terminal(page)


def test_the_same_records_again_are_no_new_evidence(make_page: Make) -> None:
    """No new origin is a note; new ones are counted by dataset."""
    pages = [
        dataclasses.replace(
            make_page(), beside=PageRecords(since=Change(before=Outcome.HOLD, new_origins=new))
        )
        for new in ({"ALPHA": 0}, {"ALPHA": 4})
    ]

    assert [marks(page)["Since the last look"] for page in pages] == ["note", "holds"]
    assert "new origins: 4 on ALPHA" in changed(pages[1])


def test_what_moved_is_said(make_page: Make) -> None:
    """Outcome before and now, and each finding that changed."""
    since = Change(before=Outcome.HOLD, findings={"A:crps:guardrail": ("HOLD", None)})
    page = dataclasses.replace(make_page(outcome=Outcome.PROMOTE), beside=PageRecords(since=since))

    said = changed(page)

    assert said[0] == "HOLD before, PROMOTE now"
    assert "A:crps:guardrail undecided \u2192 gone" in said


BUSY = (reason(ReasonCode.HOST_BUSY, when="while", taken=0.9),)


def costs(**changes: Any) -> Costs:
    """Costs in which only peak memory was taken."""
    made = Costs.missing("autoformer", "chronos-512", "ALPHA")
    memory: dict[str, Any] = {
        "criterion": "peak_memory", "unit": "bytes", "baseline": 4e8, "candidate": 2e8,
        "ratio": 0.5, "low": 0.45, "high": 0.55, "log_se": 0.05, "noise_floor": 0.02, "n": 4,
        "valid": True,
    }  # fmt: skip
    items = {**made.items, "peak_memory": Cost(**{**memory, **changes})}
    return dataclasses.replace(made, items=items, record="k")


@pytest.mark.parametrize(
    ("changes", "word"),
    [({}, "better"), ({"low": 0.9, "high": 1.1, "ratio": 1.0}, "not told apart"),
     ({"noise_floor": 1.5}, "not told apart"), ({"valid": False, "reasons": BUSY},
      "no evidence"), ({"ratio": 2.0, "low": 1.9, "high": 2.1}, "worse")],
)  # fmt: skip
def test_a_cost_is_told_only_where_it_stands_out(
    make_page: Make, changes: dict[str, Any], word: str
) -> None:
    """Interval and noise floor must both leave 1 out, and the figure must be evidence."""
    page = dataclasses.replace(
        make_page(), beside=PageRecords(costs={"autoformer": costs(**changes)})
    )

    memory = next(each for each in cost_line(page, "autoformer") if each.title == "Peak memory")

    assert memory.word == word


@pytest.mark.slow
def test_what_was_not_measured_names_the_command(make_page: Make) -> None:
    """Of the pair that is meant, without a path of this machine."""
    spaced = PageRecords(
        experiment="'my own.toml'", store="'my runs'", folder="my runs/verdicts/ab12"
    )
    assert spaced.replay_command == "abharness replay 'my runs/verdicts/ab12'"
    assert spaced.check_command("n w") == (
        "abharness check 'n w' --experiment 'my own.toml' --store 'my runs'"
    )
    beside = PageRecords(experiment="mine.toml", store="runs", folder="runs/verdicts/mine/ab12")
    page = dataclasses.replace(make_page(), beside=beside)

    assert cost_line(page, "autoformer") == []
    assert "abharness measure mine.toml --store runs" in not_measured(page, "autoformer")
    assert "--baseline-arm other" in not_measured(page, "other")
    assert "abharness replay runs/verdicts/mine/ab12" in render_html(page)


@pytest.mark.slow
def test_waivers_stay_visible(make_page: Make) -> None:
    """Owner, end and what it did."""
    waiver = Waiver(finding="ALPHA:*", owner="Ada", reason="known", until="2030-01-01")
    state = WaiverState(waiver=waiver, active=True, waived=("ALPHA:crps:guardrail",))

    html = render_html(with_verdict(make_page(), waivers=(state,)))

    assert "<dt>Waivers</dt><dd>ALPHA:* until 2030-01-01 by Ada: open</dd>" in html


@pytest.mark.slow
def test_windows_a_fallback_answered_are_listed_and_not_credited(make_page: Make) -> None:
    """Count on the first screen; reason and origins below."""
    page = make_page(datasets=["ALPHA"])
    unit = page.scores_of("chronos-512", "ALPHA")[0]
    taken = ("it was too hot", *[""] * (len(unit) - 1))
    scores = [
        dataclasses.replace(each, fallback=taken) if each is unit else each for each in page.scores
    ]
    arms = [
        dataclasses.replace(arm, card={**arm.card, "fallback": "my:Old"})
        if arm.name == "chronos-512"
        else arm
        for arm in page.arms
    ]
    page = dataclasses.replace(page, scores=scores, arms=arms)

    assert fallback(page).startswith("my:Old answered 1 of 20 windows")
    html = render_html(page)
    assert "it was too hot" in html
    assert str(np.datetime64(unit.origin_date[0], "D")) in html


@pytest.mark.parametrize("fail", [{}, {"random-walk": 1}, {"autoformer": 2}])
@pytest.mark.parametrize("code", [None, FactCode.ONE_SEED, FactCode.HAND_PICKED_SEEDS])
def test_a_check_has_one_answer_wherever_it_stands(
    make_page: Make, fail: dict[str, int], code: FactCode | None
) -> None:
    """Pairing, completeness and blindness have the same mark above and below, whatever is found."""
    doubts = () if code is None else (fact(code, arm="old", ran=(1,), declared=(1, 2)),)
    page = with_validity(make_page(fail=fail), doubts=doubts)

    below = {item.label: item.mark for item in at_length(page)}

    shared = {label: mark for label, mark in marks(page).items() if label in below}
    assert set(shared) == {"Same windows", "Completeness", "Look-ahead test"}
    assert shared == {label: below[label] for label in shared}
