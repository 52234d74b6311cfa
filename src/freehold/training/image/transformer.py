"""The transformer block that the prior reads captions with and the decoder paints with."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """A transformer block: self-attention, cross-attention where it has one, and an MLP."""

    def __init__(self, width: int, heads: int, *, cross: bool) -> None:
        super().__init__()
        self._heads = heads
        self.own = nn.Parameter(torch.zeros(6, width))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.cross = cross
        if cross:
            self.query = nn.Linear(width, width, bias=False)
            self.key_value = nn.Linear(width, 2 * width, bias=False)
            self.cross_out = nn.Linear(width, width)
            nn.init.zeros_(self.cross_out.bias)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))

    def forward(
        self,
        x: Tensor,
        modulation: tuple[Tensor, ...] | None,
        memory: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Tokens, batch x count x width. `bias` hides tokens of the memory or, without one, of `x` itself."""
        own = self.own
        given = modulation or (torch.zeros_like(x[:, :1]),) * 6
        scale, shift, gate, scale_2, shift_2, gate_2 = (part + own[index] for index, part in enumerate(given))
        inner = functional.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
        q, k, v = (self._split(part) for part in self.qkv(inner).chunk(3, dim=-1))
        x = x + (1 + gate) * self.out(self._attend(q, k, v, None if memory is not None else bias))
        if memory is not None:
            k, v = (
                self._split(part)
                for part in self.key_value(functional.layer_norm(memory, memory.shape[-1:])).chunk(2, -1)
            )
            q = self._split(self.query(functional.layer_norm(x, x.shape[-1:])))
            x = x + self.cross_out(self._attend(q, k, v, bias))
        inner = functional.layer_norm(x, x.shape[-1:]) * (1 + scale_2) + shift_2
        found: Tensor = x + (1 + gate_2) * self.mlp(inner)
        return found

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self._heads, -1)).transpose(1, 2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        q, k = (functional.rms_norm(part, part.shape[-1:]) for part in (q, k))
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)
