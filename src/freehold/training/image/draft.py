"""The draft: what a picture vector looks like, by a small generator of convolutions.

It is trained together with the picture encoder, so that the vector holds what is needed to paint the picture again:
which object stands where, on what. The decoder paints over the draft; where it has seen too little to find outlines
from noise itself, they are there already. Several times cheaper to train than the decoder.
"""

from torch import Tensor, nn

from freehold.training.image.picture_encoder import Residual
from freehold.training.image.prior import SCALE
from freehold.training.image.text_encoder import WIDTH

COARSE, MIDDLE, FINE = 256, 128, 64
"""Channels at 4 x 4, 8 x 8 and 16 x 16."""


class Draft(nn.Module):
    """Unit picture vectors, batch x WIDTH, → pictures, batch x 3 x 64 x 64 in -1..1."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Sequential(nn.Linear(WIDTH, 640), nn.SiLU(), nn.Linear(640, 16 * COARSE))
        self.coarse = nn.Sequential(Residual(COARSE), nn.Conv2d(COARSE, 4 * MIDDLE, 1), nn.PixelShuffle(2))
        self.middle = nn.Sequential(Residual(MIDDLE), nn.Conv2d(MIDDLE, 4 * FINE, 1), nn.PixelShuffle(2))
        self.fine = nn.Sequential(Residual(FINE), nn.SiLU(), nn.Conv2d(FINE, 96, 3, padding=1), nn.PixelShuffle(2))
        self.out = nn.Sequential(nn.SiLU(), nn.Conv2d(24, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, vector: Tensor) -> Tensor:
        """The pictures."""
        x = self.into(vector * SCALE).unflatten(1, (COARSE, 4, 4))
        found: Tensor = self.out(self.fine(self.middle(self.coarse(x))))
        return found


def draft_loss(painted: Tensor, pictures: Tensor) -> Tensor:
    """Squared and absolute error of what was painted again."""
    away = painted - pictures
    return away.square().mean() + 0.5 * away.abs().mean()
