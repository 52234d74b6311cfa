"""In what numbers a training computes: float32, bfloat16 by autocast, and 8 bits in the blocks' linear layers."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import nn

from freehold.errors import ConfigError
from freehold.training.trainer.recipe import PrecisionRecipe

FLOAT8_CAPABILITY = (9, 0)
"""CUDA's number for Hopper, the first with matrix units for 8 bits that are worth their conversions."""
FLOAT8_MULTIPLE = 16
"""Those units take matrices whose sides are multiples of this."""


@dataclass(frozen=True, slots=True)
class Precision:
    """The numbers of one training; made by `of`."""

    device: str
    """"cpu" or "cuda"."""
    dtype: torch.dtype
    """What matrices are multiplied in. Weights stay float32, as the optimizer's state does."""
    float8: bool

    def autocast(self) -> AbstractContextManager[object]:
        """Within it losses are computed, forward only: matrices in `dtype`, and in float32 what needs it."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device, self.dtype)

    def convert(self, model: nn.Module) -> nn.Module:
        """The model with the linear layers of its blocks in 8 bits, if that is wanted; it is changed in place.

        Each matrix is scaled by its largest number (Micikevicius et al., arXiv 2209.05433). Comes before
        `Devices.distribute`.
        """
        if not self.float8:
            return model
        from torchao.float8 import convert_to_float8_training  # noqa: PLC0415  # is there on few machines

        wanted = set(float8_layers(model))
        if not wanted:
            raise ConfigError(
                f"precision.float8: no linear layer of the model's blocks has sides that are multiples of "
                f"{FLOAT8_MULTIPLE}; say false"
            )
        convert_to_float8_training(model, module_filter_fn=lambda _, name: name in wanted)
        return model


def of(recipe: PrecisionRecipe, kind: str) -> Precision:
    """The numbers that a recipe wants, on devices of a kind ("cpu" or "cuda").

    Raises:
        ConfigError: the devices cannot do what the recipe asks for.
    """
    if recipe.float8:
        _float8_possible(kind)
    if recipe.compute == "bfloat16" and not _has_bfloat16(kind):
        raise ConfigError("precision.compute: this GPU has no bfloat16; say float32")
    half = recipe.compute == "bfloat16" or (recipe.compute == "auto" and _bfloat16_is_faster(kind))
    return Precision(kind, torch.bfloat16 if half else torch.float32, recipe.float8)


def float8_layers(model: nn.Module) -> Iterator[str]:
    """The names of layers that may be computed in 8 bits: linear, within `layers`, with sides that the units take."""
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear) or ".layers." not in f".{name}":
            continue
        if module.in_features % FLOAT8_MULTIPLE == 0 and module.out_features % FLOAT8_MULTIPLE == 0:
            yield name


def _bfloat16_is_faster(kind: str) -> bool:
    """GPUs since Ampere, and processors with instructions for it; one without them is slower than in float32."""
    if kind == "cuda":
        return _has_bfloat16(kind)
    found = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001  # no public name
    return bool(found)


def _has_bfloat16(kind: str) -> bool:
    return kind == "cpu" or bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _float8_possible(kind: str) -> None:
    if kind != "cuda":
        raise ConfigError("precision.float8: 8 bits need GPUs of the Hopper generation or newer, not processors")
    found = torch.cuda.get_device_capability()
    if found < FLOAT8_CAPABILITY:
        raise ConfigError(
            f"precision.float8: 8 bits need GPUs of the Hopper generation (capability 9.0) or newer; "
            f"this is a {torch.cuda.get_device_name()} ({found[0]}.{found[1]})"
        )
    if find_spec("torchao") is None:
        raise ConfigError("precision.float8: the package torchao is missing; install it beside torch, or say false")
