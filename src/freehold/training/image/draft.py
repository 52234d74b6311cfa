"""The draft: what a picture vector looks like on average, by a small generator of convolutions.

The decoder's flow may begin from a noisy draft instead of from noise alone (SDEdit, arXiv 2108.01073): where it has
seen too little to find the outlines itself, they are there already. Several times cheaper to train than the decoder.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from freehold.training.image.prior import SCALE
from freehold.training.image.text_encoder import WIDTH


class Draft(nn.Module):
    """Unit picture vectors, batch x WIDTH, → pictures, batch x 3 x 64 x 64 in -1..1."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Sequential(nn.Linear(WIDTH, 512), nn.SiLU(), nn.Linear(512, 16 * 192))
        self.coarse = nn.Conv2d(192, 256, 3, padding=1)
        self.middle = nn.Conv2d(64, 192, 3, padding=1)
        self.fine = nn.Conv2d(48, 96, 3, padding=1)
        self.out = nn.Conv2d(96, 48, 3, padding=1)

    def forward(self, vector: Tensor) -> Tensor:
        """The pictures."""
        x = functional.silu(self.into(vector * SCALE).unflatten(1, (192, 4, 4)))
        x = functional.silu(functional.pixel_shuffle(self.coarse(x), 2))
        x = functional.silu(functional.pixel_shuffle(self.middle(x), 2))
        return functional.pixel_shuffle(self.out(functional.silu(self.fine(x))), 4)


def draft_loss(draft: nn.Module, pictures: Tensor, vectors: Tensor, draw: torch.Generator) -> Tensor:
    """Squared and absolute error; the vectors are spoilt a little, as the prior's are."""
    noise = 0.016 * torch.randn(vectors.shape, generator=draw) * torch.rand(len(vectors), 1, generator=draw)
    away = draft(functional.normalize(vectors + noise, dim=-1)) - pictures
    return away.square().mean() + 0.3 * away.abs().mean()
