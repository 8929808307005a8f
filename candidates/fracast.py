"""Fracast-0, a pretrained convolutional forecaster whose weights come inside its package."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.arm import check_device
from harness.errors import ArmError
from harness.forecast import Forecast
from harness.parsing import check_fields
from harness.window import Array, Contexts

LEAST = 8
"""Fewest values of a context the package forecasts from."""

_FILES = {
    "fp32": ("config.json", "model.safetensors"),
    "w8": ("config.json", "model.int8.safetensors", "w8_manifest.json"),
}


@dataclass(slots=True, kw_only=True)
class Fracast:
    """Fracast-0 through its own package, zero-shot, on the target alone.

    It answers nine quantiles, 0.1 to 0.9; beyond them the harness extrapolates and says so. It
    forecasts 48 steps at once; further ones start from its own median path, as its package does,
    so that their intervals say nothing of the uncertainty of that path.

    Parameters
    ----------
    context
        Sessions it reads, 8 to 2048; 2048 is what it was trained on.
    weights
        ``fp32``, or ``w8``: the eight-bit weights, the package's default.
    device
        Where it runs: ``cpu``, ``cuda`` or ``cuda:1``; ``auto`` takes a GPU when there is one.
    """

    context: int = 2048
    weights: Literal["fp32", "w8"] = "fp32"
    device: str = "cpu"
    _model: Any = field(default=None, init=False, repr=False)

    heavy_modules = ("torch", "fracast")

    def __post_init__(self) -> None:
        check_fields(self)
        check_device(self.device)
        if not LEAST <= self.context <= 2048:
            raise ValueError(f"context = {self.context}: expected {LEAST} to 2048")
        if self.weights not in _FILES:
            raise ValueError(f"weights = {self.weights!r}: expected 'fp32' or 'w8'")

    @property
    def context_length(self) -> int:
        """Sessions read at an origin."""
        return self.context

    def weight_files(self) -> Sequence[Path]:
        """Weights and code of the package: both decide the forecasts.

        Raises
        ------
        ArmError
            When the package is not installed.
        """
        package = _package()
        weights = [package / "weights" / name for name in _FILES[self.weights]]
        return sorted([*weights, *package.rglob("*.py")])

    def load(self) -> None:
        """Load the model from the installed package; no network is asked.

        Raises
        ------
        ArmError
            When the package is not installed, or is not one this arm knows.
        """
        if self._model is not None:
            return
        _package()
        import torch
        from fracast import FracastModel

        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self._model = FracastModel.from_pretrained(weights=self.weights, device=device)
        except (OSError, KeyError, ValueError, RuntimeError) as problem:
            reason = " ".join(str(problem).split())
            raise ArmError(f"fracast: its model cannot be loaded: {reason}") from problem

    def forecast(self, contexts: Contexts) -> Forecast:
        """Forecast every context in one call of the package.

        A context of fewer than 8 values has no forecast: its window is NaN.
        """
        self.load()
        target = contexts.target
        enough = np.isfinite(target).sum(axis=1) >= LEAST
        levels = np.array(self._model.quantiles)
        values = np.full((len(target), contexts.horizon, len(levels)), np.nan)  # [W, H, q]
        if enough.any():
            # the package takes a range below 1e-5 for none: brought to the size of 1 first, [W, 1]
            size: Array = np.nanmean(np.abs(target[enough]), axis=1, keepdims=True)
            scale = np.where(size > 0, size, 1.0)
            answer = self._model.forecast_batch(target[enough] / scale, horizon=contexts.horizon)
            values[enough] = answer.astype(np.float64) * scale[:, :, None]
        return Forecast.of_quantiles(np.sort(values, axis=2), levels)

    def card(self) -> Mapping[str, str]:
        """Facts for the report."""
        return {
            "checkpoint": f"Fracast-0 ({self.weights}) inside the package fracast, Apache-2.0",
            "origin": "a third party's: 85,001 parameters, convolutions only, 2026-09",
            "pretraining data": "says its author: public collections (GiftEvalPretrain, LOTSA, "
            "Chronos datasets, BOOM, fev) and synthetic series; unknown whether they hold the test "
            "span",
            "context": f"{self.context} sessions of the target alone",
            "levels": "0.1 to 0.9, put in order where they cross; the harness extrapolates tails",
            "steps": "48 at once; later ones go on from its own median path",
            "training": "none: zero-shot",
        }


def _package() -> Path:
    """The folder of the installed package."""
    found = importlib.util.find_spec("fracast")
    if found is None or found.origin is None:
        raise ArmError("the package 'fracast' is missing; pip install 'abharness[fracast]'")
    return Path(found.origin).parent
