"""The prior: from a sentence's vector to a picture's, by flow matching (arXiv 2210.02747) with a residual MLP."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from freehold.training.image.text_encoder import WIDTH
from freehold.training.image.timestep import TimeEmbedding

SCALE = WIDTH**0.5
"""Unit vectors times this have elements of variance one, as the flow wants them."""


class Prior(nn.Module):
    """A noisy picture vector, a time and a sentence's unit vector (zero for none) → the clean picture vector."""

    def __init__(self, width: int = 768, blocks: int = 3) -> None:
        super().__init__()
        self.time = TimeEmbedding(width)
        self.text = nn.Linear(WIDTH, width)
        self.into = nn.Linear(WIDTH, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.out = nn.Linear(width, WIDTH)

    def forward(self, noisy: Tensor, time: Tensor, sentence: Tensor) -> Tensor:
        """The clean vectors, times SCALE."""
        about = functional.silu(self.time(time) + self.text(sentence * SCALE))
        x = self.into(noisy)
        for block in self.blocks:
            x = block(x, about)
        return self.out(functional.layer_norm(x, x.shape[-1:]))


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(width, 2 * width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor, about: Tensor) -> Tensor:
        scale, shift = self.modulation(about).chunk(2, dim=-1)
        inner = functional.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
        return x + self.down(functional.gelu(self.up(inner)))


def prior_loss(prior: Prior, vectors: Tensor, sentences: Tensor, draw: torch.Generator) -> Tensor:
    """The flow's loss over a batch of unit picture vectors and the sentences' they belong to."""
    clean = vectors * SCALE
    time = torch.sigmoid(torch.randn(len(clean), 1, generator=draw) - 0.4)
    noise = torch.randn(clean.shape, generator=draw)
    fuzzy = functional.normalize(sentences + 0.012 * torch.randn(sentences.shape, generator=draw), dim=-1)
    kept = (torch.rand(len(clean), 1, generator=draw) > 0.1).float()
    found = prior(time * clean + (1 - time) * noise, time[:, 0], fuzzy * kept)
    return (((found - clean) ** 2).mean(1) / (1 - time[:, 0]).clamp(min=0.1)).mean()
