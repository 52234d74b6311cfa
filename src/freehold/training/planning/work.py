"""The operations of one micro-batch on one device, counted: what a roofline or a measurement then gives a time.

What is counted is what `freehold.training.language.model` does. A matrix product of n x k by k x m numbers has 2 n k m
operations, and twice as many on the way back (for its input and for its weight). Causal attention over T tokens has
4 T^2 W / 2 on the way there (two products, of which half is masked and not computed), and 2.5 times as many back (Dao,
arXiv 2307.08691: five products instead of two). Everything else is bound by memory: it is counted in numbers that are
read and written.
"""

from dataclasses import dataclass
from math import prod
from typing import Literal

from freehold.training.language.recipes import LanguageRecipe, ModelRecipe

Kind = Literal["product", "attention", "norm", "rotation", "swiglu", "sum", "gradient sum", "embedding", "loss"]

ATTENTION_BACK = 2.5


@dataclass(frozen=True, slots=True)
class Operation:
    """One kind of work on one device, of which there are `count` in a row.

    Args:
        name: what of the model it is.
        kind: how it is measured.
        shape: rows, inner and outer width of a product; batch, heads, heads of keys, length and width of a head of an
            attention; batch, length, heads and width of a head of a rotation; rows and width of the others, with the
            vocabulary between them of an embedding.
        flops: on the way there; on the way back twice as many, or 2.5 times of attention.
        moved: numbers read and written on the way there.
        moved_back: likewise on the way back.
        kernels: launched on the way there and back, if nothing is fused.
        count: how many of these.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    flops: float
    moved: float
    moved_back: float
    kernels: int
    count: int = 1

    @property
    def flops_back(self) -> float:
        """On the way back."""
        return self.flops * (ATTENTION_BACK if self.kind == "attention" else 2)


@dataclass(frozen=True, slots=True)
class Work:
    """What one micro-batch makes one device do.

    Args:
        block: of each layer.
        ends: before the first and after the last layer, once.
    """

    block: tuple[Operation, ...]
    ends: tuple[Operation, ...]


def work_of(recipe: LanguageRecipe, samples: int, tensor: int = 1) -> Work:
    """The operations of a micro-batch on one of the devices that share its matrices.

    Args:
        recipe: of the training.
        samples: of the micro-batch.
        tensor: devices that each matrix is split over; what lies between matrices is split along the sequence.
    """
    model, length = recipe.model, recipe.sequence
    tokens = samples * length
    head = model.width // model.heads
    heads, kv_heads, inner = model.heads // tensor, max(1, model.kv_heads // tensor), model.feed_forward // tensor
    part = tokens // tensor
    block = (
        _product("q", tokens, model.width, heads * head),
        _product("k, v", tokens, model.width, kv_heads * head, count=2),
        _attention(samples, heads, kv_heads, length, head),
        _product("o", tokens, heads * head, model.width),
        _product("gate, up", tokens, model.width, inner, count=2),
        _product("down", tokens, inner, model.width),
        _passes("norms", "norm", (part, model.width), moved=3, back=6, kernels=4, count=2),
        _passes("rotation of queries", "rotation", (samples, length, heads, head), moved=4, back=4, kernels=12),
        _passes("rotation of keys", "rotation", (samples, length, kv_heads, head), moved=4, back=4, kernels=12),
        _passes("SwiGLU", "swiglu", (tokens, inner), moved=5, back=9, kernels=6),
        _passes("residual sums", "sum", (part, model.width), moved=3, back=3, kernels=1, count=2),
        _passes("sums of gradients", "gradient sum", (part, model.width), moved=0, back=3, kernels=1, count=3),
    )
    vocabulary = model.vocabulary // tensor
    ends = (
        Operation("embedding", "embedding", (tokens, model.vocabulary, model.width), 0, 2 * part * model.width,
                  2 * part * model.width + model.vocabulary * model.width, 3),
        _passes("last norm", "norm", (part, model.width), moved=3, back=6, kernels=4),
        _product("head", tokens, model.width, vocabulary),
        Operation("loss", "loss", (tokens, vocabulary), 0, 4.0 * tokens * vocabulary, 5.0 * tokens * vocabulary, 6),
    )  # fmt: skip
    return Work(block, ends)


def multiplied(model: ModelRecipe) -> int:
    """Parameters that each token is multiplied with: all but an embedding that is not the head too."""
    return model.parameters - (0 if model.tied else model.vocabulary * model.width)


def matrix_flops(recipe: LanguageRecipe) -> float:
    """Operations of the whole training in weights: 6 for each token and parameter (Kaplan et al., arXiv 2001.08361)."""
    return 6.0 * multiplied(recipe.model) * recipe.tokens


def attention_flops(recipe: LanguageRecipe) -> float:
    """Those of attention, 12 x layers x width x length a token, as if nothing were masked.

    That is how the share of the peak is counted everywhere (Chowdhery et al., arXiv 2204.02311, appendix B); half of it
    is masked and never computed.
    """
    return 12.0 * recipe.model.layers * recipe.model.width * recipe.sequence * recipe.tokens


def sample_flops(recipe: LanguageRecipe) -> float:
    """Of one sample, forward and backward, weights and attention."""
    return (matrix_flops(recipe) + attention_flops(recipe)) * recipe.sequence / recipe.tokens


def block_parameters(model: ModelRecipe) -> int:
    """Of one layer."""
    return (model.parameters - ends_parameters(model)) // model.layers


def ends_parameters(model: ModelRecipe) -> int:
    """Of embedding, head and last norm."""
    return model.vocabulary * model.width * (1 if model.tied else 2) + model.width


def matrices(model: ModelRecipe) -> tuple[tuple[int, int], ...]:
    """The rows and columns of one layer's matrices."""
    head = model.width // model.heads
    width, inner = model.width, model.feed_forward
    queries, keys = model.heads * head, model.kv_heads * head
    attention = ((queries, width), (keys, width), (keys, width), (width, queries))
    return (*attention, (inner, width), (inner, width), (width, inner))


def _product(name: str, rows: int, inner: int, outer: int, count: int = 1) -> Operation:
    moved = float(rows * inner + inner * outer + rows * outer)
    return Operation(name, "product", (rows, inner, outer), 2.0 * rows * inner * outer, moved, 2 * moved, 3, count)


def _attention(batch: int, heads: int, kv_heads: int, length: int, head: int) -> Operation:
    flops = 4.0 * batch * heads * length * length * head / 2
    moved = 2.0 * batch * length * head * (heads + kv_heads)
    return Operation("attention", "attention", (batch, heads, kv_heads, length, head), flops, moved, 2 * moved, 4)


def _passes(
    name: str, kind: Kind, shape: tuple[int, ...], *, moved: int, back: int, kernels: int, count: int = 1
) -> Operation:
    numbers = float(prod(shape))
    return Operation(name, kind, shape, 0.0, moved * numbers, back * numbers, kernels, count)
