"""A GPT of Llama's architecture in plain PyTorch, with the names of weights that transformers and llama.cpp know.

RMSNorm before each part (Zhang and Sennrich, arXiv 1910.07467), rotary positions in the order of transformers (halves,
not pairs; Su et al., arXiv 2104.09864), SwiGLU (Shazeer, arXiv 2002.05202), grouped queries (Ainslie et al., arXiv
2305.13245), as Touvron et al. put them together (arXiv 2307.09288). The state is that of `LlamaForCausalLM`.

What it does not know: batches of unequal lengths, caches, and how to write; served models do that.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, Self

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import functional

from freehold.training.language import processor
from freehold.training.language.recipes import ModelRecipe, most_logits

DEVIATION: Final = 0.02
"""Of first weights, as in GPT-2."""
LEFT_OUT: Final = -100
"""A target that counts for nothing."""


class GPT(nn.Module):
    """The model.

    Args:
        recipe: its sizes.
    """

    def __init__(self, recipe: ModelRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.model = Blocks(recipe)
        self.lm_head = nn.Linear(recipe.width, recipe.vocabulary, bias=False)
        self._loss: Callable[..., Tensor] = loss
        self._most_logits = most_logits(compiled=False)
        self._tie()

    def _tie(self) -> None:
        if self.recipe.tied:
            self.lm_head.weight = self.model.embed_tokens.weight

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._tie()  # a move from the meta device makes two weights of one
        return self

    def forward(self, tokens: Tensor, targets: Tensor | None = None, reduction: str = "mean") -> Tensor:
        """Logits [batch, length, vocabulary] for tokens [batch, length]; with targets of that shape, their loss.

        The loss is in nats, over all targets that are not LEFT_OUT: their mean, or their sum.
        """
        hidden = self.model(tokens)
        if targets is None:
            return self.lm_head(hidden)
        weight = self.lm_head.weight
        if isinstance(weight, DTensor):  # split by matrices: the head knows how
            return _loss_of_logits(self.lm_head(hidden), targets, reduction)
        rows = max(1, self._most_logits // self.recipe.vocabulary)
        if hidden.is_cuda and targets.numel() > rows:
            return loss_in_pieces(hidden, weight, targets, reduction, rows)
        return self._loss(hidden, weight, targets, reduction)

    def compile_loss(self) -> None:
        """Have the head and the loss compiled, so that logits are written once and read once."""
        self._loss = torch.compile(loss)
        self._most_logits = most_logits(compiled=True)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Give the weights their first values, where they lie: the same for any number of processes.

        Each weight draws from a generator of its own, seeded by its name. Matrices that write into the residual stream
        are smaller, by the root of how many there are (Radford et al., 2019).
        """
        smaller = DEVIATION / math.sqrt(2 * self.recipe.layers)
        for name, weight in self.named_parameters():
            if weight.dim() == 1:
                weight.fill_(1.0)
                continue
            generator = torch.Generator(weight.device).manual_seed(_seed_of(name, seed))
            deviation = smaller if name.endswith(("o_proj.weight", "down_proj.weight")) else DEVIATION
            whole = torch.empty(weight.shape, dtype=weight.dtype, device=weight.device)
            whole.normal_(0.0, deviation, generator=generator)
            if isinstance(weight, DTensor):
                whole = distribute_tensor(whole, weight.device_mesh, weight.placements, src_data_rank=None)
            weight.copy_(whole)

    def flops_per_token(self, length: int) -> float:
        """Floating-point operations of a token in a sequence of that length, forward and backward.

        6 for each weight that is multiplied with, and 12 x width x length a layer for attention, as if it looked at
        all tokens (Chowdhery et al., arXiv 2204.02311, appendix B).
        """
        recipe = self.recipe
        multiplied = recipe.parameters - (0 if recipe.tied else recipe.vocabulary * recipe.width)
        return 6.0 * multiplied + 12.0 * recipe.layers * recipe.width * length


class Blocks(nn.Module):
    """The model below its head."""

    def __init__(self, recipe: ModelRecipe) -> None:
        super().__init__()
        self._head = recipe.width // recipe.heads
        self._theta = recipe.rope_theta
        self.embed_tokens = nn.Embedding(recipe.vocabulary, recipe.width)
        self.layers = nn.ModuleList(Block(recipe) for _ in range(recipe.layers))
        self.norm = RMSNorm(recipe.width, eps=recipe.norm_epsilon)
        self.dropout = nn.Dropout(recipe.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """The last state [batch, length, width] of tokens [batch, length]."""
        hidden = self.embed_tokens(tokens)
        if torch.is_autocast_enabled(hidden.device.type):
            hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
        hidden = self.dropout(hidden)
        cosine, sine = rotation(tokens.shape[1], self._head, self._theta, hidden.device, hidden.dtype)
        for block in self.layers:
            hidden = block(hidden, cosine, sine)
        return self.norm(hidden)


class Block(nn.Module):
    """One layer: attention, then the feed-forward network, each added to what came."""

    def __init__(self, recipe: ModelRecipe) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(recipe.width, eps=recipe.norm_epsilon)
        self.self_attn = Attention(recipe)
        self.post_attention_layernorm = RMSNorm(recipe.width, eps=recipe.norm_epsilon)
        self.mlp = FeedForward(recipe)
        self.dropout = nn.Dropout(recipe.dropout)

    def forward(self, hidden: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """The next state [batch, length, width]."""
        hidden = hidden + self.dropout(self.self_attn(self.input_layernorm(hidden), cosine, sine))
        return hidden + self.dropout(self.mlp(self.post_attention_layernorm(hidden)))


class Attention(nn.Module):
    """Causal attention with rotary positions; several heads of queries may share one of keys and values."""

    def __init__(self, recipe: ModelRecipe) -> None:
        super().__init__()
        head = recipe.width // recipe.heads
        self._head = head
        self._grouped = recipe.kv_heads != recipe.heads
        self._dropout = recipe.dropout
        self.q_proj = nn.Linear(recipe.width, recipe.heads * head, bias=False)
        self.k_proj = nn.Linear(recipe.width, recipe.kv_heads * head, bias=False)
        self.v_proj = nn.Linear(recipe.width, recipe.kv_heads * head, bias=False)
        self.o_proj = nn.Linear(recipe.heads * head, recipe.width, bias=False)

    def forward(self, hidden: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """What each token takes from those before it and itself [batch, length, width]."""
        heads = (*hidden.shape[:2], -1, self._head)
        queries = rotated(self.q_proj(hidden).view(heads).transpose(1, 2), cosine, sine)
        keys = rotated(self.k_proj(hidden).view(heads).transpose(1, 2), cosine, sine)
        values = self.v_proj(hidden).view(heads).transpose(1, 2)
        attend = processor.attended if hidden.device.type == "cpu" else functional.scaled_dot_product_attention
        taken = attend(
            queries,
            keys,
            values,
            dropout_p=self._dropout if self.training else 0.0,
            is_causal=True,
            enable_gqa=self._grouped,
        )
        return self.o_proj(taken.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, recipe: ModelRecipe) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(recipe.width, recipe.feed_forward, bias=False)
        self.up_proj = nn.Linear(recipe.width, recipe.feed_forward, bias=False)
        self.down_proj = nn.Linear(recipe.feed_forward, recipe.width, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """What is made of each token alone [batch, length, width]."""
        return self.down_proj(functional.silu(self.gate_proj(hidden)) * self.up_proj(hidden))


class RMSNorm(nn.RMSNorm):
    """With its weights in the numbers that come: kernels that do all at once want both alike."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Of length 1 a number, then scaled [batch, length, width]."""
        if processor.wanted(hidden):
            return processor.Normalised.apply(hidden, self.weight, self.eps)
        return functional.rms_norm(hidden, self.normalized_shape, self.weight.to(hidden.dtype), self.eps)


@lru_cache(maxsize=8)
def rotation(length: int, head: int, theta: float, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines [length, head / 2] of the angles by which positions turn pairs of numbers."""
    speeds = theta ** (-torch.arange(0, head, 2, dtype=torch.float32, device=device) / head)
    angles = torch.arange(length, dtype=torch.float32, device=device)[:, None] * speeds
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotated(vectors: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Vectors [batch, heads, length, head], each pair (i, i + head / 2) turned by its position's angle."""
    if processor.wanted(vectors):
        return processor.Rotated.apply(vectors, cosine, sine)
    first, second = vectors.chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)


def loss(hidden: Tensor, weight: Tensor, targets: Tensor, reduction: str) -> Tensor:
    """The loss of states [batch, length, width] below a head, in nats: the mean or the sum over targets."""
    return _loss_of_logits(functional.linear(hidden, weight), targets, reduction)


def loss_in_pieces(hidden: Tensor, weight: Tensor, targets: Tensor, reduction: str, rows: int) -> Tensor:
    """As `loss`, with the logits of so many tokens at once; gradients are computed on the way there."""
    with torch.autocast(hidden.device.type, enabled=False):
        return functional.linear_cross_entropy(
            hidden.flatten(0, 1),
            weight.to(hidden.dtype),
            targets.flatten(),
            reduction=reduction,
            options=nn.LinearCrossEntropyOptions(batch_chunk_size=rows, chunking_method=None),
        )


def _loss_of_logits(logits: Tensor, targets: Tensor, reduction: str) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction=reduction)


def built(recipe: ModelRecipe) -> GPT:
    """A model without weights: it knows their shapes, takes no memory, and is given them where it is to lie."""
    with torch.device("meta"):
        return GPT(recipe)


def _seed_of(name: str, seed: int) -> int:
    return int.from_bytes(sha256(f"{seed}:{name}".encode()).digest()[:8], "big") >> 1
