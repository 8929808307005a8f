"""Several claims at once: p-values adjusted so that none is claimed by luck alone."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p-values by Holm's step-down rule, in the order given.

    With m claims the smallest is multiplied by m, the next by m - 1, and so on; none becomes
    smaller than one before it, none larger than 1. Rejecting what lies at or below alpha makes a
    single false claim with a chance of at most alpha, however the claims depend on each other.
    Source: Holm (1979).
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return tuple(adjusted)
