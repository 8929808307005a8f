"""The training loop: AdamW, warm-up and cosine, a moving average of weights; stops and resumes.

The network starts from random weights; the loss is the weighted quantile loss.
Shapes: B series, T context values, H steps, Q levels.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from candidates.pretraining.checkpoint import State, load_state, save_state
from candidates.pretraining.mixture import Batches, TrainingBatch, scale_of
from candidates.pretraining.recipe import Loss, PretrainingRecipe, TrainingPlan
from harness.errors import ConfigError

ERROR_LIMIT = 60.0
"""Errors are cut at so many standard deviations of the context."""

_FLOOR = 0.05


def quantile_loss(
    quantiles: Tensor, batch: TrainingBatch, *, levels: Tensor, weights: Loss
) -> Tensor:
    """Mean of ``2 max(u e, (u - 1) e)``, e the error in standard deviations of the context.

    With both weights 0 this is Chronos-Bolt's own loss divided by the number of steps (the library
    sums over steps), but for the cut at 60 deviations.

    Parameters
    ----------
    quantiles : [B, Q, H]
        In the unit of the batch.
    levels : [Q]
    """
    _, deviation = scale_of(batch.context)
    error = (batch.target[:, None] - quantiles.float()) / deviation[:, :, None]
    error = error.clamp(-ERROR_LIMIT, ERROR_LIMIT)
    level = levels[None, :, None]
    pinball = 2 * torch.maximum(level * error, (level - 1) * error)
    near = near_weights(pinball.shape[2], weights.near, device=pinball.device)
    calm = calm_weights(batch.context, weights.calm)
    return (pinball.mean(dim=1) * near * calm[:, None]).mean()


def near_weights(steps: int, power: float, *, device: torch.device) -> Tensor:
    """Weights of steps 1 .. H, falling as ``h^-power``, with mean 1, [H]."""
    weights = torch.arange(1, steps + 1, device=device).float() ** -power
    return weights / weights.mean()


def calm_weights(context: Tensor, power: float) -> Tensor:
    """Weights of series by how little they move from value to value, with mean 1, [B]."""
    _, deviation = scale_of(context)
    change = torch.diff(context, dim=1).abs().nanmean(dim=1) / deviation[:, 0]
    weights = (1 / (_FLOOR + change)) ** power
    return weights / weights.mean()


HEAD = 32
"""Width of an attention head."""


def build_network(recipe: PretrainingRecipe) -> Any:
    """Build `chronos.chronos_bolt.ChronosBoltModelForForecasting` with seeded first weights.

    The global random state is left as it was.
    """
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from transformers import T5Config

    size = recipe.network
    make: Any = T5Config  # its annotations lack keywords that it takes
    config = make(
        d_model=size.d_model,
        d_ff=4 * size.d_model,
        d_kv=HEAD,
        num_heads=max(2, size.d_model // HEAD),
        num_layers=size.layers,
        num_decoder_layers=size.layers,
        dropout_rate=0.0,
        feed_forward_proj="relu",
        is_encoder_decoder=True,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
        initializer_factor=0.05,
        vocab_size=2,
        n_positions=512,
        use_cache=True,
    )
    config.chronos_config = {
        "context_length": size.context,
        "prediction_length": size.steps,
        "input_patch_size": size.patch,
        "input_patch_stride": size.patch,
        "quantiles": list(size.levels),
        "use_reg_token": True,
    }
    config.reg_token_id = 1
    config.chronos_pipeline_class = "ChronosBoltPipeline"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        return ChronosBoltModelForForecasting(config)


def parameter_count(network: Any) -> int:
    """Trained parameters."""
    return sum(weights.numel() for weights in network.parameters())


ROW_EVERY = 50
"""Steps in one row of the training curve."""


class Watch(Protocol):
    """Is told of every step; what it raises ends the run, which can be gone on with."""

    def begin(self, done: int, steps: int) -> None:
        """Training starts with so many of all steps done already."""
        ...

    def step(self, done: int, loss: float | None) -> None:
        """So many steps are done; the loss, when a row of the curve was completed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """What does not belong to the recipe.

    Attributes
    ----------
    device
        ``cpu`` or ``cuda``. On a GPU the network runs in bfloat16 where that is safe.
    save_every_s
        Seconds between two states on disk; a state is saved after every 50th step at most.
    """

    device: str = "cpu"
    save_every_s: float = 60.0


@dataclass(slots=True, kw_only=True)
class Trainer:
    """A network in training.

    Attributes
    ----------
    step
        Steps done.
    """

    recipe: PretrainingRecipe
    device: str
    step: int = 0
    network: Any = field(init=False)
    optimizer: torch.optim.AdamW = field(init=False)
    average: dict[str, Tensor] = field(init=False)
    curve: list[tuple[int, float, float]] = field(default_factory=list, init=False)
    seconds: float = field(default=0.0, init=False)
    _batches: Batches = field(init=False)
    _levels: Tensor = field(init=False)
    _forward: Any = field(init=False)

    def __post_init__(self) -> None:
        settings = self.recipe.training
        self.network = build_network(self.recipe).to(self.device).train()
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            betas=(0.9, 0.98),
            fused=self.device.startswith("cuda"),
        )
        self.average = {name: each.clone() for name, each in self.network.state_dict().items()}
        self._batches = Batches(recipe=self.recipe, device=self.device)
        self._levels = torch.tensor(self.recipe.network.levels, device=self.device)
        self._forward = torch.compile(self.network) if settings.compiled else self.network

    def advance(self) -> Tensor:
        """Do one step; return its loss."""
        settings = self.recipe.training
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, settings)
        batch, kind = self._batches.at(self.step), self.device.partition(":")[0]
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=kind == "cuda"):
            quantiles = self._forward(context=batch.context).quantile_preds
        weights = self.recipe.loss
        loss = quantile_loss(quantiles, batch, levels=self._levels, weights=weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        self.optimizer.step()
        self.step += 1
        if self.step % settings.average_every == 0:
            renew_average(
                self.average, self.network.state_dict(), step=self.step, settings=settings
            )
        return loss.detach()

    def state(self) -> State:
        """What `resume` needs."""
        return State(
            step=self.step,
            network=self.network.state_dict(),
            average=self.average,
            optimizer=self.optimizer.state_dict(),
            curve=self.curve,
            seconds=self.seconds,
        )

    def resume(self, state: State) -> None:
        """Go on where a state was taken."""
        self.network.load_state_dict(state.network)
        self.optimizer.load_state_dict(state.optimizer)
        self.average = dict(state.average)
        self.step, self.seconds, self.curve = state.step, state.seconds, list(state.curve)

    def averaged(self) -> Any:
        """The network with the moving average as its weights; training is over."""
        self.network.load_state_dict(self.average)
        return self.network.eval()


def train(
    recipe: PretrainingRecipe, folder: Path, *, options: TrainingOptions, watch: Watch
) -> Trainer:
    """Train a recipe to its end, or go on with the run that `folder` holds.

    A state is saved from time to time and at the end; an end of any other kind costs the steps
    since the last one.

    Raises
    ------
    StoreError
        When the folder holds a run of another recipe.
    ConfigError
        When the recipe makes the loss infinite or NaN; the state before that is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(recipe=recipe, device=options.device)
    if (state := load_state(folder, recipe, device=options.device)) is not None:
        trainer.resume(state)
    watch.begin(trainer.step, recipe.training.steps)
    before = torch.get_float32_matmul_precision()
    if options.device.startswith("cuda"):  # TF32
        torch.set_float32_matmul_precision("high")
    try:
        _run(trainer, folder, save_every_s=options.save_every_s, watch=watch)
    finally:
        torch.set_float32_matmul_precision(before)
    return trainer


def learning_rate(step: int, settings: TrainingPlan) -> float:
    """Rate of a step, counted from 0: a straight rise times a cosine down to the floor."""
    rise = min(1.0, (step + 1) / settings.warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    return settings.learning_rate * rise * (cosine * (1 - settings.floor) + settings.floor)


def renew_average(
    average: dict[str, Tensor], weights: dict[str, Tensor], *, step: int, settings: TrainingPlan
) -> None:
    """Move the average towards the weights, in place; early on it forgets faster."""
    kept = min(settings.average, (1 + step) / (10 + step)) ** settings.average_every
    with torch.no_grad():
        for name, each in weights.items():
            if each.dtype.is_floating_point:
                average[name].mul_(kept).add_(each, alpha=1 - kept)


def _run(trainer: Trainer, folder: Path, *, save_every_s: float, watch: Watch) -> None:
    steps, recipe = trainer.recipe.training.steps, trainer.recipe
    saved = clock = time.monotonic()
    losses: list[Tensor] = []
    while trainer.step < steps:
        losses.append(trainer.advance())
        now = time.monotonic()
        trainer.seconds, clock = trainer.seconds + now - clock, now
        if trainer.step % ROW_EVERY and trainer.step != steps:
            watch.step(trainer.step, None)
            continue
        mean = torch.stack(losses).mean().item()  # the one place that waits for a GPU
        losses.clear()
        if not math.isfinite(mean):
            raise ConfigError(
                f"training diverged: the loss is {mean} by step {trainer.step}; lower [training] "
                "learning_rate or clip"
            )
        rate = learning_rate(trainer.step - 1, recipe.training)
        trainer.curve.append((trainer.step, mean, rate))
        watch.step(trainer.step, mean)
        if now - saved >= save_every_s or trainer.step == steps:
            save_state(folder, recipe, trainer.state())
            saved = time.monotonic()
