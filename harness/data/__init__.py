"""Prices on disk: the bundled datasets, their manifest and checks, and imports of others."""
