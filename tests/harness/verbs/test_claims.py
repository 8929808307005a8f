"""The verb `abharness claims` on a small stored run."""

import json
import os
import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import pytest

from harness.measure.code_lines import arm_size

SWAPPED = (
    ('baseline = "old"\ncandidate = "new"', 'baseline = "new"\ncandidate = "old"'),
    ('role = "legacy"', 'role = "candidate"'),
    (
        'use = "arms_for_tests:Learner"\nrole = "candidate"',
        'use = "arms_for_tests:Learner"\nrole = "legacy"',
    ),
)


def rows_of(call, *arguments):
    """Claims by id, as the JSON on standard output has them."""
    code, out, err = call("claims", *arguments, "--json", "-")
    assert code == 0, err
    return {row["id"]: row for row in json.loads(out)["claims"]}


def test_claims_follow_the_stored_run(finished, call):
    """After a run, losses, failures and the verdict decide their claims, with the record named."""
    rows = rows_of(call, "tiny.toml")

    verdict = next(each for each in rows["low-risk"]["measured"])
    assert (rows["low-risk"]["status"], verdict["arm"]) == ("confirmed", "new")
    assert verdict["source"].startswith("verdict ")
    better = rows["uncertainty-better"]["measured"][0]
    assert (better["dataset"], better["unit"], better["holds"]) == ("GOLD", "%", True)
    assert better["low"] < better["value"] < better["high"] < 0
    assert rows["probabilistic"]["status"] == "refuted"  # the harness added its distribution
    assert rows["inference"]["measured"][0]["unit"] == "times"


@pytest.mark.slow
def test_other_side_comes_out_the_other_way(ran, tiny, call, page_unread):
    """With the pair swapped the better side is the baseline, and the claim is refuted."""
    tiny(*SWAPPED[:1])
    call("compare", "tiny.toml")
    rows = rows_of(call, "tiny.toml")

    assert rows["uncertainty-better"]["status"] == "refuted"
    assert rows["low-risk"]["status"] != "confirmed"


def test_verdict_on_another_grid_is_no_evidence(finished, tiny, call):
    """After the experiment changed, its old verdict decides nothing."""
    tiny(("origins = 40", "origins = 39"))
    rows = rows_of(call, "tiny.toml")

    assert rows["low-risk"]["status"] == "undecided"
    assert rows["low-risk"]["commands"] == ["abharness compare tiny.toml --store runs"]


def test_without_a_store_only_code_is_measured(tiny, call):
    """No store is no error: a note says so, and everything that needs a run is undecided."""
    code, out, err = call("claims", "tiny.toml")

    assert code == 0
    assert err == "note: no store at runs, so only source lines are measured\n"
    assert re.search(r"\d+ confirmed, \d+ refuted, \d+ undecided, 3 not testable", out)
    assert max(map(len, out.splitlines())) <= 100


def test_page_and_file_are_written(tiny, call, tmp_path):
    """Markdown and JSON go where they are asked to, the table stays on standard output."""
    code, out, _ = call(
        "claims", "tiny.toml", "--json", tmp_path / "c.json", "--markdown", tmp_path / "c.md"
    )

    assert code == 0
    assert "Claims of the migration summary" in out
    assert len(json.loads((tmp_path / "c.json").read_text())["claims"]) > 30
    assert (tmp_path / "c.md").read_text().startswith("# Claims and measurements")


def test_stored_check_decides_its_claims(tiny, call):
    """What `check` stored is what the claims on predicates rest on."""
    arguments = ["--as", "arm", "--experiment", "tiny.toml", "--store", "runs"]
    call("check", "old", *arguments, "--only", "T10", "--only", "T32")
    rows = rows_of(call, "tiny.toml")

    assert rows["test-unread"]["status"] == "confirmed"
    assert rows["right-column"]["status"] == "confirmed"
    assert rows["nan-never-best"]["status"] == "undecided"


@pytest.mark.slow
def test_checkout_is_counted(tiny, call, tmp_path):
    """`--legacy-root` puts the user's own lines beside the rebuild's."""
    (tmp_path / "own" / "models").mkdir(parents=True)
    (tmp_path / "own" / "models" / "Autoformer.py").write_text("a = 1\n" * 5000)
    rows = rows_of(call, "tiny.toml", "--legacy-root", tmp_path / "own")

    assert rows["less-code"]["status"] == "confirmed"
    assert "against 5000" in rows["less-code"]["measured"][0]["said"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.toml"], "nowhere"),
        (["tiny.toml", "--legacy-root", "."], "models/*Autoformer.py"),
        (["tiny.toml", "--legacy-root", "nowhere"], "nowhere"),
        (["tiny.toml", "--seeds", "one"], "--seeds 'one'"),
    ],
)
def test_wrong_input_is_one_line(tiny, refused, arguments, words):
    """What cannot be read ends in 2 with one line that names it."""
    assert words in refused("claims", *arguments)


def test_commands_name_the_folder_that_is_no_store_yet(tiny, call, tmp_path):
    """Without a store the commands make one where the user asked for it."""
    rows = rows_of(call, "tiny.toml", "--store", tmp_path / "none here")

    commands = [line for row in rows.values() for line in row["commands"]]
    assert commands
    assert all(line.endswith(f"--store '{tmp_path / 'none here'}'") for line in commands)


@pytest.mark.slow
def test_both_sides_are_counted_with_their_networks(tiny, call):
    """An arm's lines and those of the network that stands for it are counted once each."""
    replaced = 'use = "candidates.hf_bayesian_autoformer:HFBayesianAutoformer"\nrole = "candidate"'
    tiny(
        ('use = "arms_for_tests:Learner"\nrole = "candidate"', replaced),
        ('use = "arms_for_tests:Flat"', 'use = "baselines.legacy:LegacyForecaster"'),
    )
    saved, _, *sizes = rows_of(call, "tiny.toml")["less-code"]["measured"]
    lines = [each["value"] for each in sizes]
    old, old_network, new, new_network = lines

    assert saved["said"].startswith(f"{new} against {old}; arm and network of both sides")
    assert old > old_network > 2000
    assert new > new_network > 900
    arm = arm_size("candidates.hf_bayesian_autoformer:HFBayesianAutoformer").lines
    assert max(arm, new_network) < new < arm + new_network
    assert all("network" in each["what"] for each in (sizes[0], sizes[2]))


NETWORK = """\
from torch import nn

class Model(nn.Module):
    def __init__(self, configs):
        super().__init__()
        self.map = nn.Linear(configs.seq_len, configs.pred_len)

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, mask=None):
        {body}
"""


@pytest.mark.slow
def test_the_file_in_the_checkout_is_what_claims_are_about(tiny, call, tmp_path):
    """One that raises on its first forward refutes what was open until it was tried."""
    use = 'use = "candidates.hf_bayesian_autoformer:HFBayesianAutoformer"\nrole = "candidate"'
    tiny(('use = "arms_for_tests:Learner"\nrole = "candidate"', use))
    root = tmp_path / "own"
    (root / "models").mkdir(parents=True)
    (root / "models" / "__init__.py").write_text("")
    good = NETWORK.format(body="return self.map(x_enc.transpose(1, 2)).transpose(1, 2)")
    (root / "models" / "Autoformer.py").write_text(good)
    (root / "models" / "HFBayesianAutoformer.py").write_text(NETWORK.format(body="return self.no"))
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    target = "models.HFBayesianAutoformer:Model"
    options = [
        "--role",
        "candidate",
        "--only",
        "T27",
        "--only",
        "T29",
        "--only",
        "T31",
        "--store",
        "runs",
    ]
    before = rows_of(call, "tiny.toml", "--legacy-root", root)["drop-in"]
    subprocess.run(
        [sys.executable, "-P", "-m", "harness", "check", target, *options],
        env=environment,
        check=True,
        capture_output=True,
    )
    after = rows_of(call, "tiny.toml", "--legacy-root", root)["drop-in"]

    assert before["status"] == "undecided"
    assert f"check {target} --role candidate" in before["commands"][0]
    assert after["status"] == "refuted"


@pytest.mark.slow
def test_run_does_what_rows_are_missing(tiny, call, monkeypatch):
    """Each command that a row without data names is carried out once, with the flags given."""
    ran = []

    def carried_out(words, **_):
        ran.append(words[4:])
        return SimpleNamespace(returncode=2, stderr="abharness: no such thing")

    monkeypatch.setattr("harness.verbs.claims.subprocess.run", carried_out)
    code, out, err = call("claims", "tiny.toml", "--json", "-", "--run", "--set", "plan.stride=6")

    named = {each for row in json.loads(out)["claims"] for each in row["commands"]}
    done = [shlex.join(["abharness", *words[:-2]]) for words in ran]
    assert code == 0
    assert len(done) == len(set(done)) > 0
    assert {each.partition("abharness ")[2] for each in named} == {
        each.partition("abharness ")[2] for each in done
    }
    assert all(words[-2:] == ["--set", "plan.stride=6"] for words in ran)
    assert "note: it ended with 2: abharness: no such thing" in err
