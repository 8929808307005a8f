"""Value and calendar embeddings of the legacy family."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks.config import MARKS_BY_FREQUENCY, NetworkConfig
from baselines.networks.layers import Dropout, circular_windows

POSITIONS = 5000
CALENDAR_SIZES = {"minute": 4, "hour": 24, "weekday": 7, "day": 32, "month": 13}
CALENDAR_COLUMNS = {"month": 0, "day": 1, "weekday": 2, "hour": 3, "minute": 4}


def sinusoid(positions: int, width: int) -> Tensor:
    """Sine and cosine table [positions, width]; any width, odd ones included."""
    steps = torch.arange(positions, dtype=torch.float32).unsqueeze(1)
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(1e4) / width))
    table = torch.zeros(positions, width)
    table[:, 0::2] = torch.sin(steps * rates)
    table[:, 1::2] = torch.cos(steps * rates)[:, : width // 2]
    return table


class ValueEmbedding(nn.Module):
    """Circular convolution over three neighbouring steps."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.tokenConv = nn.Conv1d(channels, width, 3, bias=False)  # original name
        nn.init.kaiming_normal_(self.tokenConv.weight, mode="fan_in", nonlinearity="leaky_relu")

    def weight(self) -> Tensor:
        """The kernel as a matrix [width, 3 * channels] for windows laid side by side."""
        return self.tokenConv.weight.transpose(1, 2).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, L, channels] to [B, L, width]."""
        return functional.linear(circular_windows(x), self.weight())


class PositionTable(nn.Module):
    """A sinusoid that nothing reads; it is part of every stored checkpoint."""

    pe: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("pe", sinusoid(POSITIONS, width).unsqueeze(0))


class TimeFeatureEmbedding(nn.Module):
    """Linear map of calendar features without bias."""

    def __init__(self, marks: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(marks, width, bias=False)

    def forward(self, marks: Tensor) -> Tensor:
        """Map [B, L, marks] to [B, L, width]."""
        return functional.linear(marks, self.embed.weight)


class FixedEmbedding(nn.Module):
    """Lookup in a sinusoid that is not trained."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(size, width)
        self.emb.weight = nn.Parameter(sinusoid(size, width), requires_grad=False)

    def forward(self, index: Tensor) -> Tensor:
        """Map whole numbers [B, L] to [B, L, width]."""
        embedded: Tensor = self.emb(index)
        return embedded.detach()


class CalendarEmbedding(nn.Module):
    """Sum of one lookup per calendar part: month, day, weekday, hour, and minute for freq t."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        table = FixedEmbedding if config.embed == "fixed" else nn.Embedding
        self.parts = [part for part in CALENDAR_SIZES if part != "minute" or config.freq == "t"]
        for part in self.parts:
            self.add_module(f"{part}_embed", table(CALENDAR_SIZES[part], config.d_model))

    def forward(self, marks: Tensor) -> Tensor:
        """Map whole-number marks [B, L, parts] to [B, L, width]."""
        index = marks.long()
        total = torch.zeros((), device=marks.device)
        for part in self.parts:
            total = total + self.get_submodule(f"{part}_embed")(index[..., CALENDAR_COLUMNS[part]])
        return total


class DataEmbedding(nn.Module):
    """Value plus calendar embedding, no position."""

    def __init__(self, channels: int, config: NetworkConfig) -> None:
        super().__init__()
        self.value_embedding = ValueEmbedding(channels, config.d_model)
        self.position_embedding = PositionTable(config.d_model)
        self.temporal_embedding: TimeFeatureEmbedding | CalendarEmbedding
        if config.embed == "timeF":
            marks = MARKS_BY_FREQUENCY[config.freq]
            self.temporal_embedding = TimeFeatureEmbedding(marks, config.d_model)
        else:
            self.temporal_embedding = CalendarEmbedding(config)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, marks: Tensor | None) -> Tensor:
        """Embed values [B, L, channels] with marks [B, L, m] or None into [B, L, width]."""
        if marks is not None and isinstance(self.temporal_embedding, TimeFeatureEmbedding):
            columns = torch.cat([circular_windows(x), marks], dim=-1)
            maps = (self.value_embedding.weight(), self.temporal_embedding.embed.weight)
            embedded = functional.linear(columns, torch.cat(maps, dim=-1))
        else:
            embedded = self.value_embedding(x)
            embedded = embedded if marks is None else embedded + self.temporal_embedding(marks)
        dropped: Tensor = self.dropout(embedded)
        return dropped
