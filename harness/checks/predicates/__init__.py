"""The predicates themselves, by what they look at."""
