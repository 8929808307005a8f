"""How a phrase says the values of a fact or a reason: by their names, each in its own way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from string import Formatter
from typing import Any

from reports.words.numbers import (
    MOST,
    bound_in_sentence,
    in_sentence,
    listing,
    lower_end,
    metric_name,
    plural,
)

Values = Mapping[str, Any]
Phrase = str | Callable[[Values], str]
"""What is said of a code: a text with the names of its values, or a function of them."""


def filled(phrase: Phrase, values: Values) -> str:
    """Put the values of a fact into a phrase."""
    return _FORM.vformat(phrase, (), values) if isinstance(phrase, str) else phrase(values)


class _Form(Formatter):
    """Fills ``{name}`` and ``{name:way}``, ways and made-up names as at the end of this file."""

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Values) -> Any:
        return _NAMES[key](kwargs) if key in _NAMES else kwargs[str(key)]

    def format_field(self, value: Any, format_spec: str) -> Any:
        way = _WAYS.get(format_spec)
        return super().format_field(value, format_spec) if way is None else way(value)


_FORM = _Form()


def place_of(dataset: str, metric: str, part: str) -> str:
    """What a rule was judged on."""
    named = "skill by CRPS" if metric == "skill" else metric_name(metric)
    return f"{dataset} {named}" + (f" ({part})" if part else "")


def places_of(rules: Sequence[Sequence[str]]) -> str:
    """What some rules were judged on: the first three, and how many more there are."""
    more = f" and {len(rules) - 3} more" if len(rules) > 3 else ""
    return ", ".join(place_of(*rule) for rule in rules[:3]) + more


def where_of(v: Values) -> str:
    """What a finding was judged on."""
    return place_of(v["dataset"], v["metric"], v["part"])


def cell_of(v: Values) -> str:
    """A cell of the grid."""
    return f"{v['arm']} on {v['dataset']}, seed {v['seed']}"


def _seeds(seeds: Sequence[int]) -> str:
    """Seeds in words: seed 1; seeds 1 to 5; seeds 1, 3 and 7."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds[:-1]))} and {seeds[-1]}"


def worse_of(rows: Sequence[Sequence[Any]]) -> str:
    """Rows of dataset, metric, and skill with its interval: how much larger the loss is."""
    said = []
    for dataset, metric, skill, low, high in rows:
        ends = ""
        if low is not None and high is not None:
            least = in_sentence(lower_end(metric, -high), signed=True)
            first = f"{least.removesuffix(' %')} to "
            ends = f" ({'' if -high > MOST else first}{bound_in_sentence(-low)})"
        change = in_sentence(-skill, signed=True)
        said.append(f"{metric_name(metric)} {change}{ends} on {dataset}")
    return ", ".join(said)


def _covered(rows: Sequence[Sequence[Any]]) -> str:
    """Rows of dataset, metric, and the share covered with its interval."""
    said = []
    for dataset, metric, share, low, high in rows:
        level = metric.removeprefix("coverage_")
        known = low is not None and high is not None
        ends = f" ({in_sentence(low)} to {in_sentence(high)})" if known else ""
        said.append(f"on {dataset} the {level} % interval covers {in_sentence(share)}{ends}")
    return ", ".join(said)


_NAMES: Mapping[int | str, Callable[[Values], str]] = {
    "_where": where_of,
    "_cell": cell_of,
    "_rules": lambda v: places_of(v["rules"]),
}
_WAYS: Mapping[str, Callable[[Any], str]] = {
    "share": in_sentence,
    "signed": lambda share: in_sentence(share, signed=True),
    "metric": metric_name,
    "and": listing,
    "list": ", ".join,
    "worse": worse_of,
    "covered": _covered,
    "seeds": _seeds,
    "sessions": lambda count: plural(count, "session"),
    "windows": lambda count: "window" if count == 1 else f"{count} windows",
    "moment": lambda when: "just now" if when == "now" else f"{when} it was timed",
}
