"""What a network's answer holds, in the forms that code around forecasters gives it.

Read the same by whoever feeds such a network and by the battery. No framework is loaded: tensors
are taken out as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harness.errors import ForecastError

QUANTILES = ("quantile_specific", "quantiles")
"""Names under which a dict reports quantiles, by label or on a last axis."""
INTERVALS = "confidence_intervals"
ANSWERS = "a tensor, a dict with 'prediction' or a tuple"

_LABEL = re.compile(r"(?:quantile|q|p|ci)?[_ ]?(\d*\.?\d+)(%?)", re.IGNORECASE)
_ROUND_HUNDREDS = re.compile(r"10+")


def prediction_in(output: Any) -> Any:
    """Take out the prediction: a dict's `prediction`, a tuple's first, or the answer as it is.

    Raises
    ------
    ForecastError
        When a dict holds none.
    """
    if isinstance(output, Mapping):
        if "prediction" not in output:
            there = ", ".join(map(str, output)) or "nothing"
            raise ForecastError(f"the network returned a dict of {there}; expected {ANSWERS}")
        return prediction_in(output["prediction"])
    if isinstance(output, tuple | list) and output:
        return prediction_in(output[0])
    return output


def labelled_quantiles(answer: Any) -> dict[float, Any]:
    """Quantiles a dict reports by label, the richer of two reports; empty where it has none.

    Raises
    ------
    ForecastError
        When a label is no level, or two are the same.
    """
    reports = (
        [] if not isinstance(answer, Mapping) else [(key, answer.get(key)) for key in QUANTILES]
    )
    named = [(key, found) for key, found in reports if isinstance(found, Mapping)]
    if not named:
        return {}
    key, found = max(named, key=lambda each: len(each[1]))
    return _by_level(key, {label: prediction_in(value) for label, value in found.items()})


def quantile_axis(answer: Any) -> tuple[str, Any] | None:
    """Quantiles a dict reports on a last axis without labels, and under which name."""
    for key in QUANTILES if isinstance(answer, Mapping) else ():
        found = answer.get(key)
        if found is not None and not isinstance(found, Mapping):
            return key, found
    return None


def central_intervals(answer: Any) -> dict[float, tuple[Any, Any]]:
    """Lower and upper bounds of central intervals by the share they are to cover.

    Raises
    ------
    ForecastError
        When they are no mapping of labels to pairs of bounds.
    """
    found = answer.get(INTERVALS) if isinstance(answer, Mapping) else None
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise ForecastError(
            f"'{INTERVALS}' is a {type(found).__name__}; expected bounds by labels such as 95%"
        )
    bounds: dict[Any, tuple[Any, Any]] = {}
    for label, value in found.items():
        if isinstance(value, Mapping) and {"lower", "upper"} <= value.keys():
            bounds[label] = value["lower"], value["upper"]
        elif isinstance(value, tuple | list) and len(value) >= 2:
            bounds[label] = value[0], value[1]
        else:
            raise ForecastError(f"'{INTERVALS}' has no lower and upper bound under {label!r}")
    return _by_level(INTERVALS, bounds)


def level_of(key: str, label: Any) -> float:
    """The level a label such as `q10`, `quantile_0.1`, `95%` or 0.1 means.

    Per cent are hundredths; other whole numbers have two digits (q05) or as many as they need
    (q025); a fraction is the level itself, and above 1 it is per cent (q97.5).

    Raises
    ------
    ForecastError
        When it means none between 0 and 1.
    """
    match = _LABEL.fullmatch(str(label).strip())
    if not match:
        raise ForecastError(f"'{key}' has a label {label!r}; expected one such as q10, 0.1 or 95%")
    digits, percent = match.groups()
    value = float(digits)
    if percent or ("." in digits and value > 1):
        level = value / 100
    elif "." in digits:
        level = value
    elif _ROUND_HUNDREDS.fullmatch(digits) and len(digits) > 2:  # q100: all of it, not a tenth
        level = 1.0
    else:
        level = float(f"0.{digits.zfill(2)}")
    if not 0 < level < 1:
        raise ForecastError(f"'{key}' has a label {label!r}, which is no level between 0 and 1")
    return round(level, 6)


def _by_level(key: str, found: Mapping[Any, Any]) -> dict[float, Any]:
    levels = {label: level_of(key, label) for label in found}
    if len(set(levels.values())) < len(levels):
        raise ForecastError(f"'{key}' has two labels of one level: {', '.join(map(str, found))}")
    return {levels[label]: value for label, value in found.items()}
