"""Records: everything a store holds that is not a forecast, a fit or a score, in one file."""
