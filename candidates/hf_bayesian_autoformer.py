"""`HFBayesianAutoformer`: the proposed replacement, a pretrained Chronos model, as an arm.

The same model as a network with the legacy forward contract: `candidates.replacement.hf_bayesian`.
Shapes: W windows, H steps, q levels of the backbone, M sample paths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from candidates.replacement.loading import (
    BUNDLED,
    DTYPES,
    Source,
    commit_of,
    family_of,
    fetch,
    load_pipeline,
    torch_device,
)
from harness.arm import Training, check_device
from harness.errors import ArmError, ForecastError
from harness.forecast import LEVELS, Forecast
from harness.parsing import check_fields
from harness.saved_state import SavedState, read_state, write_state
from harness.window import Array, Context, Contexts, RollingOrigin, Series, contexts_at

if TYPE_CHECKING:
    from candidates.replacement.finetune import FineTuning


Fit = Callable[..., Training]

LEAST_SAMPLES = round(2 / float(LEVELS[0]))
"""Sample paths the outermost level scored needs: two are expected beyond it."""

WINDOWS = 64
"""Windows forecast at once: on a CPU faster than more, and small."""

_READS = {
    "Chronos-T5": "the target alone",
    "Chronos-Bolt": "the target alone",
    "Chronos-2": "the target, other columns as past covariates and the calendar as known ahead",
}


@dataclass(kw_only=True)  # without slots: whether it learns is seen by its attribute `fit`
class HFBayesianAutoformer:
    """Chronos through its own pipeline; its predictive distribution is the uncertainty.

    Zero-shot, unless it is told to learn from each fit's history: then it has a method `fit`.

    Chronos-Bolt and Chronos-2 answer quantiles on levels of their own, put in order; beyond the
    outermost ones the harness extrapolates and says so. Chronos-T5 answers sample paths. Every
    window is drawn with the same uniform numbers, so that it does not depend on its batch.

    Parameters
    ----------
    model
        ``bundled``, a folder, or a hub id such as ``amazon/chronos-bolt-small``.
    context
        Sessions it reads.
    revision
        Commit, tag or branch of a hub id.
    dtype
        Number format of the weights, ``float32`` or ``bfloat16``.
    device
        Where it runs: ``cpu``, ``cuda`` or ``cuda:1``; ``auto`` takes a GPU when there is one.
    local_only
        Never ask the hub, use what is on this machine.
    samples
        Sample paths per window, for backbones that draw them (Chronos-T5), 200 or more: two are
        expected beyond the outermost level scored. 0 for the others, which answer quantiles and
        are the same for every seed.
    covariates
        Whether Chronos-2 reads other columns and the calendar; the others read the target alone.
    finetune
        A table, such as ``{ steps = 200, lr = 1e-5 }``, empty for the defaults: learn from the
        training span, stop early on the validation span. Also batch_size, every, patience.
    conformal
        Stretch the intervals so that they would have covered the validation span; never on by
        itself.
    """

    model: str = BUNDLED
    context: int = 512
    revision: str | None = None
    dtype: str = "float32"
    device: str = "cpu"
    local_only: bool = False
    samples: int = 0
    covariates: bool = True
    finetune: dict[str, Any] | None = None
    conformal: bool = False
    fit: Fit | None = field(default=None, init=False, repr=False, compare=False)
    _plan: FineTuning | None = field(default=None, init=False, repr=False)
    _pretrained: Any = field(default=None, init=False, repr=False)
    _pipeline: Any = field(default=None, init=False, repr=False)
    _stretch: Array | None = field(default=None, init=False, repr=False)
    _seed: int = field(default=0, init=False, repr=False)

    heavy_modules = ("torch", "chronos")
    paths = ("model",)  # a folder beside the experiment file; a hub id is none
    batches_draws = True  # every window is drawn with the same numbers, whatever else is asked
    network = "HFBayesianAutoformer"

    def __post_init__(self) -> None:
        check_fields(self)
        check_device(self.device)
        if self.context < 1:
            raise ValueError(f"context = {self.context}: expected 1 or more")
        if self.samples != 0 and self.samples < LEAST_SAMPLES:
            raise ValueError(
                f"samples = {self.samples}: expected 0, or {LEAST_SAMPLES} or more: two draws "
                f"beyond the level {LEVELS[0]:g}"
            )
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype = '{self.dtype}': expected one of {', '.join(DTYPES)}")
        if self.finetune is not None and self.dtype != "float32":
            raise ValueError(f"dtype = '{self.dtype}': fine-tuning needs float32")
        if self.finetune is not None or self.conformal:
            self.fit = self._fit
        if self.finetune is not None:
            from candidates.replacement.finetune import FineTuning

            self.finetune = dict(self.finetune)
            self._plan = FineTuning.of(self.finetune)

    @property
    def context_length(self) -> int:
        """Sessions read at an origin."""
        return self.context

    @property
    def draws(self) -> bool:
        """Whether forecasts depend on the seed."""
        return self.samples > 0

    @property
    def fit_draws(self) -> bool:
        """Whether a fit depends on its seed: fine-tuning draws windows, calibrating nothing."""
        return self._plan is not None

    @property
    def network_options(self) -> Mapping[str, Any]:
        """Options the network that stands for it is tried with: its weights."""
        own = {"backbone": self.model, "revision": self.revision, "dtype": self.dtype}
        usual = {"backbone": BUNDLED, "revision": None, "dtype": "float32"}
        return {name: value for name, value in own.items() if value != usual[name]}

    @property
    def source(self) -> Source:
        """Where the weights come from."""
        return Source(
            model=self.model,
            revision=self.revision,
            dtype=self.dtype,
            device=self.device,
            local_only=self.local_only,
        )

    @property
    def folder(self) -> Path | None:
        """Where the weights lie; None for a hub id."""
        return self.source.folder

    def weight_files(self) -> Sequence[Path]:
        """Files of a local checkpoint. A hub id is identified by its name and commit."""
        return self.source.files()

    def pinned(self) -> Mapping[str, str]:
        """The commit that a hub id and its revision mean.

        Raises
        ------
        ArmError
            When neither the hub nor the local cache tells.
        """
        commit = commit_of(self.source)
        return {} if commit in (None, self.revision) else {"revision": str(commit)}

    def fetch(self) -> None:
        """Have the checkpoint on this machine, whole.

        Raises
        ------
        ArmError
            When it is not there and cannot be had, or is none; or when its device is not there.
        """
        if self.device not in ("cpu", "auto"):
            torch_device(self.device)
        fetch(self.source)

    def seed(self, value: int) -> None:
        """Set the seed of backbones that draw."""
        self._seed = value

    def load(self) -> None:
        """Load the pipeline.

        Raises
        ------
        ArmError
            When the checkpoint is not there and cannot be had.
        """
        if self._pipeline is not None:
            return
        self._pipeline = self._pretrained = load_pipeline(self.source)
        if self.draws != (family_of(self._pipeline) == "Chronos-T5"):
            wanted = "0: it answers quantiles" if self.draws else f"{LEAST_SAMPLES} or more"
            self._pipeline = None
            raise ArmError(f"model '{self.model}' needs samples = {wanted}")

    def save(self, folder: Path) -> None:
        """Write the stretches, and the weights where fine-tuning changed them."""
        arrays = {} if self._stretch is None else {"stretch": self._stretch}
        tuned = self._pipeline is not self._pretrained
        facts: dict[str, Any] = {"tuned": tuned}
        if tuned:
            from candidates.replacement.finetune import weights_of

            weights, facts["limits"] = weights_of(self._pipeline)
            arrays |= {f"weights.{name}": value for name, value in weights.items()}
        write_state(folder, self, SavedState(facts=facts, arrays=arrays))

    def restore(self, folder: Path) -> None:
        """Stand as after the fit that was saved."""
        self.load()
        state = read_state(folder, self)
        self._pipeline, self._stretch = self._pretrained, state.arrays.get("stretch")
        if state.facts["tuned"]:
            from candidates.replacement.finetune import with_weights

            weights, limits = state.under("weights."), state.facts["limits"]
            self._pipeline = with_weights(self._pretrained, weights, limits)

    def forecast(self, contexts: Contexts) -> Forecast:
        """Forecast every context, some at a time."""
        self.load()
        if np.isnan(contexts.target).all(axis=1).any():
            raise ForecastError("a context holds no value at all")
        found = self._answer(contexts)
        if self._stretch is None:
            return found
        from candidates.replacement.levels import stretched

        return Forecast.of_quantiles(
            stretched(found.at(LEVELS), LEVELS, self._stretch), LEVELS, found.point
        )

    def card(self) -> Mapping[str, str]:
        """Facts for the report."""
        bundled = self.model == BUNDLED
        pin = f" at {self.revision}" if self.revision else ""
        family, plan = self.source.family, self._plan
        reads = "the target; Chronos-2 also reads other columns and the calendar"
        if family is not None:
            reads = _READS[family]
        if family == "Chronos-2" and not self.covariates:
            reads = "the target alone, as it was told"
        distribution = "its own: quantiles at the levels it was trained on"
        if self.draws or family == "Chronos-T5":
            distribution = f"its own: {self.samples} sample paths"
        if self.conformal:
            distribution += ", stretched around the median to have covered the validation span"
        training = "none: zero-shot" + (", calibrated at each fit" if self.conformal else "")
        if plan is not None:
            training = (
                f"fine-tuned at each fit: up to {plan.steps} steps of {plan.batch_size} windows at "
                f"{plan.lr:g}, stopped early on the validation span"
            )
        return {
            "checkpoint": "chronos-bolt-synthetic" if bundled else f"{self.model}{pin}",
            "origin": (
                "bundled with abharness: our own Chronos-Bolt of 2.7 million parameters, "
                "pretrained on synthetic series only; not one of Amazon's"
                if bundled
                else "given by the user"
            ),
            "pretraining data": (
                "no market data" if bundled else "unknown: may contain the test span"
            ),
            "context": f"{self.context} sessions of {reads}",
            "distribution": distribution,
            "training": training,
        }

    def _fit(self, context: Context, *, seed: int) -> Training:
        """Start again from the pretrained weights; learn, then calibrate, as was asked for."""
        self.load()
        self._pipeline, self._stretch, done = self._pretrained, None, Training()
        if self._plan is not None:
            from candidates.replacement.finetune import tuned

            self._pipeline, done = tuned(
                self._pretrained,
                context,
                self._plan,
                length=self.context,
                covariates=self.covariates,
                seed=seed,
            )
        if self.conformal:
            self._stretch = self._calibrated(context)
        return done

    def _calibrated(self, context: Context) -> Array:
        """Stretches [Q] from forecasts whose truth lies in the validation span."""
        from candidates.replacement.finetune import Spans
        from candidates.replacement.levels import stretches

        origins = Spans.of(len(context), context.validation, context.horizon).validation
        series = Series(
            dates=context.dates,
            target=context.target,
            past=context.past,
            past_names=context.past_names,
            weekmask=context.weekmask,
            season=context.season,
        )
        plan = RollingOrigin(horizon=context.horizon, stride=1, origins=1)
        asked = contexts_at(series, origins, plan=plan, length=self.context, levels=LEVELS)
        truth = context.target[origins[:, None] + np.arange(context.horizon)]
        return stretches(self._answer(asked).at(LEVELS), truth, LEVELS)

    def _answer(self, contexts: Contexts) -> Forecast:
        """The backbone's own answer."""
        answering = Answering(
            pipeline=self._pipeline,
            samples=self.samples,
            covariates=self.covariates,
            seed=self._seed,
            windows=WINDOWS,
        )
        return answering.forecast(contexts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """A pipeline and how it is asked."""

    pipeline: Any
    samples: int
    covariates: bool
    seed: int
    windows: int

    def forecast(self, contexts: Contexts) -> Forecast:
        """Quantiles in order, or sample paths with their median as the point path."""
        family = family_of(self.pipeline)
        if family == "Chronos-T5":
            from candidates.replacement.backbone_input import single
            from candidates.replacement.sampling import T5

            backbone = T5(self.pipeline, samples=self.samples, seed=self.seed)
            paths = backbone.paths(single(contexts.target), contexts.horizon, self.samples)
            draws = paths.cpu().numpy().astype(np.float64)  # [W, M, H]
            return Forecast.of_samples(draws, np.median(draws, axis=1), exchangeable=True)
        values = self._bolt(contexts) if family == "Chronos-Bolt" else self._chronos2(contexts)
        ordered = np.sort(values.astype(np.float64), axis=-1)
        return Forecast.of_quantiles(ordered, np.array(self.pipeline.quantiles))

    def _bolt(self, contexts: Contexts) -> Array:
        """Quantiles [W, H, q]."""
        import torch

        from candidates.replacement.backbone_input import single

        parts = [
            self.pipeline.predict(part, prediction_length=contexts.horizon)
            for part in single(contexts.target).split(self.windows)
        ]
        return torch.cat(parts).numpy().transpose(0, 2, 1)

    def _chronos2(self, contexts: Contexts) -> Array:
        """Quantiles [W, H, q]."""
        import torch

        from candidates.replacement.backbone_input import history_of, prepared

        history = history_of(contexts, covariates=self.covariates)
        group = 1 + history.covariates.shape[1]
        with torch.random.fork_rng(devices=[]):  # its data loader draws a seed
            answers = self.pipeline.predict(
                prepared(history),
                prediction_length=contexts.horizon,
                batch_size=max(group, self.windows // group * group),
            )
        return torch.cat(answers).numpy().transpose(0, 2, 1)
