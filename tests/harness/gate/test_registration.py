"""What was asked before the first result is on record; what is asked otherwise is said first."""

from pathlib import Path

import pytest

LAX = """\
baseline = "old"
candidate = "new"

[[criteria]]
metric = "crps"
margin = 0.2
"""
STRICT = """\
[[policy.criteria]]
metric = "crps"
margin = 0.05

[[policy.criteria]]
metric = "mae"
margin = 0.01
"""


def said_first(out: str) -> str:
    """The cautions that follow the answer, before any table, on one line."""
    _, _, rest = out.partition("\n\n")
    return " ".join(rest.partition("\n\n")[0].split()).lower()


@pytest.mark.slow
@pytest.mark.usefixtures("in_process", "page_unread")
def test_a_policy_changed_after_results_is_said_first(tiny, call) -> None:
    """By a file: the caution names the dropped rule and the wider margin before anything else."""
    tiny(('[[policy.criteria]]\nmetric = "crps"\nmargin = 0.05\n', STRICT))
    call("compare", "tiny.toml")
    Path("lax.toml").write_text(LAX, encoding="utf-8")

    _, before, _ = call("gate", "tiny.toml")
    _, after, _ = call("gate", "tiny.toml", "--policy", "lax.toml")

    assert "changed after the first results" not in said_first(before)
    assert "caution: policy changed after the first results" in said_first(after)
    assert "mae mean guardrail was dropped" in said_first(after)
    assert "crps mean guardrail is 0.2 (was 0.05)" in said_first(after)


@pytest.mark.slow
@pytest.mark.usefixtures("in_process", "page_unread")
def test_another_name_hides_nothing(finished, tiny, call) -> None:
    """The same pair in a copy of the experiment is held against the first record of the pair."""
    tiny(("margin = 0.05", "margin = 0.2"), name="again.toml")

    _, out, _ = call("compare", "again.toml")

    assert "caution: policy changed after the first results" in said_first(out)


@pytest.mark.slow
@pytest.mark.usefixtures("in_process", "page_unread")
def test_another_pair_is_named(finished, call) -> None:
    """A candidate chosen by a flag after results is another question, and says so."""
    _, out, _ = call("gate", "tiny.toml", "--candidate-arm", "draws")

    assert "caution: arms changed after the first results" in said_first(out)


@pytest.mark.slow
@pytest.mark.usefixtures("in_process", "page_unread")
def test_what_was_never_run_may_be_asked_otherwise(tiny, call) -> None:
    """A policy edited before the first result is the one that counts."""
    call("run", "tiny.toml", "--only", "draws")
    tiny(("margin = 0.05", "margin = 0.04"))
    call("compare", "tiny.toml")

    _, out, _ = call("gate", "tiny.toml")

    assert "changed after the first results" not in said_first(out)
