"""The up-sampler: four times the side, by a small convolutional network on top of a bicubic enlargement.

Trained to undo what the decoder leaves: small pictures are blurred and made noisy before it sees them.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

FACTOR = 4


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


def upsampler_loss(upsampler: nn.Module, large: Tensor, draw: torch.Generator) -> Tensor:
    """Mean absolute error over a batch of large pictures and their spoilt small ones."""
    small = functional.avg_pool2d(large, FACTOR)
    blurred = functional.avg_pool2d(functional.pad(small, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    mix = torch.rand(len(small), 1, 1, 1, generator=draw) * 0.8
    noise = 0.06 * torch.randn(small.shape, generator=draw) * torch.rand(len(small), 1, 1, 1, generator=draw)
    return (upsampler(small + mix * (blurred - small) + noise) - large).abs().mean()
