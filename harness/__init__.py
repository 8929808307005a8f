"""May we replace our legacy forecaster? `compare`, `run`, `gate`, `report` and `check` answer.

They are what the verbs of the command line call, and each returns a `Result`; so does `judge`, on
forecasts that lie in a frame::

    import harness

    harness.compare("quick", store="runs")

The rooms, in the order data flows through them: `data` (prices) -> `running` (stored forecasts of
each arm) -> `scoring` (losses) -> `evidence` (what they show) -> `judging` (a verdict under a
policy) -> `gate` (the record of it, and its history). Beside them: `measure` (speed and memory),
`checks` (predicates on one arm), `claims`. `verbs` and `cli` are the command line. The modules
here are the nouns arms are written with.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.verbs.check import check as check
    from harness.verbs.compare import compare as compare
    from harness.verbs.gate import gate as gate
    from harness.verbs.judge_frame import judge as judge
    from harness.verbs.report import report as report
    from harness.verbs.result import Result as Result
    from harness.verbs.run import run as run

_PUBLIC = {
    "Result": "harness.verbs.result",
    "check": "harness.verbs.check",
    "compare": "harness.verbs.compare",
    "gate": "harness.verbs.gate",
    "judge": "harness.verbs.judge_frame",
    "report": "harness.verbs.report",
    "run": "harness.verbs.run",
}
"""Where each public name lies. They are looked up when asked for: importing a noun of an arm costs
nothing else, and what an arm is made of does not depend on the verbs."""

__all__ = ["Result", "check", "compare", "gate", "judge", "report", "run"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
