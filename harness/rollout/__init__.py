"""The migration after the verdict: who is served by which side, and what moves that."""
