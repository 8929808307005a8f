"""From forecasts and truths to losses: metrics by origin, step and seed, and their slices."""
