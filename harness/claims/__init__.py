"""Every claim of the migration summary beside the measurement that decides it.

`gather` reads an experiment's stored records, `collect_claims` sets the claims beside them.
Nothing is run, and no framework is loaded.
"""

from harness.claims.catalogue import CLAIMS
from harness.claims.claim import (
    Answer,
    Claim,
    ClaimEvidence,
    ClaimRow,
    Measurement,
    Requirement,
    Status,
)
from harness.claims.gather import collect_claims, gather

__all__ = [
    "CLAIMS",
    "Answer",
    "Claim",
    "ClaimEvidence",
    "ClaimRow",
    "Measurement",
    "Requirement",
    "Status",
    "collect_claims",
    "gather",
]
