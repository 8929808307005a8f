"""The verb `power`: what a plan can decide, told before it is paid for."""

import json
from pathlib import Path

import numpy as np
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


def test_stored_scores_say_what_can_be_decided(ran, tiny, call):
    """With the pair in the store, the source is the pair, and a tight margin is not decidable."""
    wide = report(call)
    tiny(("margin = 0.05", "margin = 0.0001"))
    tight = report(call)

    assert "stored scores of new and old" in wide["source"]
    assert [each["finding"] for each in tight["outlooks"]] == ["GOLD:crps:guardrail"]
    assert tight["outlooks"][0]["decidable"] is False
    assert tight["outlooks"][0]["chance"] < wide["outlooks"][0]["chance"]
    assert tight["outlooks"][0]["detectable"] == pytest.approx(wide["outlooks"][0]["detectable"])


def test_without_a_store_random_walks_stand_in_and_nothing_is_written(tiny, call):
    """Two light reference arms are run at once; no store is made."""
    tiny(("\n[policy]", WALKS))

    found = report(call)

    assert "season and draws, run here in place of a pair" in found["source"]
    outlook = found["outlooks"][0]
    assert outlook["origins"] == 40
    assert 0 < outlook["detectable"] < 1
    assert not Path("runs").exists()


def test_what_cannot_be_decided_yet_has_a_count_and_a_date(tiny, call):
    """Origins that would do are more than there are, and the date lies behind the data's end."""
    tiny(("\n[policy]", WALKS), ("margin = 0.05", "margin = 0.03"))

    few = report(call)["outlooks"][0]

    assert not few["decidable"]
    assert few["origins_needed"] > 40
    assert few["more_origins"] == few["origins_needed"] - 40
    assert np.datetime64(few["decided_by"]) > np.datetime64("2012-12-31")


def test_the_table_says_how_many_findings_can_be_decided(tiny, call):
    """The last line counts, and every finding has its row."""
    tiny(("\n[policy]", WALKS))

    code, out, _ = call("power", "tiny.toml")

    lines = out.splitlines()
    assert code == 0
    assert lines[2].split()[:2] == ["finding", "bound"]
    assert lines[3].startswith("GOLD:crps:guardrail")
    assert lines[-1].endswith("of 1 findings can be decided by this plan")


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

    assert [outlook[name] for name in ("chance", "detectable", "origins_needed")] == [None] * 3
    assert not outlook["decidable"]
    assert "no prediction: 9 non-overlapping origins, fewer than the 10 it takes" in table
