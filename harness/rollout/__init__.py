"""The migration after the verdict: who is served by which side, and what moves that."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.rollout.router import Rollout as Rollout

__all__ = ["Rollout"]


def __getattr__(name: str) -> Any:
    if name == "Rollout":  # looked up when asked for: the verbs need no router
        from harness.rollout.router import Rollout

        return Rollout
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
