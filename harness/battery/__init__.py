"""Predicates on a network or an arm: does it do what a forecaster must, and by how much not.

`run_battery` tries a `Subject` (a network with the forward contract) or an `ArmSubject` and
returns one `CheckResult` a predicate. Importing this loads no framework.
"""

from harness.battery.arms import ArmSubject
from harness.battery.nouns import CheckResult, Measured, NotApplicableError, Outcome, Predicate
from harness.battery.records import CheckRecord, read_checks, write_check
from harness.battery.render import summary_table, table_lines, to_json, to_junit
from harness.battery.runner import catalogue, run_battery
from harness.battery.sources import PROBE, arm_subject, class_subject, network_subject
from harness.battery.subject import Hooks, Sizes, Subject
from harness.battery.verb import check, failed, make_resolver

__all__ = [
    "PROBE",
    "ArmSubject",
    "CheckRecord",
    "CheckResult",
    "Hooks",
    "Measured",
    "NotApplicableError",
    "Outcome",
    "Predicate",
    "Sizes",
    "Subject",
    "arm_subject",
    "catalogue",
    "check",
    "class_subject",
    "failed",
    "make_resolver",
    "network_subject",
    "read_checks",
    "run_battery",
    "summary_table",
    "table_lines",
    "to_json",
    "to_junit",
    "write_check",
]
