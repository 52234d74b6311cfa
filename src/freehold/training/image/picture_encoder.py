"""The picture encoder: a small residual convolutional network from a picture to a unit vector beside its caption's.

It is CLIP's picture side (arXiv 2103.00020) with the text side locked (LiT, arXiv 2111.07991).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from freehold.training.image.text_encoder import WIDTH

ALIKE = 0.985
"""Captions whose vectors are nearer than this say the same."""


class PictureEncoder(nn.Module):
    """Pictures, batch x 3 x 64 x 64 in -1..1, → unit vectors, batch x WIDTH. Looks at them at 32 x 32."""

    def __init__(self, widths: tuple[int, int, int] = (32, 96, 192)) -> None:
        super().__init__()
        first, second, third = widths
        self.stem = nn.Conv2d(12, first, 3, padding=1)
        self.fine = Residual(first)
        self.down = nn.Conv2d(first, second, 2, stride=2)
        self.middle = nn.Sequential(Residual(second), Residual(second))
        self.down_again = nn.Conv2d(second, third, 2, stride=2)
        self.coarse = nn.Sequential(Residual(third), Residual(third))
        self.head = nn.Sequential(nn.Linear(16 * third, WIDTH))
        self.temperature = nn.Parameter(torch.tensor(2.7))

    def forward(self, pictures: Tensor) -> Tensor:
        """The vectors."""
        x = functional.pixel_unshuffle(functional.avg_pool2d(pictures, 2), 2)
        x = self.fine(self.stem(x))
        x = self.middle(self.down(x))
        x = self.coarse(self.down_again(x))
        return functional.normalize(self.head(functional.silu(x).flatten(1)), dim=-1)

    def scale(self) -> Tensor:
        """The factor of the contrast's logits."""
        return self.temperature.exp().clamp(max=60.0)


class Residual(nn.Module):
    """Two convolutions on top of what comes in; batch x width x height x width' of any size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
        self.second = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """The same with what was found added."""
        return x + self.second(self.first(x))


def contrast(pictures: Tensor, texts: Tensor, swapped: Tensor, has_swapped: Tensor, scale: Tensor) -> Tensor:
    """The contrastive loss, both ways; captions that say nearly the same are not held against each other.

    Args:
        pictures: unit vectors, batch x width.
        texts: of their captions.
        swapped: of the captions with the two objects exchanged; a further wrong answer for their own picture.
        has_swapped: whether there is one, batch.
        scale: the logits' factor.
    """
    likeness = pictures @ texts.T
    same = (texts @ texts.T > ALIKE) & ~torch.eye(len(texts), dtype=torch.bool, device=texts.device)
    logits = (likeness * scale).masked_fill(same, -1e4)
    wrong = ((pictures * swapped).sum(1) * scale).masked_fill(~has_swapped, -1e4)
    target = torch.arange(len(texts), device=texts.device)
    by_picture = functional.cross_entropy(torch.cat([logits, wrong[:, None]], 1), target)
    return (by_picture + functional.cross_entropy(logits.T, target)) / 2
