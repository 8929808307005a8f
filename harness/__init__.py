"""The machinery, in the order data flows through it.

`data` (prices) -> `running` (stored forecasts of each arm) -> `scoring` (losses) -> `evidence`
(what can be told) -> `judging` (a verdict under a policy) -> `gate` (the record of it, and its
history). Beside it: `measure` (speed and memory), `battery` (predicates on one arm), `claims`.
`verbs` and `cli` are the command line. The modules here are the nouns arms are written with.
"""
