"""The verb `power`: what a plan can decide, told before it is paid for."""

import json
from pathlib import Path

import pytest

WALKS = """
[[arms]]
name = "walk"
use = "baselines.random_walk:RandomWalk"
role = "reference"

[[arms]]
name = "season"
use = "baselines.random_walk:SeasonalNaive"
role = "reference"

[policy]"""


def report(call, *arguments):
    """What `power` says, as data."""
    code, out, err = call("power", "tiny.toml", "--format", "json", *arguments)
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.mark.slow
def test_stored_scores_say_what_the_verdict_says(ran, tiny, call):
    """Of a stored pair `power` has the figures of the verdict; a tight margin has lower chances."""
    wide = report(call)
    call("gate", "tiny.toml", "--records", "kept")
    verdict = json.loads(Path("kept/verdict.json").read_text(encoding="utf-8"))
    tiny(("margin = 0.05", "margin = 0.0001"))
    tight = report(call)

    told = {name: row for name, row in wide["outlooks"][0].items() if name != "silent"}
    assert "stored scores of new and old" in wide["source"]
    assert told == {name: verdict["power"][0][name] for name in told}
    assert [each["finding"] for each in tight["outlooks"]] == ["GOLD:crps:guardrail"]
    assert tight["outlooks"][0]["chances"][0] < wide["outlooks"][0]["chances"][0]


def test_without_a_store_random_walks_stand_in_and_nothing_is_written(tiny, call):
    """Two light reference arms are run at once; no store is made."""
    tiny(("\n[policy]", WALKS))

    found = report(call)

    assert "season and draws, run here in place of a pair" in found["source"]
    outlook = found["outlooks"][0]
    assert outlook["origins"] == 40
    assert 0 < outlook["detectable"] < 1
    assert not Path("runs").exists()


def test_a_larger_gain_is_decided_more_surely(tiny, call):
    """The chance rises with the true effect, alone and for all guardrails; nothing is as found."""
    tiny(("\n[policy]", WALKS), ("margin = 0.05", "margin = 0.03"))

    found = report(call)
    outlook = found["outlooks"][0]

    chances = [chance for _, chance in outlook["chances"]]
    assert [effect for effect, _ in outlook["chances"]] == [0.0, -0.05, -0.1, -0.3]
    assert chances == sorted(chances)
    assert chances[0] < 0.8 < chances[-1]
    for (effect, low, high), (true, chance) in zip(found["whole"], outlook["chances"], strict=True):
        assert (effect, low, high) == pytest.approx((true, chance, chance))
    assert (outlook["effect"], outlook["chance"], outlook["decided"]) == (None, None, False)


def test_the_table_has_a_row_a_finding_and_says_what_the_history_holds(tiny, call):
    """Chances by effect, all guardrails together, and the origins that could be added."""
    tiny(("\n[policy]", WALKS))

    code, out, _ = call("power", "tiny.toml")

    lines = out.splitlines()
    assert code == 0
    assert lines[2].split()[:3] == ["finding", "limit", "0"]
    assert lines[3].startswith("GOLD:crps:guardrail")
    assert lines[4].startswith("all guardrails")
    assert lines[-1].startswith("the history of GOLD holds ")


def test_the_tolerance_of_a_coverage_is_in_points(tiny, call):
    """A share of windows has points; the margin of a loss has per cent."""
    rule = "[[policy.coverage]]\nlevel = 80\ntolerance = 0.1\n"
    file = tiny(("\n[policy]", WALKS))
    file.write_text(f"{file.read_text()}\n{rule}", encoding="utf-8")

    code, out, _ = call("power", "tiny.toml")

    rows = {line.split()[0]: line.split()[1:3] for line in out.splitlines() if ":" in line}
    assert code == 0
    assert rows["GOLD:crps:guardrail"][1] == "%"
    assert rows["GOLD:coverage_80:guardrail"] == ["+10.0", "points"]


def test_without_scores_and_walks_there_is_one_line(tiny, refused):
    """Nothing to guess a variance from is wrong input, and says what helps."""
    line = refused("power", "tiny.toml")

    assert "two reference arms that do not learn; there are 1" in line
    assert "abharness run" in line


def test_below_ten_origins_there_is_no_figure(tiny, call):
    """Nine non-overlapping origins predict nothing: no chance, no count, and the reason."""
    tiny(("\n[policy]", WALKS), ("origins = 40", "origins = 9"))

    outlook = report(call)["outlooks"][0]
    _, table, _ = call("power", "tiny.toml")

    assert (outlook["chance"], outlook["detectable"]) == (None, None)
    assert outlook["more_origins"] == 30 - 9  # what the policy asks for
    assert outlook["chances"] == []
    assert "no prediction: 9 non-overlapping origins, fewer than the 10 it takes" in table


@pytest.mark.slow
def test_looks_are_predicted_first_last_and_once(tiny, call):
    """Where looks are planned: today less than by the end, which is less than all at once then."""
    looks = "margin = 0.03\n\n[policy.looks]\nmax_origins = 44\nattempts = 1"
    tiny(("\n[policy]", WALKS), ("margin = 0.05", looks))

    found = report(call)["looks"]
    _, table, _ = call("power", "tiny.toml")

    assert [(each["finding"], each["most"]) for each in found] == [("GOLD:crps:guardrail", 44)]
    for _, today, end, once in found[0]["chances"]:
        assert 0 <= today <= end <= once + 0.01 <= 1.01
    effect, *chances = found[0]["chances"][-1]
    assert effect == -0.3
    assert f"{' / '.join(f'{100 * chance:.0f}' for chance in chances)} %" in table
