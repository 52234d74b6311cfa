"""Three functions of the model as processors are quick at: few passes over memory, and attention in float32.

There each operation reads and writes memory, and what autograd makes of many small ones costs a tenth of a small
model's step. Compiled and on GPUs the plain forms are as quick.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def wanted(tensor: Tensor) -> bool:
    """Whether a tensor is better served here: plain, on a processor, in float32, and not being compiled."""
    plain = type(tensor) is Tensor and tensor.dtype == torch.float32 and tensor.device.type == "cpu"
    return plain and not torch.compiler.is_compiling()


def attended(queries: Tensor, keys: Tensor, values: Tensor, **options: Any) -> Tensor:
    """Attention in float32: on the way back PyTorch's in bfloat16 takes four times as long for short sequences."""
    with torch.autocast("cpu", enabled=False):
        return functional.scaled_dot_product_attention(queries.float(), keys.float(), values.float(), **options)


class Rotated(torch.autograd.Function):
    """Vectors [batch, heads, length, head], each pair (i, i + head / 2) turned by its position's angle."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Turned one way."""
        ctx.save_for_backward(cosine, sine)
        return _turned(vectors, cosine, sine, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Turned the other way."""
        cosine, sine = ctx.saved_tensors
        return _turned(gradient, cosine, sine, -1), None, None


class Normalised(torch.autograd.Function):
    """Vectors [..., width] brought to a mean square of 1, then scaled by weights [width]."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """That is x w / root(mean(x²) + epsilon)."""
        width = vectors.shape[-1]
        length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        factor = length.square_().div_(width).add_(epsilon).rsqrt_()
        unit = vectors * factor
        ctx.save_for_backward(unit, factor, weight)
        return unit * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """Of the unit vectors what does not lengthen them; of the weights the sum over all vectors."""
        unit, factor, weight = ctx.saved_tensors
        product = gradient * unit
        of_weight = product.flatten(0, -2).sum(0)
        along = (product @ weight).div_(unit.shape[-1]).unsqueeze_(-1)
        return (gradient * weight).addcmul_(unit, along, value=-1).mul_(factor), of_weight, None


def _turned(vectors: Tensor, cosine: Tensor, sine: Tensor, way: int) -> Tensor:
    made = torch.empty_like(vectors)
    (first, second), (one, other) = vectors.chunk(2, dim=-1), made.chunk(2, dim=-1)
    torch.mul(first, cosine, out=one).addcmul_(second, sine, value=-way)
    torch.mul(second, cosine, out=other).addcmul_(first, sine, value=way)
    return made
