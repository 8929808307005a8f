"""HFBayesianAutoformer: the legacy forward contract on a pretrained Chronos model.

Here too: which backbone serves which kind of Chronos, and how a network is saved in a folder (the
backbone as a Chronos checkpoint, beside it what the network was told).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from candidates.replacement.backbone_input import History
from candidates.replacement.legacy_layouts import DEFAULT_LEVELS, report, target_major
from candidates.replacement.levels import pinball
from candidates.replacement.loading import family_of, load_pipeline
from candidates.replacement.options import (
    Layout,
    Options,
    fields_of,
    read_options,
)
from candidates.replacement.quantile_backbones import Bolt, Chronos2
from candidates.replacement.sampling import T5
from harness.errors import ArmError

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


class Remembered:
    """Holds one tensor; copies and pickles are empty, because a graph cannot be copied."""

    def __init__(self) -> None:
        self.quantiles: Tensor | None = None

    def take(self) -> Tensor | None:
        """Give the tensor away."""
        found, self.quantiles = self.quantiles, None
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return Remembered, ()


Inputs = tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]
Criterion = Callable[[Tensor, Tensor], Tensor]
TRAINED = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Levels the distribution is trained on where the backbone has none of its own."""


class HFBayesianAutoformer(nn.Module):
    """Drop-in for BayesianEnhancedAutoformer whose uncertainty is the backbone's distribution.

    Targets are the first of the input channels, or the last with `features` MS. Univariate
    backbones (Chronos-T5, Chronos-Bolt) forecast each target from its own history. Chronos-2
    forecasts all targets of a window together; it reads the other channels as past covariates,
    ahead where `x_dec` gives them (rows that are all 0 are not known), and the calendar marks
    ahead.

    In training mode the answer has a graph into the backbone, in evaluation mode none.

    Parameters
    ----------
    config
        Mapping or namespace under the originals' field names; copied. `seq_len`, `pred_len`,
        `enc_in` and `c_out` are needed; sizes of the legacy layers are ignored.
    **options
        See `Options`. Each may also be a field of the config, as `hf_backbone`.

    Raises
    ------
    ReplacementConfigError
        Names the field or option.
    ArmError
        When the backbone is not there.
    """

    def __init__(self, config: object, **options: Any) -> None:
        super().__init__()
        values = fields_of(config)
        self.layout = Layout.read(values)
        self.options = read_options(values, options, self.layout)
        self.quantiles = self.layout.output_levels
        self.backbone = backbone_of(load_pipeline(self.options.source), self.options)
        if self.options.freeze_backbone:
            freeze_all_but_head(self.backbone)
        self._last = Remembered()

    @property
    def reads_covariates(self) -> bool:
        """Whether channels that are no targets, and the calendar, are read at all."""
        return self.backbone.reads_covariates

    @property
    def reads_tokens(self) -> bool:
        """Whether the history is rounded to tokens."""
        return self.backbone.reads_tokens

    @property
    def draws_tokens(self) -> bool:
        """Whether paths are drawn token by token, so that under the same draws they jump."""
        return self.backbone.draws_tokens

    def forward(
        self,
        x_enc: Tensor,
        x_mark_enc: Tensor | None,
        x_dec: Tensor | None,
        x_mark_dec: Tensor | None,
        return_uncertainty: bool | Tensor | None = False,
        detailed_uncertainty: bool = False,
    ) -> Tensor | dict[str, Any]:
        """Forecast the horizon, or describe its distribution.

        Parameters
        ----------
        x_enc : [B, T, enc_in]
            History; NaN where a value is missing.
        x_mark_enc : [B, T, m], optional
        x_dec : [B, Λ + P, enc_in], optional
            Its last P rows are read, of channels that are no targets.
        x_mark_dec : [B, Λ + P, m], optional
        return_uncertainty
            The fifth positional argument. A tensor there is a mask, as the sibling models take
            it: like them, this one has no use for it.
        detailed_uncertainty
            Adds to the report.

        Returns
        -------
        [B, pred_len, c_out]: medians, or quantiles target-major; or the dict of `report`.

        Raises
        ------
        ValueError
            When shapes do not fit, or a target has no value at all.
        """
        inputs = (x_enc, x_mark_enc, x_dec, x_mark_dec)
        with torch.set_grad_enabled(self.training and torch.is_grad_enabled()):
            history = self.history(inputs)
            if not isinstance(return_uncertainty, bool) or not return_uncertainty:
                return self._forecast(history)
            return report(
                lambda levels: self.backbone.quantiles(history, levels),
                own=self.backbone.levels,
                named=self.layout.levels or DEFAULT_LEVELS,
                output=self.quantiles,
                detailed=detailed_uncertainty,
            )

    def history(self, inputs: Inputs) -> History:
        """Take the inputs apart into what the backbone reads; they are left as they are."""
        x_enc, x_mark_enc, x_dec, x_mark_dec = inputs
        layout, where = self.layout, self.options.target_columns
        if x_enc.dim() != 3 or x_enc.shape[2] != layout.enc_in or not x_enc.shape[1]:
            shape = list(x_enc.shape)
            raise ValueError(f"x_enc has shape {shape}, expected [B, T, {layout.enc_in}]")
        channels = x_enc.transpose(1, 2)
        if where == "last":
            channels = channels.roll(layout.targets, dims=1)
        targets, others = channels[:, : layout.targets], channels[:, layout.targets :]
        if bool(targets.isnan().all(dim=-1).any()):
            raise ValueError("x_enc: a target has no value at all in some window")
        known = others.new_full((*others.shape[:2], layout.pred_len), torch.nan)
        if x_dec is not None and layout.targets != layout.enc_in:
            steps, width = layout.pred_len, layout.enc_in
            if x_dec.dim() != 3 or x_dec.shape[1] < steps or x_dec.shape[2] != width:
                raise ValueError(
                    f"x_dec has shape {list(x_dec.shape)}, expected [B, label_len + {steps}, "
                    f"{width}]"
                )
            rows = x_dec[:, -steps:].transpose(1, 2)
            known = rows[:, layout.targets :] if where == "first" else rows[:, : -layout.targets]
            # NaN for rows that are all 0: not known
            known = torch.where((known != 0).any(dim=-1, keepdim=True), known, torch.nan)
        covariates, ahead = [others], [known]
        if x_mark_enc is not None and x_mark_dec is not None:
            covariates.append(x_mark_enc.transpose(1, 2))
            ahead.append(x_mark_dec[:, -layout.pred_len :].transpose(1, 2))
        return History(
            targets=targets,
            covariates=torch.cat([part.to(x_enc.dtype) for part in covariates], dim=1),
            ahead=torch.cat([part.to(x_enc.dtype) for part in ahead], dim=1),
            horizon=layout.pred_len,
        )

    def _forecast(self, history: History) -> Tensor:
        if self.quantiles:
            found = self.backbone.quantiles(history, self.quantiles)
            return target_major(found.unbind(-1))
        if not (self.training and torch.is_grad_enabled()):
            return self.backbone.quantiles(history, (0.5,))[..., 0]
        levels = self._trained_levels()
        found = self.backbone.quantiles(history, levels)
        self._last.quantiles = found
        return found[..., levels.index(0.5)]

    def _trained_levels(self) -> tuple[float, ...]:
        return tuple(sorted({0.5, *(self.backbone.levels or TRAINED)}))

    def compute_loss(
        self,
        prediction: Tensor,
        target: Tensor,
        criterion: Criterion,
        return_components: bool = False,
    ) -> Tensor | dict[str, Tensor]:
        """Criterion on the forecast, plus the quantile loss of the distribution behind it.

        The distribution is that of the last forecast in training mode; in evaluation mode, and
        in quantile mode, where the forecast is the distribution, the criterion stands alone.
        There is no KL term.

        Raises
        ------
        ValueError
            When the target is not as wide as the last forecast.
        """
        data = criterion(prediction, target)
        behind = self._last.take() if self.training and not self.quantiles else None
        own = torch.zeros_like(data)
        if behind is not None:
            if behind.shape[:-1] != target.shape:
                raise ValueError(
                    f"target has shape {list(target.shape)}, the last forecast "
                    f"{list(behind.shape[:-1])}"
                )
            own = pinball(behind, target, self._trained_levels())
        if return_components:
            return {"data_loss": data, "distribution_loss": own, "total_loss": data + own}
        return data + own

    def configure_optimizer_loss(self, criterion: Criterion) -> Callable[[Tensor, Tensor], Any]:
        """The criterion with the quantile loss added, for a training loop that knows none."""
        return lambda prediction, target: self.compute_loss(prediction, target, criterion)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the backbone, as a Chronos checkpoint of its own, and this network's fields."""
        save(self, Path(folder))

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> HFBayesianAutoformer:
        """Read what `save_pretrained` wrote; options replace the stored ones.

        Raises
        ------
        ArmError
            When the folder holds none.
        """
        config, kept = stored(Path(folder))
        return cls(config, **{**kept, **options, "backbone": str(folder)})


Model = HFBayesianAutoformer


FILE = "replacement.json"
_SCHEMA = 1


def save(network: HFBayesianAutoformer, folder: Path) -> None:
    """Write both; the folder is also what `backbone` and chronos-forecasting take."""
    model: Any = network.backbone.model
    model.save_pretrained(folder)
    layout, options = dataclasses.asdict(network.layout), dataclasses.asdict(network.options)
    config = {
        **{name: layout[name] for name in ("seq_len", "pred_len", "enc_in", "c_out")},
        "c_out_evaluation": layout["targets"],
        "quantile_levels": list(layout["levels"]),
    }
    kept = {n: v for n, v in options.items() if n not in ("backbone", "revision", "device")}
    text = json.dumps({"schema": _SCHEMA, "config": config, "options": kept}, indent=2)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def stored(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Config and options of a folder.

    Raises
    ------
    ArmError
        When there are none, or of another schema.
    """
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise ArmError(f"{folder}: no readable {FILE}: {problem}") from None
    if not isinstance(found, dict) or found.get("schema") != _SCHEMA:
        raise ArmError(f"{folder / FILE}: expected schema {_SCHEMA}")
    return found["config"], found["options"]
