"""Layers, width and heads for a number of parameters, in the proportions of the GPT-3 paper.

Table 2.1 of Brown et al. (arXiv 2005.14165) gives eight sizes. In Llama's architecture a block has 4 W^2 numbers for
attention, as there, and 3 W F for the feed-forward layer: with F = 8/3 W as many as there, so the sizes come out alike.
"""

from itertools import pairwise
from math import exp, log
from typing import Final

from freehold.errors import ConfigError
from freehold.training.language.recipes import ModelRecipe

VOCABULARY: Final = 50_304
"""Those of GPT-2 and GPT-3, 50,257, rounded up to a multiple of 64, which devices can split."""
CONTEXT: Final = 2048
LEAST: Final = 100_000
"""Parameters; nothing smaller is a language model."""

GPT3: Final = (
    (125e6, 12, 768, 64, 0.5e6),
    (350e6, 24, 1024, 64, 0.5e6),
    (760e6, 24, 1536, 96, 0.5e6),
    (1.3e9, 24, 2048, 128, 1e6),
    (2.7e9, 32, 2560, 80, 1e6),
    (6.7e9, 32, 4096, 128, 2e6),
    (13e9, 40, 5120, 128, 2e6),
    (175e9, 96, 12288, 128, 3.2e6),
)
"""Parameters, layers, width, width of a head, and tokens of a batch; the 13 B model's printed width, 5140, is not 40
heads of 128, and is taken as 5120."""

_ASPECT_WEIGHT: Final = 0.1
"""What a departure from the paper's width by layers counts against one from the parameters, both as logarithms."""


def model_of(parameters: float, vocabulary: int = VOCABULARY, context: int = CONTEXT) -> ModelRecipe:
    """The model whose number of parameters comes nearest, in about the paper's proportions.

    Args:
        parameters: in all, embedding included; the head is tied to it.
        vocabulary: tokens that there are.
        context: tokens of a sequence.

    Raises:
        ConfigError: the embedding alone has more, or there are too few.
    """
    if parameters < LEAST:
        raise ConfigError(f"{parameters:g} parameters are too few for a plan; give at least {LEAST:,}")
    if vocabulary * 64 >= parameters:
        raise ConfigError(
            f"a vocabulary of {vocabulary:,} leaves no parameters for blocks: its embedding alone has "
            f"{vocabulary * 64:,} of {parameters:,.0f} at a width of 64; give a smaller --vocabulary, or more --params"
        )
    aspect = _between(parameters, 2) / _between(parameters, 1)
    candidates = [
        _model(layers, width, vocabulary, context)
        for width in _widths()
        for layers in _layers(parameters, width, vocabulary)
    ]
    return min(candidates, key=lambda model: _distance(model, parameters, aspect))


def batch_tokens(parameters: float) -> float:
    """Tokens of a batch, between those of the paper's models."""
    return _between(parameters, 4)


def _distance(model: ModelRecipe, parameters: float, aspect: float) -> float:
    off = abs(log(model.parameters / parameters))
    return off + _ASPECT_WEIGHT * abs(log(model.width / model.layers / aspect))


def _model(layers: int, width: int, vocabulary: int, context: int) -> ModelRecipe:
    head = 128 if width >= 2048 else 64 if width >= 128 else 16
    heads = width // head
    inner = 64 if width < 2048 else 256
    return ModelRecipe(
        vocabulary=vocabulary,
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=heads,
        feed_forward=-(-8 * width // 3 // inner) * inner,
        context=context,
    )


def _widths() -> list[int]:
    """Those that accelerators like: multiples of 64, coarser the larger."""
    return [16, 32, 48, *range(64, 2048, 64), *range(2048, 8192, 256), *range(8192, 65_537, 512)]


def _layers(parameters: float, width: int, vocabulary: int) -> list[int]:
    """The numbers of layers next to the one that gives the parameters, in steps that split evenly over devices."""
    exact = (parameters - vocabulary * width) / (12 * width * width)
    step = 1 if exact < 32 else 2 if exact < 64 else 8
    low = int(exact // step) * step
    return [layers for layers in (low, low + step) if 1 <= layers <= 1024]


def _between(parameters: float, column: int) -> float:
    """A column of the paper's table, between its rows along straight lines of logarithms; beyond them the ends'."""
    rows = [(log(row[0]), log(row[column])) for row in GPT3]
    at = log(parameters)
    if at <= rows[0][0]:
        return GPT3[0][column]
    for (low, before), (high, after) in pairwise(rows):
        if at <= high:
            share = (at - low) / (high - low)
            return exp(before + share * (after - before))
    return GPT3[-1][column]
