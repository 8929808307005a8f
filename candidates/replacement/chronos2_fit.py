"""Chronos-2's own fit, with its losses as a training curve and the global random state kept."""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from candidates.replacement.plan import FineTuning, Spans
from candidates.replacement.reading import CALENDAR
from harness.arm import Epoch, Training


def fit(
    pipeline: Any, series: Tensor, spans: Spans, plan: FineTuning, *, length: int, horizon: int,
    seed: int,
) -> tuple[Any, Training]:  # fmt: skip
    """Fine-tune a copy through the library; the pipeline given is left as it is.

    Parameters
    ----------
    series : [1 + C + 3, N]
        Target, covariates, calendar.

    Returns
    -------
    The pipeline to use, which is the one given where no look at the validation span found the
    copy better, and what was done.
    """
    from transformers import EarlyStoppingCallback

    recorder = _recorder()
    cut = int(spans.validation[0])
    parts = [series[:, max(0, origin - length) : origin + horizon] for origin in spans.validation]
    with tempfile.TemporaryDirectory() as folder, _random_state_kept():
        tuned = pipeline.fit(
            [_task(series[:, :cut], horizon)],
            prediction_length=horizon,
            validation_inputs=[_task(part, horizon) for part in parts],
            context_length=min(length, pipeline.model_context_length),
            learning_rate=plan.lr,
            num_steps=plan.steps,
            batch_size=plan.batch_size * len(series),
            output_dir=folder,
            callbacks=[recorder, EarlyStoppingCallback(plan.patience)],
            **_trainer_settings(min(plan.every, plan.steps), seed),
        )
    training = _training(recorder.logs)
    return (pipeline if training.best_epoch in (0, None) else tuned), training


def _trainer_settings(every: int, seed: int) -> dict[str, Any]:
    """Look, log and save at the same steps, the first time before the first; print nothing."""
    return {
        "eval_on_start": True,
        "eval_steps": every,
        "logging_steps": every,
        "save_steps": every,
        "seed": seed,
        "remove_printer_callback": True,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def _recorder() -> Any:
    """A callback that keeps what the trainer logs, in `logs`, with the step of each entry."""
    from transformers import TrainerCallback

    class Recorder(TrainerCallback):
        def __init__(self) -> None:
            self.logs: list[dict[str, float]] = []

        def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            self.logs.append({**(given.get("logs") or {}), "step": state.global_step})

    return Recorder()


def _task(values: Tensor, horizon: int) -> dict[str, Any]:
    others = len(values) - 1
    return {
        "context": values,
        "future_covariates": torch.full((len(values), horizon), torch.nan),
        "n_targets": 1,
        "n_covariates": others,
        "n_future_covariates": min(CALENDAR, others),
    }


def _training(logs: list[dict[str, float]]) -> Training:
    """A row per look at the validation span, with the training log of the same step."""
    trained = {entry["step"]: entry for entry in logs if "loss" in entry}
    looks = {entry["step"]: entry["eval_loss"] for entry in logs if "eval_loss" in entry}
    first = next(iter(trained.values()), {"loss": math.nan})["loss"]
    curve = tuple(
        Epoch(
            epoch=row,
            train_loss=trained.get(step, {"loss": first})["loss"],
            validation_loss=looks[step],
            learning_rate=trained.get(step, {}).get("learning_rate", 0.0),
            gradient_norm=trained.get(step, {}).get("grad_norm", 0.0),
        )
        for row, step in enumerate(sorted(looks))
    )
    finite = [row for row in curve if math.isfinite(row.validation_loss)]
    best = min(finite, key=lambda row: row.validation_loss, default=None)
    diverged = any(not math.isfinite(row.train_loss + row.validation_loss) for row in curve)
    return Training(curve=curve, best_epoch=None if best is None else best.epoch, diverged=diverged)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Put the global generators back: the trainer seeds and uses them all."""
    own, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002  # the global one
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(own)
        np.random.set_state(legacy)  # noqa: NPY002
