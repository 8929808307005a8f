"""Predicates on a network or an arm: does it do what a forecaster must, and by how much not.

`run_battery` tries a `Subject` (a network with the forward contract) or an `ArmSubject` and
returns one `CheckResult` a predicate. Importing this loads no framework.
"""

from harness.checks.arm_subject import ArmSubject
from harness.checks.predicate import (
    CheckOutcome,
    CheckRecord,
    CheckResult,
    Measured,
    NotApplicableError,
    Predicate,
)
from harness.checks.runner import (
    Trial,
    catalogue,
    check,
    failed,
    make_resolver,
    run_battery,
)
from harness.checks.stored_checks import read_checks, write_check
from harness.checks.subject import (
    PROBE,
    Hooks,
    NetworkSizes,
    Subject,
    arm_subject,
    class_subject,
    network_subject,
)

__all__ = [
    "PROBE",
    "ArmSubject",
    "CheckOutcome",
    "CheckRecord",
    "CheckResult",
    "Hooks",
    "Measured",
    "NetworkSizes",
    "NotApplicableError",
    "Predicate",
    "Subject",
    "Trial",
    "arm_subject",
    "catalogue",
    "check",
    "class_subject",
    "failed",
    "make_resolver",
    "network_subject",
    "read_checks",
    "run_battery",
    "write_check",
]
