"""The text side, locked: all-MiniLM-L6-v2, the starter embedding model, with the states of every token.

A BERT encoder of six layers, read from its published safetensors and vocabulary. What the painter takes from it
are the last layer's token states and, as the sentence's vector, their mean made unit length.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from freehold.engines.painter_words import MAX_TOKENS, Words

WIDTH = 384
HEADS = 12
LAYERS = 6


class TextEncoder(nn.Module):
    """Token identifiers and mask, batch x MAX_TOKENS, → states, batch x MAX_TOKENS x WIDTH, and unit vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(30522, WIDTH)
        self.positions = nn.Parameter(torch.zeros(MAX_TOKENS, WIDTH))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(_Layer() for _ in range(LAYERS))

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """States, and the sentences' vectors."""
        x = self.norm(self.words(tokens) + self.positions[: tokens.shape[1]])
        bias = (1.0 - mask)[:, None, None, :] * -1e4
        for layer in self.layers:
            x = layer(x, bias)
        mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return x * mask[..., None], functional.normalize(mean, dim=-1)


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.out_norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)
        self.down_norm = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        shape = (x.shape[0], x.shape[1], HEADS, WIDTH // HEADS)
        q, k, v = (part(x).view(shape).transpose(1, 2) for part in (self.query, self.key, self.value))
        weights = torch.softmax(q @ k.transpose(-1, -2) * (WIDTH // HEADS) ** -0.5 + bias, dim=-1)
        mixed = (weights @ v).transpose(1, 2).reshape(x.shape)
        x = self.out_norm(x + self.out(mixed))
        return self.down_norm(x + self.down(functional.gelu(self.up(x))))


_PARTS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "out": "attention.output.dense",
    "out_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "down_norm": "output.LayerNorm",
}


def load_text_encoder(folder: Path) -> tuple[TextEncoder, Words]:
    """The encoder and its vocabulary, from a folder with model.safetensors and vocab.txt.

    Raises:
        FileNotFoundError: one of them is missing.
    """
    stored = load_file(folder / "model.safetensors")
    types = stored["embeddings.token_type_embeddings.weight"][0]
    state = {
        "words.weight": stored["embeddings.word_embeddings.weight"],
        "positions": stored["embeddings.position_embeddings.weight"][:MAX_TOKENS] + types,
        "norm.weight": stored["embeddings.LayerNorm.weight"],
        "norm.bias": stored["embeddings.LayerNorm.bias"],
    }
    for index in range(LAYERS):
        for ours, theirs in _PARTS.items():
            for kind in ("weight", "bias"):
                state[f"layers.{index}.{ours}.{kind}"] = stored[f"encoder.layer.{index}.{theirs}.{kind}"]
    encoder = TextEncoder()
    encoder.load_state_dict(state)
    return encoder.eval().requires_grad_(requires_grad=False), Words((folder / "vocab.txt").read_text(encoding="utf-8"))


@torch.no_grad()
def encode_captions(encoder: TextEncoder, words: Words, captions: Sequence[str], batch: int = 64) -> dict[str, Tensor]:
    """`states` (half precision), `mask` and `sentence` of captions, in their order.

    Captions are encoded by length, so that short ones do not pay for long ones.
    """
    ids, masks = (torch.tensor(rows) for rows in zip(*(words.encode(caption) for caption in captions), strict=True))
    states = torch.zeros(len(captions), MAX_TOKENS, WIDTH, dtype=torch.float16)
    sentence = torch.zeros(len(captions), WIDTH)
    order = masks.sum(1).argsort()
    for rows in order.split(batch):
        most = int(masks[rows].sum(1).max())
        found, vectors = encoder(ids[rows, :most], masks[rows, :most].float())
        states[rows, :most] = found.half()
        sentence[rows] = vectors
    return {"states": states, "mask": masks.half(), "sentence": sentence}
