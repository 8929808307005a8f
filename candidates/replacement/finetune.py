"""Fine-tuning before an origin: a loop for Chronos-Bolt and Chronos-T5, its own fit for Chronos-2.

`Plan` says how it goes and where its windows lie, and needs no framework. Chronos-2's own fit
gives its losses as a training curve and leaves the global random state as it was.

Shapes: N sessions, B windows, T steps of history, H steps ahead.
"""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from candidates.replacement.backbone_input import CALENDAR, whole_series
from candidates.replacement.loading import family_of
from candidates.replacement.quantile_backbones import Bolt
from candidates.replacement.sampling import T5
from harness.arm import Epoch, Training, generators_kept
from harness.errors import ArmError, one_line
from harness.window import Context, Rows

LEAST_HISTORY = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuning:
    """How long and how fast to learn.

    Attributes
    ----------
    steps
        Most updates.
    lr
        Learning rate.
    batch_size
        Windows of an update, drawn at random from the training span.
    every
        Updates between two looks at the validation span; one row of the training curve.
    patience
        Looks without improvement after which it ends.
    """

    steps: int = 200
    lr: float = 1e-5
    batch_size: int = 32
    every: int = 20
    patience: int = 3

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "every", "patience"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"finetune.{name} = {value!r}: expected 1 or more")
        number = isinstance(self.lr, (int, float)) and not isinstance(self.lr, bool)
        if not number or not 0.0 < self.lr < math.inf:
            raise ValueError(f"finetune.lr = {self.lr!r}: expected more than 0")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> FineTuning:
        """Read a table.

        Raises
        ------
        ValueError
            Names what is unknown or out of range.
        """
        known = [item.name for item in fields(cls)]
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ValueError(f"finetune.{unknown[0]}: unknown; known are {', '.join(known)}")
        return cls(**given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Where windows may start to be forecast, in one history.

    Attributes
    ----------
    train
        Origins whose truth ends before the validation span.
    validation
        Origins whose truth lies in it, an eighth of the horizon apart.
    """

    train: Rows
    validation: Rows

    @classmethod
    def of(cls, sessions: int, validation: int, horizon: int) -> Spans:
        """Cut a history of N sessions.

        Raises
        ------
        ValueError
            When a span holds no window.
        """
        cut = sessions - validation
        found = cls(
            train=np.arange(min(LEAST_HISTORY, max(cut // 2, 1)), cut - horizon + 1),
            validation=np.arange(max(cut, 1), sessions - horizon + 1, max(1, horizon // 8)),
        )
        if not len(found.train) or not len(found.validation):
            raise ValueError(
                f"a history of {sessions} sessions with {validation} for validation holds "
                f"{len(found.train)} training and {len(found.validation)} validation windows of "
                f"{horizon} steps"
            )
        return found


LARGEST_GRADIENT = 1.0
EVALUATED = 64


@dataclass(slots=True)
class _BestCopy:
    """The best weights so far; only a finite, lower validation loss replaces them."""

    loss: float = math.inf
    epoch: int | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)

    def offer(self, loss: float, epoch: int, model: nn.Module) -> bool:
        if not loss < self.loss:
            return False
        self.loss, self.epoch = loss, epoch
        self.weights = copy.deepcopy(model.state_dict())
        return True


def tune(
    backbone: Bolt | T5,
    series: Tensor,
    spans: Spans,
    plan: FineTuning,
    *,
    length: int,
    horizon: int,
    seed: int,
) -> Training:
    """Fine-tune in place on random windows; it ends with its best weights, in eval mode.

    Adam at a constant rate, gradients clipped to a norm of 1. Row 0 of the curve is the weights
    as they came: training that does not lower the validation loss changes nothing. The global
    random state is put back.

    Parameters
    ----------
    series : [N]
    length
        Most sessions of a window's history.
    """
    draw = np.random.default_rng(seed)
    learning = [p for p in backbone.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=plan.lr)

    def batch() -> tuple[Tensor, Tensor]:
        return windows(series, draw.choice(spans.train, plan.batch_size), length, horizon)

    @torch.no_grad()
    def judged() -> float:
        """Mean loss over the windows of the validation span."""
        total, origins = 0.0, spans.validation
        for start in range(0, len(origins), EVALUATED):
            part = origins[start : start + EVALUATED]
            total += float(backbone.loss(*windows(series, part, length, horizon))) * len(part)
        return total / len(origins)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _Loop(backbone, optimizer, plan, batch, judged).run()


@dataclass(slots=True)
class _Loop:
    """One fine-tuning."""

    backbone: Bolt | T5
    optimizer: torch.optim.Optimizer
    plan: FineTuning
    batch: Callable[[], tuple[Tensor, Tensor]]
    judged: Callable[[], float]
    best: _BestCopy = field(default_factory=_BestCopy)
    curve: list[Epoch] = field(default_factory=list)

    def run(self) -> Training:
        """Go on until the steps, or the patience, are used up."""
        self.backbone.eval()
        with torch.no_grad():
            first = float(self.backbone.loss(*self.batch()))
        self._record(0, first, norm=0.0, rate=0.0)
        waited, rows = 0, math.ceil(self.plan.steps / self.plan.every)
        for row in range(1, rows + 1):
            done = (row - 1) * self.plan.every
            improved = self._row(row, min(self.plan.every, self.plan.steps - done))
            waited = 0 if improved else waited + 1
            if not math.isfinite(self.curve[-1].train_loss) or waited >= self.plan.patience:
                break
        if self.best.weights:
            self.backbone.load_state_dict(self.best.weights)
        self.backbone.eval()
        diverged = any(not math.isfinite(e.train_loss + e.validation_loss) for e in self.curve)
        return Training(curve=tuple(self.curve), best_epoch=self.best.epoch, diverged=diverged)

    def _row(self, row: int, steps: int) -> bool:
        self.backbone.train()
        losses, norms = list[float](), list[float]()
        for _ in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.backbone.loss(*self.batch())
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.backbone.parameters(), LARGEST_GRADIENT)
            losses.append(float(loss.detach()))
            norms.append(float(norm))
            if not math.isfinite(losses[-1] + norms[-1]):
                break
            self.optimizer.step()
        self.backbone.eval()
        return self._record(
            row, float(np.mean(losses)), norm=float(np.mean(norms)), rate=self.plan.lr
        )

    def _record(self, row: int, train_loss: float, *, norm: float, rate: float) -> bool:
        found = self.judged()
        self.curve.append(
            Epoch(
                epoch=row,
                train_loss=train_loss,
                validation_loss=found,
                learning_rate=rate,
                gradient_norm=norm,
            )
        )
        return self.best.offer(found, row, self.backbone)


def windows(series: Tensor, origins: Any, length: int, horizon: int) -> tuple[Tensor, Tensor]:
    """Histories [B, T] before origins, NaN in front of short ones, and what follows [B, H]."""
    padded = torch.cat([series.new_full((length,), torch.nan), series])
    at = torch.as_tensor(origins)[:, None]
    return padded[at + torch.arange(length)], series[at + torch.arange(horizon)]


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
    from transformers import EarlyStoppingCallback, TrainerCallback

    class Recorder(TrainerCallback):
        def __init__(self) -> None:
            self.logs: list[dict[str, float]] = []

        def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            self.logs.append({**(given.get("logs") or {}), "step": state.global_step})

    recorder = Recorder()
    cut = int(spans.validation[0])
    parts = [series[:, max(0, origin - length) : origin + horizon] for origin in spans.validation]
    keeping = torch.random.fork_rng()  # the trainer seeds and uses all generators
    with tempfile.TemporaryDirectory() as folder, generators_kept(), keeping:
        every = min(plan.every, plan.steps)
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
            eval_on_start=True,  # look, log and save at the same steps, and print nothing
            eval_steps=every,
            logging_steps=every,
            save_steps=every,
            seed=seed,
            remove_printer_callback=True,
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
    training = _training(recorder.logs)
    return (pipeline if training.best_epoch in (0, None) else tuned), training


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
        series = whole_series(context, covariates=covariates)
        return fit(pipeline, series, spans, plan, length=length, horizon=context.horizon, seed=seed)
    from candidates.replacement.quantile_backbones import Bolt
    from candidates.replacement.sampling import T5

    changed = copy.deepcopy(pipeline)
    backbone = Bolt(changed) if family == "Chronos-Bolt" else T5(changed, samples=2, seed=seed)
    series = whole_series(context, covariates=False)[0]
    done = tune(backbone, series, spans, plan, length=length, horizon=context.horizon, seed=seed)
    return changed, done


_LIMITS = ("context_length", "max_output_patches")
"""What Chronos-2's own fit may raise beside the weights."""


def weights_of(pipeline: Any) -> tuple[dict[str, npt.NDArray[Any]], dict[str, int]]:
    """Weights of a fine-tuned pipeline, and the limits that fine-tuning may raise."""
    model = pipeline.inner_model
    weights = {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}
    if family_of(pipeline) != "Chronos-2":
        return weights, {}
    return weights, {name: getattr(model.chronos_config, name) for name in _LIMITS}


def with_weights(
    pipeline: Any, weights: Mapping[str, npt.NDArray[Any]], limits: Mapping[str, int]
) -> Any:
    """A copy of a pipeline with what `weights_of` gave; the one given is left as it is.

    Raises
    ------
    ArmError
        When the weights are those of another model.
    """
    changed = copy.deepcopy(pipeline)
    model = changed.inner_model
    try:
        model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    except RuntimeError as problem:
        raise ArmError(f"saved weights do not fit the model: {one_line(str(problem))}") from problem
    for name, value in limits.items():
        setattr(model.chronos_config, name, value)
    model.eval()
    return changed
