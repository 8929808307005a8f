"""Numbers and names as readers see them."""

from __future__ import annotations

import math

import pytest

from reports.words import numbers


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "n/a"),
        (math.nan, "n/a"),
        (math.inf, "n/a"),
        (12345.6, "12,346"),
        (-999.96, "−1,000.0"),
        (123.45, "123.5"),
        (12.345, "12.35"),
        (1.2345, "1.234"),
        (0.012345, "0.0123"),
        (0.0, "0"),
    ],
)
def test_numbers_have_four_digits(value: float | None, shown: str) -> None:
    """Large numbers lose decimals, small ones keep digits, no number is n/a."""
    assert shown == numbers.number(value)


def test_percentages_are_signed_where_asked() -> None:
    """A share becomes per cent; a zero has no minus."""
    assert numbers.percent(0.0812) == "8.1\u202f%"
    assert numbers.percent(-0.0812, signed=True) == "−8.1\u202f%"
    assert numbers.percent(-0.00001, signed=True) == "+0.0\u202f%"


def test_a_share_in_a_sentence_has_two_digits_below_one_per_cent() -> None:
    """Thousands stand apart as in tables; a zero has no minus, and its plus where signed."""
    assert numbers.in_sentence(44.531, signed=True) == "+4,453.1 %"
    assert numbers.in_sentence(-0.0024, signed=True) == "-0.24 %"
    assert numbers.in_sentence(-0.00001, signed=True) == "0.0 %"
    assert numbers.in_sentence(0.00001, signed=True) == "+0.0 %"


def test_effects_carry_their_unit_once() -> None:
    """A range of effects names its unit at its end."""
    assert numbers.effects("share", -0.04, 0.02) == "−4.0 to +2.0\u202f%"
    assert numbers.effects("points", -0.04, None) == "−4.0 pts to not bounded"
    assert numbers.effects("share", -0.538, 19.89) == "−53.8 to over +900\u202f%"
    assert numbers.effects("share", 84.2, 99.0) == "over +900\u202f%"
    assert numbers.effects("share", None, None) == "n/a"
    assert numbers.effects("points", -0.04, 0.02) == "−4.0 to +2.0 pts"


def test_no_loss_falls_by_more_than_all_of_it() -> None:
    """A bound below -100 % of a loss is shown as that; a loss of a user's own may be negative."""
    assert numbers.lower_end("crps", -3.545) == -1.0
    assert numbers.lower_end("crps", -0.3) == -0.3
    assert numbers.lower_end("mine:pnl_loss", -3.545) == -3.545


def test_metrics_have_readable_names() -> None:
    """Metrics by the title they declare, what is no metric with blanks."""
    known = ("crps", "coverage_80", "smape", "winkler_80", "legacy_failures", "crps_wins")

    assert [numbers.metric_name(each) for each in known] == [
        *("CRPS", "80 % coverage", "sMAPE", "Winkler 80 %", "legacy failures"),
        "windows lost by CRPS",
    ]


def test_plain_data_reads_as_a_sentence() -> None:
    """Policies and options are shown without braces."""
    policy = [{"metric": "crps", "margin": 0.02}, {"metric": "mae", "margin": None}]

    assert numbers.plain(policy) == "metric crps, margin 0.02; metric mae, margin not set"
    assert numbers.plain([1, True]) == "1, yes"
    assert numbers.plain([]) == "none"


def test_control_characters_are_made_visible() -> None:
    """Outside text becomes one printable line."""
    assert numbers.printable("a\n b\x1b[0m\u202e") == r"a b\x1b[0m\u202e"
