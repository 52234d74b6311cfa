"""The decoder: an hourglass of convolutions and transformer blocks that paints 64 x 64 pictures by rectified flow.

The noisy picture and the draft (patches of 4 behind a convolution) are 16 x 16 places of few channels, merged to 8 x 8
and to 4 x 4 where most of the work is done, and taken back with skips; convolutions at the end leave no seams. Further
conditions: the time and the picture vector through shared adaLN (PixArt-alpha, arXiv 2310.00426), and by
cross-attention the picture vector and the caption's tokens, which first pass one layer of their own. All of them
together give each of the 4 x 4 places a beginning of its own. The network predicts the clean picture (arXiv
2511.13720).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from freehold.engines.painter_words import MAX_TOKENS
from freehold.training.image.prior import SCALE
from freehold.training.image.text_encoder import WIDTH as TEXT
from freehold.training.image.timestep import TimeEmbedding
from freehold.training.image.transformer import Block

SIDE = 64
FINE = 48
"""Channels at 16 x 16."""
SPOILT = 0.02
"""The most noise that is put on each element of the picture vectors in training."""


class Decoder(nn.Module):
    """Noisy pictures, times, drafts, picture vectors, token states, mask → clean pictures. Zeros are no condition."""

    def __init__(self, width: int = 256, outer: int = 128, blocks: int = 4) -> None:
        super().__init__()
        self.time = TimeEmbedding(width)
        self.vector = nn.Linear(TEXT, width)
        self.vector_tokens = nn.Linear(TEXT, 2 * width)
        self.null = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.text = nn.Linear(TEXT, width)
        self.text_places = nn.Parameter(torch.randn(MAX_TOKENS, width) * 0.02)
        self.text_block = Block(width, 8, cross=False)
        self.modulate = nn.Linear(width, 6 * width)
        self.modulate_outer = nn.Linear(width, 6 * outer)
        self.modulate_fine = nn.Linear(width, 2 * FINE)
        self.stem = nn.Conv2d(96, FINE, 3, padding=1)
        self.stem_again = nn.Conv2d(FINE, FINE, 3, padding=1)
        self.down = nn.Linear(4 * FINE, outer)
        self.outer_places = nn.Parameter(torch.randn(64, outer) * 0.02)
        self.before = Block(outer, 4, cross=False)
        self.merge = nn.Linear(4 * outer, width)
        self.places = nn.Parameter(torch.randn(16, width) * 0.02)
        self.spread = nn.Linear(width, 16 * width)
        self.blocks = nn.ModuleList(Block(width, 8, cross=True) for _ in range(blocks))
        self.unmerge = nn.Linear(width, 4 * outer)
        self.join = nn.Linear(2 * outer, outer)
        self.after = Block(outer, 4, cross=False)
        self.up = nn.Linear(outer, 4 * FINE)
        self.head = nn.Conv2d(2 * FINE, 64, 3, padding=1)
        self.head_again = nn.Conv2d(64, 64, 3, padding=1)
        self.wide = nn.Conv2d(64, 96, 3, padding=1)
        self.out = nn.Conv2d(24, 12, 3, padding=1)
        nn.init.zeros_(self.out.weight)

    def forward(
        self, noisy: Tensor, time: Tensor, draft: Tensor, vector: Tensor, states: Tensor, mask: Tensor
    ) -> Tensor:
        """The clean pictures, batch x 3 x SIDE x SIDE."""
        vector = vector * SCALE
        memory, bias, summary = self._memory(vector, states, mask)
        about = functional.silu(self.time(time) + self.vector(vector) + summary)
        inner = self.modulate(about).unflatten(-1, (6, 1, -1)).unbind(1)
        outer = self.modulate_outer(about).unflatten(-1, (6, 1, -1)).unbind(1)
        scale, shift = self.modulate_fine(about)[:, :, None, None].chunk(2, dim=1)
        fine = self.stem(functional.pixel_unshuffle(torch.cat([noisy, draft], dim=1), 4))
        fine = fine + self.stem_again(functional.silu(fine * (1 + scale) + shift))
        skip = self.down(_tokens(functional.pixel_unshuffle(fine, 2))) + self.outer_places
        skip = self.before(skip, outer)
        x = self.merge(_tokens(functional.pixel_unshuffle(_grid(skip, 8), 2))) + self.places
        x = x + self.spread(about).unflatten(-1, (16, -1))
        for block in self.blocks:
            x = block(x, inner, memory, bias)
        x = _tokens(functional.pixel_shuffle(_grid(self.unmerge(x), 4), 2))
        x = self.after(self.join(torch.cat([x, skip], dim=-1)), outer)
        up = functional.pixel_shuffle(_grid(self.up(x), 8), 2)
        x = functional.silu(self.head(torch.cat([up, fine], dim=1)))
        x = x + functional.silu(self.head_again(x))
        x = functional.silu(functional.pixel_shuffle(self.wide(x), 2))
        return draft + functional.pixel_shuffle(self.out(x), 2)

    def _memory(self, vector: Tensor, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the blocks look at, what hides the empty places, and the caption's mean."""
        bias = (1.0 - mask)[:, None, None, :] * -1e4
        text = self.text_block(self.text(states) + self.text_places, None, None, bias)
        summary = (text * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1.0)
        whole = torch.cat(
            [self.null.expand(len(text), 1, -1), self.vector_tokens(vector).unflatten(-1, (2, -1)), text], 1
        )
        return whole, functional.pad(bias, (3, 0)), summary


def _tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def _grid(x: Tensor, side: int) -> Tensor:
    return x.transpose(1, 2).unflatten(2, (side, side))


@dataclass(frozen=True, slots=True)
class NoisyPictures:
    """What the decoder learns from.

    Args:
        pictures: clean, batch x 3 x SIDE x SIDE, from -1 to 1.
        states: of the captions' tokens.
        mask: of them, batch x MAX_TOKENS.
        time: of the flow, batch.
        noise: like the pictures.
        drop: chance, from 0 to 1, that decides which conditions are seen, batch.
        spoilt: noise on the picture vectors, batch x TEXT.
    """

    pictures: Tensor
    states: Tensor
    mask: Tensor
    time: Tensor
    noise: Tensor
    drop: Tensor
    spoilt: Tensor


def decoder_loss(decoder: nn.Module, draft: nn.Module, vector: Tensor, batch: NoisyPictures) -> Tensor:
    """The flow's loss over a batch. A tenth sees neither caption nor picture vector; others one of them, most both.

    Args:
        decoder: what learns.
        draft: paints the picture vectors roughly; it stays as it is.
        vector: of the clean pictures.
        batch: all that is drawn.
    """
    at, drop = batch.time[:, None, None, None], batch.drop
    text = (drop >= 0.25).float()[:, None]
    shown = ((drop >= 0.10) & ((drop < 0.25) | (drop >= 0.35))).float()[:, None]
    seen = functional.normalize(vector + batch.spoilt, dim=-1)
    with torch.no_grad():
        drafts = draft(seen) * shown[:, :, None, None]
    noisy = at * batch.pictures + (1 - at) * batch.noise
    found = decoder(noisy, batch.time, drafts, seen * shown, batch.states * text[..., None], batch.mask * text)
    return ((found - batch.pictures).square().mean((1, 2, 3)) / (1 - batch.time).clamp(min=0.2)).mean()
