"""Arrays in, numbers out: nothing here knows a noun of the harness."""
