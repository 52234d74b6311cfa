"""What a stage has learnt: the averaged weights of its newest checkpoint, which are better than the last ones."""

import hashlib
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from freehold.errors import ConfigError
from freehold.training.checkpoint_folders import CheckpointDamaged, CheckpointFolders, whole_manifest
from freehold.training.pretrain import CHECKPOINTS
from freehold.training.trainer import state
from freehold.training.trainer.average import PREFIX


def load_averaged(folder: Path, model: nn.Module) -> str:
    """Fill a model with the averaged weights of a training's newest whole checkpoint; returns their digest.

    Args:
        folder: of the training.
        model: on the processor; it will compute, and learn no more.

    Raises:
        ConfigError: there is no checkpoint, or it is of another model.
    """
    means = {f"{PREFIX}{name}": torch.empty_like(weight) for name, weight in model.named_parameters()}
    state.fill(_newest(folder), model, (), means, None)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(means[f"{PREFIX}{name}"])
    model.eval().requires_grad_(requires_grad=False)
    found = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        found.update(name.encode() + weight.numpy().tobytes())
    return found.hexdigest()


def _newest(folder: Path) -> Path:
    for _, checkpoint in CheckpointFolders(folder / CHECKPOINTS, keep=1).newest_first():
        with suppress(CheckpointDamaged):
            whole_manifest(checkpoint)
            return checkpoint
    raise ConfigError(f"{folder} has no checkpoint: its training has not begun, or what it wrote is damaged")
