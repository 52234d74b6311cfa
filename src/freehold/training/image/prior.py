"""The prior: from a caption to a picture vector, by flow matching (arXiv 2210.02747) with a residual MLP.

As in DALL-E 2, it is given the sentence's vector and the tokens of the caption as well: the mean of the tokens of "A
above B" and of "B above A" is nearly the same, their states are not.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from freehold.engines.painter_words import MAX_TOKENS
from freehold.training.image.text_encoder import WIDTH
from freehold.training.image.timestep import TimeEmbedding
from freehold.training.image.transformer import Block

SCALE = WIDTH**0.5
"""Unit vectors times this have elements of variance one, as the flow wants them."""
TEXT = 192
"""Width of the token states within."""
DRAWS = 2
"""Noises and times that one caption is trained with at once, its tokens read once."""
FUZZY = 0.02
"""The most noise that is put on each element of the sentences in training."""
SPOILT = 0.15
"""And of the tokens' states."""


class Prior(nn.Module):
    """A noisy picture vector, a time and a caption (zeros for none) → the clean picture vector, times SCALE."""

    def __init__(self, width: int = 640, blocks: int = 3) -> None:
        super().__init__()
        self.tokens = nn.Linear(WIDTH, TEXT)
        self.places = nn.Parameter(torch.randn(MAX_TOKENS, TEXT) * 0.02)
        self.layers = nn.ModuleList(Block(TEXT, 6, cross=False) for _ in range(2))
        self.time = TimeEmbedding(width)
        self.sentence = nn.Linear(WIDTH, width)
        self.text = nn.Linear(2 * TEXT, width)
        self.into = nn.Linear(WIDTH, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.out = nn.Linear(width, WIDTH)

    def forward(self, noisy: Tensor, time: Tensor, sentence: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """The clean vectors, times SCALE. There may be several in a row for each caption, which is read once."""
        text = self.read(sentence, states, mask)
        several = len(noisy) // len(sentence)
        return self.flow(noisy, time, text if several == 1 else text.repeat_interleave(several, 0))

    def read(self, sentence: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """What the caption says, batch x width: of its vector, its tokens' mean and its first token."""
        x = self.tokens(states) + self.places
        bias = (1.0 - mask)[:, None, None, :] * -1e4
        for layer in self.layers:
            x = layer(x, None, None, bias)
        mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1.0)
        found: Tensor = self.sentence(sentence * SCALE) + self.text(torch.cat([mean, x[:, 0] * mask[:, :1]], -1))
        return found

    def flow(self, noisy: Tensor, time: Tensor, text: Tensor) -> Tensor:
        """The clean vectors for what a caption says."""
        about = functional.silu(self.time(time) + text)
        x = self.into(noisy)
        for block in self.blocks:
            x = block(x, about)
        found: Tensor = self.out(functional.layer_norm(x, x.shape[-1:]))
        return found


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


@dataclass(frozen=True, slots=True)
class CaptionedVectors:
    """What the prior learns from.

    Args:
        vectors: of pictures, unit, batch x WIDTH.
        sentences: of their captions, unit, batch x WIDTH.
        states: of the captions' tokens, batch x MAX_TOKENS x WIDTH.
        mask: of them, batch x MAX_TOKENS.
        kept: chance, from 0 to 1, that decides what of the captions is seen, batch x 1.
        fuzzy: noise on the sentences.
        spoilt: noise on the states.
        time: normal numbers that become times, batch x DRAWS.
        noise: of the flow, batch x DRAWS x WIDTH.
    """

    vectors: Tensor
    sentences: Tensor
    states: Tensor
    mask: Tensor
    kept: Tensor
    fuzzy: Tensor
    spoilt: Tensor
    time: Tensor
    noise: Tensor


def prior_loss(prior: nn.Module, batch: CaptionedVectors) -> Tensor:
    """The flow's loss over a batch of picture vectors and their captions.

    A tenth of the captions is kept back whole and, of the others, the tokens of a quarter: a name that the training
    does not know is understood by the sentence's vector, which is near those of names that mean the same. Both are
    spoilt a little for the same reason.
    """
    told, tokens = (batch.kept > 0.1).float(), (batch.kept > 0.325).float()
    sentences = functional.normalize(batch.sentences + batch.fuzzy, dim=-1) * told
    states = (batch.states + batch.spoilt) * tokens[..., None]
    clean = (batch.vectors * SCALE).repeat_interleave(DRAWS, 0)
    time = torch.sigmoid(batch.time - 0.4).flatten()[:, None]
    noisy = time * clean + (1 - time) * batch.noise.flatten(0, 1)
    found = prior(noisy, time[:, 0], sentences, states, batch.mask * tokens)
    return (((found - clean) ** 2).mean(1) / (1 - time[:, 0]).clamp(min=0.1)).mean()
