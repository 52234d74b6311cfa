"""A flow's time, from 0 (noise) to 1 (picture), as a vector."""

import math

import torch
from torch import Tensor, nn


class TimeEmbedding(nn.Module):
    """Times, batch, → batch x width: sines and cosines through a small MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.frequencies = nn.Buffer(torch.exp(torch.linspace(0.0, math.log(200.0), 32)), persistent=False)
        self.inner = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, time: Tensor) -> Tensor:
        """The vectors."""
        angle = time[:, None] * self.frequencies
        found: Tensor = self.inner(torch.cat([angle.sin(), angle.cos()], dim=-1))
        return found
