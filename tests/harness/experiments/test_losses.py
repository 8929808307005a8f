"""Losses of users: named in a policy, judged like ours, and part of the scores' identity."""

import sys

import pytest

from harness.errors import ConfigError
from harness.evidence.estimand import ESTIMANDS
from harness.experiments.rules import load_loss
from harness.gate.stored_scores import scoring_digest
from harness.scoring.metrics import _AGGREGATES, _METRICS, AGGREGATES, METRICS

MINE = """
import numpy as np
from harness.scoring.metrics import loss

@loss("cubed error", unit="share")
def cubed(judged):
    return {body}

@loss("broken")
def broken(judged):
    raise RuntimeError("no")

@loss("narrow")
def narrow(judged):
    return judged.truth[:, 0]

def plain(judged):
    return judged.truth
"""
BODY = "np.abs(judged.truth - judged.point) ** 3 / judged.truth ** 3"


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of losses beside the policy; nothing of it is left afterwards."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_losses.py").write_text(MINE.format(body=BODY))
    before = dict(_METRICS), dict(_AGGREGATES)
    yield tmp_path / "my_losses.py"
    for registry, kept in zip((_METRICS, _AGGREGATES), before, strict=True):
        registry.clear()
        registry.update(kept)
    sys.modules.pop("my_losses", None)


def test_loss_is_named_like_ours_and_belongs_to_the_identity(mine):
    """It has a title, can be compared, and its source decides which scores are the same."""
    without = scoring_digest()

    load_loss("my_losses:cubed", mine.parent)
    before = scoring_digest()
    mine.write_text(MINE.format(body=BODY + " * 2"))
    load_loss("my_losses:cubed", mine.parent)

    assert AGGREGATES["my_losses:cubed"].title == "cubed error"
    assert ESTIMANDS["my_losses:cubed"].metric == "my_losses:cubed"
    assert METRICS["my_losses:cubed"].lower_is_better
    assert len({without, before, scoring_digest()}) == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody:x", "cannot import it: ModuleNotFoundError"),
        ("my_losses:x", "module 'my_losses' has no 'x'"),
        ("my_losses:plain", "expected a function decorated by harness.scoring.metrics.loss"),
    ],
)
def test_what_is_no_loss_is_refused(mine, name, said):
    """A module, a function and a decoration that are not there are named."""
    with pytest.raises(ConfigError, match=said):
        load_loss(name, mine.parent)


@pytest.mark.slow
def test_policy_is_judged_by_a_loss_of_its_own(ran, mine, call):
    """A criterion on it has a finding, and a loss that fails is one line that names it."""
    text = (mine.parent / "tiny.toml").read_text()
    for name in ("cubed", "broken", "narrow"):
        changed = text.replace('metric = "crps"', f'metric = "my_losses:{name}"')
        (mine.parent / f"{name}.toml").write_text(changed)

    code, out, err = call("gate", "cubed.toml", "--store", ran)
    broken = call("gate", "broken.toml", "--store", ran)
    narrow = call("gate", "narrow.toml", "--store", ran)

    assert code in (0, 3, 4), err
    assert "cubed error" in out
    assert (broken[0], narrow[0]) == (2, 2)
    assert "metric = 'my_losses:broken': RuntimeError: no" in broken[2]
    assert "expected [W, H]" in narrow[2]
