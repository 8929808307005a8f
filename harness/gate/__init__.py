"""From a store to the record of a verdict: stored scores, judging, history, replay, power."""
