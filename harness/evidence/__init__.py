"""From losses to what can be told: paired comparisons, intervals, tests, detectable effects."""
