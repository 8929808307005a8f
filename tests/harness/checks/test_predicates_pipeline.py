"""The predicates on what surrounds a network: hooks that trip them and hooks that do not."""

import math

import pytest

from harness.checks import Hooks, network_subject, run_battery


def right_column(table, names, target):
    return table[:, names.index(target)]


def first_column(table, names, target):
    return table[:, 0]


def best_finite(losses):
    known = [(loss, index) for index, loss in enumerate(losses) if math.isfinite(loss)]
    return min(known)[1] if known else None


def legacy_stopping(losses):
    best, kept = None, None
    for index, loss in enumerate(losses):
        if best is None or not loss >= best:  # NaN counts as an improvement
            best, kept = loss, index
    return kept


@pytest.mark.parametrize(
    ("code", "hooks", "outcome"),
    [
        ("T32", Hooks(truth_column=right_column), "pass"),
        ("T32", Hooks(truth_column=first_column), "fail"),
        ("T32", Hooks(truth_column=lambda table, names, target: table.sum(1)), "fail"),
        ("T32", Hooks(), "not applicable"),
        ("T33", Hooks(keep_best=best_finite), "pass"),
        ("T33", Hooks(keep_best=legacy_stopping), "fail"),
        ("T33", Hooks(), "not applicable"),
    ],
)
def test_pipeline_is_tried_by_its_hook(code, hooks, outcome):
    """The target's column and the best finite epoch pass, others fail, no hook is no answer."""
    subject = network_subject(lambda name, config: None, "pipeline", hooks=hooks)

    (result,) = run_battery(subject, [code])

    assert result.outcome == outcome, result.reason
