"""From what can be told to a verdict: the policy, its findings, validity, the self-test."""
