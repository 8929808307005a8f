"""The machinery: data, splits, running, scoring, evidence, verdict, store, command line."""
