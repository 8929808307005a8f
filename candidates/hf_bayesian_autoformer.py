"""`HFBayesianAutoformer`: the proposed replacement, a pretrained Chronos model used zero-shot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.errors import ArmError, ForecastError
from harness.forecast import Forecast
from harness.window import Contexts

BUNDLED = "bundled"
"""Name of the checkpoint that lies in this package."""

_CHECKPOINT = Path(__file__).parent / "checkpoints" / "chronos-bolt-synthetic"


@dataclass(slots=True, kw_only=True)
class HFBayesianAutoformer:
    """Chronos through its own pipeline; its predictive distribution is the uncertainty.

    Univariate: it reads the target and no covariate.

    Parameters
    ----------
    model
        ``bundled``, a folder, or a hub id such as ``amazon/chronos-bolt-small``.
    context
        Sessions it reads.
    revision
        Commit, tag or branch of a hub id.
    device
        Where it runs: ``cpu``, ``cuda`` or ``cuda:1``; ``auto`` takes a GPU when there is one.
    local_only
        Never ask the hub, use what is on this machine.
    samples
        Sample paths per window, for backbones that draw them (Chronos-T5); 0 for the others,
        which answer quantiles and are the same for every seed.
    """

    model: str = BUNDLED
    context: int = 512
    revision: str | None = None
    device: str = "cpu"
    local_only: bool = False
    samples: int = 0
    _pipeline: Any = field(default=None, init=False, repr=False)
    _seed: int = field(default=0, init=False, repr=False)

    heavy_modules = ("torch", "chronos")

    def __post_init__(self) -> None:
        if self.context < 1:
            raise ValueError(f"context = {self.context}: expected 1 or more")
        if self.samples < 0 or self.samples == 1:
            raise ValueError(f"samples = {self.samples}: expected 0, or 2 or more")

    @property
    def context_length(self) -> int:
        """Sessions read at an origin."""
        return self.context

    @property
    def draws(self) -> bool:
        """Whether forecasts depend on the seed."""
        return self.samples > 0

    @property
    def folder(self) -> Path | None:
        """Where the weights lie; None for a hub id."""
        if self.model == BUNDLED:
            return _CHECKPOINT
        path = Path(self.model).expanduser()
        return path if path.is_dir() else None

    def weight_files(self) -> Sequence[Path]:
        """Files of a local checkpoint. A hub id is identified by its name and revision."""
        if self.folder is None:
            return ()
        return sorted(
            file
            for file in self.folder.iterdir()
            if file.suffix in (".json", ".safetensors", ".bin")
        )

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
        import torch
        from chronos import BaseChronosPipeline

        where = str(self.folder) if self.folder else self.model
        try:
            self._pipeline = BaseChronosPipeline.from_pretrained(
                where,
                device_map=self._device(),
                dtype=torch.float32,
                **self._hub_options(),
            )
        except (OSError, ValueError, KeyError) as problem:
            raise ArmError(self._missing_text(problem)) from problem
        if self.draws != (self._form() == "samples"):
            wanted = "samples = 0: it answers quantiles" if self.draws else "samples = 200, say"
            raise ArmError(f"model '{self.model}' needs {wanted}")

    def forecast(self, contexts: Contexts) -> Forecast:
        """Forecast every context in one call of the pipeline."""
        import torch

        self.load()
        if np.isnan(contexts.target).all(axis=1).any():
            raise ForecastError("a context holds no value at all")
        series = torch.from_numpy(np.asarray(contexts.target, dtype=np.float32))
        if self._form() == "samples":
            return self._sampled(series, contexts.horizon)
        answer = self._pipeline.predict(series, prediction_length=contexts.horizon)
        values = answer.numpy().astype(np.float64).transpose(0, 2, 1)  # [W, H, q]
        return Forecast.of_quantiles(values, np.array(self._pipeline.quantiles))

    def card(self) -> Mapping[str, str]:
        """Facts for the report."""
        bundled = self.model == BUNDLED
        name = "chronos-bolt-synthetic" if bundled else self.model
        origin = (
            "bundled with abharness: our own Chronos-Bolt of 2.7 million parameters, pretrained "
            "on synthetic series only; not one of Amazon's"
            if bundled
            else "given by the user"
        )
        contaminated = "no market data" if bundled else "unknown: may contain the test span"
        return {
            "checkpoint": name,
            "origin": origin,
            "pretraining data": contaminated,
            "context": f"{self.context} sessions of the target alone",
            "training": "none: zero-shot",
        }

    def _form(self) -> Literal["samples", "quantiles"]:
        from chronos.base import ForecastType

        sampled = self._pipeline.forecast_type == ForecastType.SAMPLES
        return "samples" if sampled else "quantiles"

    def _sampled(self, series: Any, horizon: int) -> Forecast:
        """Draw sample paths without touching the global random state."""
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(self._seed)
            paths = self._pipeline.predict(
                series, prediction_length=horizon, num_samples=self.samples
            )
        values = paths.numpy().astype(np.float64)  # [W, M, H]
        return Forecast.of_samples(values, np.median(values, axis=1))

    def _device(self) -> str:
        import torch

        if self.device != "auto":
            return self.device
        return "cuda" if torch.cuda.is_available() else "cpu"

    def _hub_options(self) -> dict[str, Any]:
        if self.folder is not None:
            return {"local_files_only": True}
        options: dict[str, Any] = {"local_files_only": self.local_only}
        return options if self.revision is None else options | {"revision": self.revision}

    def _missing_text(self, problem: Exception) -> str:
        reason = " ".join(str(problem).split())[:200]
        if self.folder is not None:
            return f"model '{self.model}': {self.folder} is no Chronos checkpoint: {reason}"
        return (
            f"model '{self.model}': no folder of that name, and the hub did not give it; download "
            f"it where there is a network (`hf download {self.model}`) or use model = "
            f'"{BUNDLED}". The library said: {reason}'
        )
