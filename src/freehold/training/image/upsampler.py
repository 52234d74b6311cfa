"""The up-sampler: four times the side, by a small convolutional network on top of a bicubic enlargement.

Trained to undo what the decoder leaves: small pictures are blurred and made noisy before it sees them.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

FACTOR = 4
SIDE = 256
"""Of the large pictures."""
PIECE = 128
"""Side of what is cut out of them."""
BLUR = 0.8
"""How far small pictures are blurred in training, at most."""
NOISE = 0.06
"""The most noise that is put on them."""


class Upsampler(nn.Module):
    """Pictures in -1..1, batch x 3 x height x width, → the same four times as large."""

    def __init__(self, width: int = 32, layers: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(layers))
        self.out = nn.Conv2d(width, 3 * FACTOR**2, 3, padding=1)
        nn.init.zeros_(self.out.weight)

    def forward(self, small: Tensor) -> Tensor:
        """The large pictures."""
        x = self.stem(small)
        for layer in self.layers:
            x = x + layer(functional.silu(x))
        large = functional.interpolate(small, scale_factor=FACTOR, mode="bicubic", align_corners=False)
        return large + functional.pixel_shuffle(self.out(functional.silu(x)), FACTOR)


@dataclass(frozen=True, slots=True)
class LargePictures:
    """What the up-sampler learns from: pieces of large pictures, and how their small ones are spoilt.

    Args:
        large: batch x 3 x PIECE x PIECE, from -1 to 1.
        blur: how far the small ones are blurred, from 0 to 1, batch x 1 x 1 x 1.
        noise: what is put on top of them, batch x 3 x PIECE / FACTOR x PIECE / FACTOR.
    """

    large: Tensor
    blur: Tensor
    noise: Tensor


def upsampler_loss(upsampler: nn.Module, batch: LargePictures) -> Tensor:
    """Mean absolute error over a batch of large pictures and their spoilt small ones."""
    small = functional.avg_pool2d(batch.large, FACTOR)
    blurred = functional.avg_pool2d(functional.pad(small, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    found: Tensor = upsampler(small + batch.blur * (blurred - small) + batch.noise)
    return (found - batch.large).abs().mean()
