"""The kinds of estimand: effect and inverse, bounds, names, records."""

import dataclasses

import numpy as np
import pytest
from pydantic import TypeAdapter
from scores_for_tests import table_of

from harness.evidence.estimand import (
    ESTIMANDS,
    Coverage,
    Estimand,
    MeanLoss,
    RootLoss,
    Wins,
    loss_of,
)
from harness.evidence.pairing import pair
from harness.experiments.rules import CoverageRule, Criterion


@pytest.mark.parametrize("name", ESTIMANDS)
def test_ratio_is_the_inverse_of_the_effect(name: str) -> None:
    """From a ratio's excess over 1 to its effect and back nothing changes, for every estimand."""
    estimand = ESTIMANDS[name]
    excesses = [-0.7, -1e-3, 1e-12, 0.7]

    back = [estimand.excess(estimand.effect(each)) for each in excesses]

    assert back == pytest.approx(excesses, rel=1e-3 if name.startswith("coverage") else 1e-9)


@pytest.mark.parametrize("name", ESTIMANDS)
def test_a_record_tells_the_kinds_apart(name: str) -> None:
    """An estimand written as plain data is read back as the class it was."""
    plain = dataclasses.asdict(ESTIMANDS[name])

    assert TypeAdapter(Estimand).validate_python(plain) == ESTIMANDS[name]


def test_rules_ask_for_the_estimand_they_name() -> None:
    """A mean of squares is rooted, wins count origins, coverage is bounded on both sides."""
    gain = Criterion(metric="crps", role="success", margin=0.03)

    assert loss_of("rmse") == RootLoss(metric="rmse")
    assert gain.estimand == MeanLoss(metric="crps")
    assert gain.estimand.bounds(gain.bound) == (None, -0.03)
    assert Criterion(metric="mae", statistic="wins").estimand == Wins(metric="mae")
    assert CoverageRule(level=80, tolerance=0.05).estimand.bounds(0.05) == (-0.05, 0.05)


def test_legacys_failures_change_nothing_where_the_candidate_alone_is_judged() -> None:
    """A coverage keeps the origins that legacy failed on; a loss leaves them out."""
    losses = {"crps": [[1.0], [2.0], [3.0]], "coverage_80": [[1.0], [0.0], [1.0]]}
    values = {name: np.array(cells) for name, cells in losses.items()}
    new, old = table_of(values), table_of(values, arm="old", failed=(1,))

    (coverage,) = Coverage(level=80).readings(pair([new], [old], "coverage_80"))
    (loss,) = MeanLoss(metric="crps").readings(pair([new], [old], "crps"))

    assert (len(coverage.pair.origin), coverage.failed.legacy_as) == (3, "")
    assert (len(loss.pair.origin), loss.failed.legacy_as) == (2, "out")
