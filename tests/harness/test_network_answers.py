"""How a network's answer is read: its prediction, labels, and intervals."""

import subprocess
import sys

import pytest

from harness.errors import ForecastError
from harness.network_answers import (
    central_intervals,
    labelled_quantiles,
    level_of,
    prediction_in,
    quantile_axis,
)


@pytest.mark.parametrize(
    ("label", "level"),
    [
        ("q10", 0.1),
        ("q5", 0.05),
        ("q05", 0.05),
        ("q025", 0.025),
        ("q975", 0.975),
        ("q97.5", 0.975),
        ("quantile_0.1", 0.1),
        ("95%", 0.95),
        ("97.5%", 0.975),
        ("0.1%", 0.001),
        ("ci_68", 0.68),
        (95, 0.95),
        (0.5, 0.5),
    ],
)
def test_label_means_a_level(label, level):
    """Per cent are hundredths, a fraction is the level itself, whole numbers have two digits."""
    assert level_of("quantiles", label) == level


@pytest.mark.parametrize(
    "label",
    ["100%", "q100", "1.0", "0%", "q0", "250%", "101%", "lower", "median", "", "q-10", None],
)
def test_label_that_is_no_level_is_refused(label):
    """What does not lie between 0 and 1 is named with where it stands, and read as nothing else."""
    with pytest.raises(ForecastError, match="'quantiles' has a label"):
        level_of("quantiles", label)


def test_two_labels_of_one_level_are_refused():
    """No quantile silently takes the place of another."""
    with pytest.raises(ForecastError, match=r"two labels of one level: q10, 0\.1"):
        labelled_quantiles({"quantiles": {"q10": 1, "0.1": 2}})


def test_quantiles_are_read_by_label_from_the_richer_report():
    """Either name will do, values may be wrapped, and a report of one label gives way."""
    wrapped = {"quantile_0.9": {"prediction": 2}, "quantile_0.1": (1, None)}

    assert labelled_quantiles({"quantile_specific": wrapped}) == {0.9: 2, 0.1: 1}
    both = {"quantile_specific": {"q50": 0}, "quantiles": {"q10": 1, "q90": 2}}
    assert labelled_quantiles(both) == {0.1: 1, 0.9: 2}
    assert labelled_quantiles({"prediction": 1, "quantiles": None}) == {}
    assert labelled_quantiles((1, 2)) == {}


def test_quantiles_without_labels_are_told_apart():
    """What is no mapping is an axis of levels, under its name."""
    assert quantile_axis({"quantiles": "tensor"}) == ("quantiles", "tensor")
    assert quantile_axis({"quantiles": {"q10": 1}}) is None


def test_intervals_are_pairs_by_share():
    """Bounds come by name or in order, under any label of their share."""
    found = {"95%": {"lower": 1, "upper": 4, "width": 3}, 0.5: (2, 3)}

    assert central_intervals({"confidence_intervals": found}) == {0.95: (1, 4), 0.5: (2, 3)}
    assert central_intervals({"confidence_intervals": None}) == {}
    assert central_intervals(3) == {}


@pytest.mark.parametrize("found", [[1, 2], {"95%": 3}, {"lower": 1, "upper": 2}, {"95%": {"a": 1}}])
def test_intervals_of_another_form_are_refused(found):
    """Bounds that cannot be told apart are an error in one line."""
    with pytest.raises(ForecastError, match="'confidence_intervals'"):
        central_intervals({"confidence_intervals": found})


def test_prediction_is_taken_out_of_what_it_is_wrapped_in():
    """A dict's prediction, a tuple's first, each in the other; a dict without one is an error."""
    assert prediction_in({"prediction": ([3], None)}) == 3
    assert prediction_in(5) == 5
    with pytest.raises(ForecastError, match="a dict of forecast; expected a tensor, a dict"):
        prediction_in({"forecast": 3})


def test_answers_load_no_framework():
    """Reading answers imports neither torch nor numpy."""
    code = "import sys, harness.network_answers; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "set()"
