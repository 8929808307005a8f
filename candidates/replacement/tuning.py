"""Which fine-tuning serves which kind of Chronos."""

from __future__ import annotations

import copy
from typing import Any

from candidates.replacement.loading import family_of
from candidates.replacement.plan import FineTuning, Spans
from candidates.replacement.reading import whole_series
from harness.arm import Training
from harness.window import Context


def tuned(
    pipeline: Any, context: Context, plan: FineTuning, *, length: int, covariates: bool, seed: int
) -> tuple[Any, Training]:
    """Fine-tune a copy of a pipeline on everything up to an origin.

    Returns
    -------
    The fine-tuned pipeline and what was done; the one given stays as it is.

    Raises
    ------
    ValueError
        When the history holds no window to train or to stop on.
    """
    spans = Spans.of(len(context), context.validation, context.horizon)
    family = family_of(pipeline)
    if family == "Chronos-2":
        from candidates.replacement.chronos2_fit import fit

        series = whole_series(context, covariates=covariates)
        return fit(pipeline, series, spans, plan, length=length, horizon=context.horizon, seed=seed)
    from candidates.replacement.finetune import tune
    from candidates.replacement.sampling import T5
    from candidates.replacement.univariate import Bolt

    changed = copy.deepcopy(pipeline)
    backbone = Bolt(changed) if family == "Chronos-Bolt" else T5(changed, samples=2, seed=seed)
    series = whole_series(context, covariates=False)[0]
    done = tune(backbone, series, spans, plan, length=length, horizon=context.horizon, seed=seed)
    return changed, done
