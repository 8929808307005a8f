"""Which class serves which kind of Chronos."""

from __future__ import annotations

from typing import Any

from candidates.replacement.config import Options
from candidates.replacement.loading import family_of
from candidates.replacement.multivariate import Chronos2
from candidates.replacement.sampling import T5
from candidates.replacement.univariate import Bolt

Backbone = Bolt | Chronos2 | T5


def backbone_of(pipeline: Any, options: Options) -> Backbone:
    """Wrap a pipeline."""
    family = family_of(pipeline)
    if family == "Chronos-T5":
        return T5(pipeline, samples=options.samples, seed=options.seed)
    return Bolt(pipeline) if family == "Chronos-Bolt" else Chronos2(pipeline)


def freeze_all_but_head(backbone: Backbone) -> None:
    """Let the output layer learn and nothing else."""
    backbone.requires_grad_(requires_grad=False)
    backbone.head().requires_grad_(requires_grad=True)
