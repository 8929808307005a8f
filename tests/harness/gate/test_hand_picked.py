"""Seeds picked by hand, references among the sides, and what is refused before anything is run."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import ConfigError
from harness.experiments.experiment import read_experiment
from harness.gate.dossier import Dossier
from harness.gate.history import standing
from harness.running.store_folder import open_store

SAID = "run with seed 1; the experiment declares seeds 1 and 2: a verdict on hand-picked seeds"
WAIVER = '[[policy.waivers]]\nfinding = "GOLD:*"\nowner = "ada"\nreason = "12"\n'
CRPS = 'metric = "crps"\nmargin = 0.05\n'


def verdict_in(store: str) -> dict[str, Any]:
    """The last verdict of a store."""
    opened = open_store(Path(store), create=False)
    return opened.journal.latest("verdict", standing(opened, "tiny")) or {}


def test_seeds_picked_by_hand_are_said_and_change_nothing(ran, call) -> None:
    """The first screen and the record name the seeds run and those declared; same exit code."""
    declared = call("gate", "tiny.toml")
    picked = call("gate", "tiny.toml", "--seeds", "1")

    assert SAID not in " ".join(declared[1].split())
    assert SAID in " ".join(picked[1].split())
    assert picked[0] == declared[0] == 0
    picked_seeds = {"ran": [1], "declared": [1, 2]}
    assert picked_seeds in [each["values"] for each in verdict_in("runs")["validity"]["doubts"]]


@pytest.mark.slow
def test_the_page_says_hand_picked_seeds_where_it_says_what_is_complete(
    tiny, call, in_process
) -> None:
    """Beside the cells that are there, on the first screen."""
    call("compare", "tiny.toml", "--store", "s", "--seeds", "2")

    page = next(Path("s").rglob("report.html")).read_text(encoding="utf-8")

    assert "hand-picked seeds" in page
    assert "the experiment declares seeds 1 and 2" in page


@pytest.mark.slow
def test_declared_seeds_in_another_order_and_arms_that_draw_nothing_are_no_matter(
    tiny, call, in_process
) -> None:
    """The same seeds are the declared ones; no seed changes an arm that draws nothing."""
    call("run", "tiny.toml", "--store", "s", "--seeds", "2,1")
    call("gate", "tiny.toml", "--store", "s", "--seeds", "2,1")
    assert "hand_picked" not in json.dumps(verdict_in("s"))

    tiny(('"arms_for_tests:Learner"', '"arms_for_tests:Flat"'))
    call("run", "tiny.toml", "--store", "t", "--seeds", "7")
    call("gate", "tiny.toml", "--store", "t", "--seeds", "7")

    assert "hand_picked" not in json.dumps(verdict_in("t"))


@pytest.mark.parametrize("side", ["old", "new"])
def test_a_reference_among_the_sides_is_refused(tiny, refused, side: str) -> None:
    """By the file, in one line, before anything is run."""
    tiny(('mode = "replace"', f'reference = "{side}"'))

    said = refused("compare", "tiny.toml", "--store", "s")

    assert f"tiny.toml: [policy] reference = '{side}': is also the" in said
    assert not Path("s").exists()


def test_a_flag_cannot_make_the_reference_a_side(tiny, refused) -> None:
    """`--baseline-arm` with the policy's reference ends before the run."""
    tiny(('mode = "replace"', 'reference = "draws"'))

    said = refused("compare", "tiny.toml", "--store", "s", "--baseline-arm", "draws")

    assert "reference = 'draws': is also the baseline" in said
    assert not list(Path().rglob("parts/*"))


@pytest.mark.parametrize("flag", ["--baseline-arm", "--candidate-arm"])
def test_a_wrong_arm_is_refused_before_the_run(tiny, refused, flag: str) -> None:
    """A typo in a flag costs no run."""
    assert f"{flag} 'nobody': no such arm" in refused(
        "compare", "tiny.toml", "--store", "s", flag, "nobody"
    )
    assert not list(Path().rglob("parts/*"))


def test_another_legacy_arm_that_is_the_reference_is_no_reference_for_itself() -> None:
    """Verdicts on the other legacy arms go on with the first declared reference."""
    policy = read_experiment("quick").policy
    names = (policy.baseline, str(policy.reference), "other")
    arms = [SimpleNamespace(name=name, role="legacy") for name in names]
    grid: Any = SimpleNamespace(experiment=SimpleNamespace(arms=arms))

    nothing: Any = None

    others = Dossier(grid=grid, store=nothing, policy=policy).others

    assert [(each.policy.baseline, each.policy.reference) for each in others] == [
        (policy.reference, None), ("other", policy.reference)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("datasets = []", r"criteria\[0\]: datasets = \[\]: expected at least one"),
        ("steps = []", r"criteria\[0\]: steps = \[\]: expected at least one"),
        ("slices = []", r"criteria\[0\]: slices = \[\]: expected at least one"),
        ('slices = ["volatility:hgh"]', "criteria: slices: 'volatility:hgh': expected volatility"),
        ('slices = ["steps:3-1"]', "criteria: slices: 'steps:3-1': expected"),
        ('slices = ["steps:1-9"]', "criteria: slices: steps:1-9: on GOLD steps 1 to 5 are judged"),
        ("[policy.evidence]\ndatasets = []", r"evidence: datasets = \[\]: expected at least one"),
        (
            f'{WAIVER}until = "20300101"',
            "until = '20300101': expected a date such as 2030-12-31",
        ),
    ],
)
def test_rules_that_no_scores_can_answer_are_refused(tiny, rule: str, words: str) -> None:
    """One line that names file, table and key, when the experiment is read."""
    tiny((CRPS, f"{CRPS}{rule}\n"))

    with pytest.raises(ConfigError, match=words) as caught:
        read_experiment("tiny.toml")

    assert str(caught.value).startswith("tiny.toml: ")
    assert "\n" not in str(caught.value)


def test_a_gap_leaves_the_steps_before_it_unjudged(tiny) -> None:
    """Steps are counted from the last session seen; those within the gap are never judged."""
    tiny(("horizon = 5", "horizon = 5\ngap = 2"), (CRPS, f"{CRPS}steps = [1]\n"))

    with pytest.raises(ConfigError, match=r"steps = \[1\]: on GOLD steps 3 to 7 are judged"):
        read_experiment("tiny.toml")


def test_a_skill_needs_something_to_have_skill_over(tiny) -> None:
    """`min_skill` without a reference arm is refused, not judged INVALID after the run."""
    tiny((CRPS, f"{CRPS}[policy.limits]\nmin_skill = 0.0\n"), ('"reference"', '"legacy"'))

    with pytest.raises(ConfigError, match="min_skill = 0: expected an arm with role = 'reference'"):
        read_experiment("tiny.toml")
