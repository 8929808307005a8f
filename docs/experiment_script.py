"""An experiment as the legacy code base writes them; `--model` alone decides what it trains.

    python docs/experiment_script.py --model BayesianEnhancedAutoformer
    python docs/experiment_script.py --model HFBayesianAutoformer

Everything below `Exp` is the usual script: build from the arguments, train, test. What it prints is
the mean squared error on held-out windows and, where the model reports intervals, how often the
95 % interval held the truth. The data are made up, so that the numbers mean nothing.
"""

from __future__ import annotations

import argparse
import math
import sys
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

import baselines
from candidates.replacement import hf_bayesian, hf_hierarchical, hf_quantile

SIZES = {
    "seq_len": 96, "label_len": 48, "pred_len": 24, "enc_in": 3, "dec_in": 3, "c_out": 3,
    "d_model": 32, "n_heads": 4, "e_layers": 2, "d_layers": 1, "d_ff": 64, "moving_avg": 25,
    "factor": 1,
}  # fmt: skip
CHOICES = {
    "task_name": "long_term_forecast", "embed": "timeF", "freq": "h", "activation": "gelu",
}  # fmt: skip
FIELDS = (*SIZES, *CHOICES, "quantile_levels", "dropout")


def legacy(name: str) -> Any:
    """A legacy network as a module with `Model(args)`, as the checkout has it."""

    def model(name: str, args: argparse.Namespace) -> nn.Module:
        given = {field: value for field, value in vars(args).items() if field in FIELDS}
        return baselines.build(name, given)

    return SimpleNamespace(Model=partial(model, name))


MODELS: dict[str, Any] = {
    "BayesianEnhancedAutoformer": legacy("BayesianEnhancedAutoformer"),
    "QuantileBayesianAutoformer": legacy("QuantileBayesianAutoformer"),
    "HierarchicalEnhancedAutoformer": legacy("HierarchicalEnhancedAutoformer"),
    "HFBayesianAutoformer": hf_bayesian,
    "HFQuantileAutoformer": hf_quantile,
    "HFHierarchicalAutoformer": hf_hierarchical,
}


def arguments(given: list[str]) -> argparse.Namespace:
    """Read the command line into the one object everything reads."""
    parser = argparse.ArgumentParser(description="train and test one model")
    parser.add_argument("--model", choices=MODELS, required=True)
    for name, value in {**SIZES, "train_epochs": 2, "batch_size": 32}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    for number, value in {"dropout": 0.1, "learning_rate": 1e-4}.items():
        parser.add_argument(f"--{number}", type=float, default=value)
    for text, default in {**CHOICES, "features": "M", "hf_backbone": "bundled"}.items():
        parser.add_argument(f"--{text}", default=default)
    parser.add_argument("--quantile_levels", type=float, nargs="*", default=[])
    return parser.parse_args(given)


class Exp:
    """Train on the first windows, test on the last."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.model: nn.Module = MODELS[args.model].Model(args).float()
        series, marks = made_up(600, args.enc_in)
        starts = torch.arange(0, 600 - args.seq_len - args.pred_len, 3)
        self.data, self.train_starts, self.test_starts = (series, marks), starts[:96], starts[-24:]

    def batch(self, starts: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Inputs and targets of the windows, as the legacy loader cuts them."""
        args, (series, marks) = self.args, self.data
        known = starts[:, None] + torch.arange(args.seq_len)
        later = starts[:, None] + args.seq_len - args.label_len
        later = later + torch.arange(args.label_len + args.pred_len)
        return series[known], series[later], marks[known], marks[later]

    def process(self, starts: Tensor, **asked: bool) -> tuple[Any, Tensor]:
        """One forward pass, with the horizon of the decoder's input set to 0."""
        batch_x, batch_y, batch_x_mark, batch_y_mark = self.batch(starts)
        dec_inp = torch.zeros_like(batch_y[:, -self.args.pred_len :])
        dec_inp = torch.cat([batch_y[:, : self.args.label_len], dec_inp], dim=1)
        outputs = self.model(batch_x, batch_x_mark, dec_inp, batch_y_mark, **asked)
        return outputs, batch_y[:, -self.args.pred_len :]

    def criterion(self) -> Any:
        """Squared error, or the model's own loss where it has one."""
        if hasattr(self.model, "quantile_loss"):
            return self.model.quantile_loss
        if hasattr(self.model, "configure_optimizer_loss"):
            return self.model.configure_optimizer_loss(nn.MSELoss())
        return nn.MSELoss()

    def train(self) -> list[float]:
        """Mean training loss by epoch."""
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.args.learning_rate)
        criterion, losses = self.criterion(), []
        for _ in range(self.args.train_epochs):
            self.model.train()
            total = 0.0
            for starts in self.train_starts.split(self.args.batch_size):
                optimizer.zero_grad()
                outputs, truth = self.process(starts)
                loss = criterion(outputs, truth)
                loss.backward()
                optimizer.step()
                total += float(loss.detach()) * len(starts)
            losses.append(total / len(self.train_starts))
        return losses

    @torch.no_grad()
    def test(self) -> dict[str, float]:
        """Squared error of the point forecast, and what the intervals cover."""
        self.model.eval()
        outputs, truth = self.process(self.test_starts)
        if outputs.shape[-1] != truth.shape[-1]:  # target-major quantiles
            outputs = outputs.unflatten(-1, (truth.shape[-1], -1))
            outputs = outputs[..., outputs.shape[-1] // 2]
        found = {"mse": float((outputs - truth).square().mean())}
        if "Bayesian" in self.args.model and "Quantile" not in self.args.model:
            report, _ = self.process(self.test_starts, return_uncertainty=True)
            band = report["confidence_intervals"]["95%"]
            inside = (band["lower"] <= truth) & (truth <= band["upper"])
            found["covered by 95 %"] = float(inside.float().mean())
        return found


def made_up(length: int, channels: int) -> tuple[Tensor, Tensor]:
    """Waves with noise [N, C] and hourly calendar features [N, 4]."""
    generator = torch.Generator().manual_seed(0)
    hours = torch.arange(length)
    waves = [torch.sin(2 * math.pi * hours / (12 + 6 * place)) for place in range(channels)]
    noise = torch.randn(length, channels, generator=generator)
    days = torch.div(hours, 24, rounding_mode="floor")
    marks = [hours % 24 / 23, days % 7 / 6, days % 30 / 29, days % 365 / 364]
    return torch.stack(waves, dim=1) + 0.3 * noise, torch.stack(marks, dim=1) - 0.5


def main(given: list[str]) -> dict[str, float]:
    """Train and test; print and return what was found."""
    torch.manual_seed(0)
    exp = Exp(arguments(given))
    losses = exp.train()
    found = {"first loss": losses[0], "last loss": losses[-1], **exp.test()}
    told = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
    sys.stdout.write(f"{exp.args.model}: {told}\n")
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
