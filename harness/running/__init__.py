"""From an experiment to stored forecasts: the grid, its units, their processes, the store."""
