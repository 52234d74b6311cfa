from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import nn

from freehold.errors import ConfigError
from freehold.training.language.model import built
from freehold.training.language.recipes import ModelRecipe
from freehold.training.trainer import precision
from freehold.training.trainer.recipe import PrecisionRecipe

pytestmark = pytest.mark.torch


def test_float32_is_left_alone() -> None:
    """In float32 nothing is cast."""
    numbers = precision.of(PrecisionRecipe(compute="float32"), "cpu")
    with numbers.autocast():
        assert nn.Linear(4, 4)(torch.ones(1, 4)).dtype == torch.float32


def test_bfloat16_multiplies_in_it_and_keeps_weights() -> None:
    """In bfloat16 products are in it, and weights and their gradients in float32."""
    layer = nn.Linear(4, 4)
    with precision.of(PrecisionRecipe(compute="bfloat16"), "cpu").autocast():
        made = layer(torch.ones(1, 4))
    assert made.dtype == torch.bfloat16
    made.float().sum().backward()
    assert layer.weight.dtype == torch.float32
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32


def test_auto_takes_what_the_processor_is_faster_in() -> None:
    """Left to choose, a processor takes bfloat16 exactly if it has instructions for it."""
    has = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    assert precision.of(PrecisionRecipe(), "cpu").dtype == (torch.bfloat16 if has else torch.float32)


def test_float8_needs_a_gpu() -> None:
    """8 bits on a processor are refused with what they need."""
    with pytest.raises(ConfigError, match=r"precision\.float8: 8 bits need GPUs of the Hopper generation"):
        precision.of(PrecisionRecipe(float8=True), "cpu")


def test_float8_layers_are_those_of_blocks() -> None:
    """Only linear layers within blocks whose sides are multiples of 16 go into 8 bits."""
    sizes: dict[str, Any] = {"vocabulary": 64, "layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "context": 16}
    even = set(precision.float8_layers(built(ModelRecipe(**sizes, feed_forward=64))))
    assert {name.rsplit(".", 1)[1] for name in even} == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    }
    odd = set(precision.float8_layers(built(ModelRecipe(**sizes, feed_forward=56))))
    assert {name.rsplit(".", 1)[1] for name in even - odd} == {"gate_proj", "up_proj", "down_proj"}


@pytest.mark.skipif(find_spec("torchao") is None, reason="torchao is not installed; it is optional")
def test_float8_changes_the_layers() -> None:
    """With torchao the layers of blocks become its own, and others stay."""
    model = built(ModelRecipe(vocabulary=64, layers=1, width=32, heads=2, kv_heads=1, feed_forward=64, context=16))
    precision.Precision("cuda", torch.bfloat16, float8=True).convert(model)
    assert type(model.lm_head) is nn.Linear
    assert type(model.model.layers[0].mlp.gate_proj) is not nn.Linear
