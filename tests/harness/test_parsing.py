"""Fields of an object held against the types they are declared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pytest

from harness.arm import check_device
from harness.parsing import check_fields

if TYPE_CHECKING:
    from somewhere import Plan  # type: ignore[import-not-found]  # known to nobody at run time


@dataclass(kw_only=True)
class Options:
    """Options as an arm declares them."""

    count: int = 1
    rate: float = 0.1
    flag: bool = False
    name: str = ""
    maybe: str | None = None
    table: dict[str, Any] = field(default_factory=dict)
    levels: list[float] = field(default_factory=list)
    kind: Literal["a", "b"] = "a"
    _plan: Plan | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"count": 3, "rate": 1, "flag": True, "name": "x"},
        {"maybe": "x", "table": {"a": [1]}, "levels": [0.1, 1], "kind": "b"},
    ],
)
def test_values_of_their_types_are_taken(options):
    """A whole number is a number; what is not given to the constructor is not looked at."""
    made = Options(**options)

    assert {name: getattr(made, name) for name in options} == options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": "3"}, "count = '3': expected a valid integer"),
        ({"count": True}, "count = True: expected a valid integer"),
        ({"count": 1.5}, "count = 1.5: expected a valid integer"),
        ({"rate": "0.1"}, "rate = '0.1': expected a valid number"),
        ({"rate": False}, "rate = False: expected a valid number"),
        ({"flag": "false"}, "flag = 'false': expected a valid boolean"),
        ({"flag": 1}, "flag = 1: expected a valid boolean"),
        ({"name": 3}, "name = 3: expected a valid string"),
        ({"maybe": 3}, "maybe = 3: expected a valid string"),
        ({"table": []}, "table = []: expected a valid dictionary"),
        ({"levels": ["x"]}, "levels = ['x']: expected a valid number"),
        ({"kind": "c"}, "kind = 'c': expected 'a' or 'b'"),
        ({"count": "x" * 200}, "count = '" + "x" * 56 + "...: expected a valid integer"),
    ],
)
def test_values_of_other_types_are_refused(options, said):
    """Nothing is converted, and the line names the option, what was found and what is expected."""
    with pytest.raises(ValueError, match="expected") as caught:
        Options(**options)

    assert str(caught.value) == said


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", "auto", "mps"])
def test_devices_are_known_by_name(name):
    """A device is the CPU, an accelerator with or without a number, or what is there."""
    assert check_device(name) is None


@pytest.mark.parametrize("name", ["banana", "gpu", "cuda:", "cuda:x", ""])
def test_other_names_are_no_devices(name):
    """What names no device is refused before anything is moved there."""
    with pytest.raises(ValueError, match=r"expected cpu, cuda, cuda:1 or auto"):
        check_device(name)
