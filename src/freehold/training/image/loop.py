"""The loop that every stage trains in: for so much work, with a falling rate, an average and checkpoints."""

import json
import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SAVE_EVERY_S = 60.0
WARM_UP_STEPS = 100
FALL_FROM = 0.55
"""From which part of its time on a stage's rate falls to zero, along a cosine."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One model's training.

    Args:
        name: of its checkpoint and curve.
        minutes: of work on the threads it has, earlier runs of the same stage included.
        rate: the optimizer's highest learning rate.
        average: how slowly the averaged weights follow.
    """

    name: str
    minutes: float
    rate: float
    average: float = 0.998


def train(
    stage: Stage, model: nn.Module, loss: Callable[[], Tensor], folder: Path, say: Callable[[str], None]
) -> nn.Module:
    """Train until the stage's work is done, resuming where a checkpoint lies; returns the averaged model."""
    averaged = deepcopy(model).requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=stage.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    spent_s, step, curve = _resume(stage, model, averaged, optimizer, folder)
    seen = smooth = 0.0
    threads = torch.get_num_threads()
    before, saved = time.process_time(), time.monotonic()
    while spent_s < stage.minutes * 60:
        for group in optimizer.param_groups:
            group["lr"] = stage.rate * _factor(step, spent_s / (stage.minutes * 60))
        value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        keep = min(stage.average, step / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - keep)
        smooth, seen = smooth + value.item(), seen + 1
        worked = time.process_time()
        spent_s, before = spent_s + (worked - before) / threads, worked
        if time.monotonic() - saved > SAVE_EVERY_S:
            curve.append((round(spent_s), step, round(smooth / seen, 5)))
            say(f"{stage.name}: {spent_s / 60:.1f} of {stage.minutes:g} min, step {step}, loss {smooth / seen:.4f}")
            _save(stage, model, averaged, optimizer, spent_s, step, curve, folder)
            saved, smooth, seen = time.monotonic(), 0.0, 0.0
    _save(stage, model, averaged, optimizer, spent_s, step, curve, folder)
    return averaged


def _factor(step: int, part: float) -> float:
    fall = max(0.0, (min(part, 1.0) - FALL_FROM) / (1 - FALL_FROM))
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (0.02 + 0.98 * (1 + math.cos(math.pi * fall)) / 2)


def _resume(
    stage: Stage, model: nn.Module, averaged: nn.Module, optimizer: torch.optim.Optimizer, folder: Path
) -> tuple[float, int, list[Any]]:
    """Seconds spent, steps made and the curve so far."""
    file = folder / f"{stage.name}.pt"
    if not file.is_file():
        return 0.0, 0, []
    kept = torch.load(file, weights_only=True)
    model.load_state_dict(kept["model"])
    averaged.load_state_dict(kept["averaged"])
    optimizer.load_state_dict(kept["optimizer"])
    return kept["spent_s"], kept["step"], kept["curve"]


def _save(
    stage: Stage,
    model: nn.Module,
    averaged: nn.Module,
    optimizer: torch.optim.Optimizer,
    spent_s: float,
    step: int,
    curve: list[Any],
    folder: Path,
) -> None:
    """Write the checkpoint whole or not at all, and the curve beside it."""
    part = folder / f"{stage.name}.part"
    kept = {"model": model.state_dict(), "averaged": averaged.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({**kept, "spent_s": spent_s, "step": step, "curve": curve}, part)
    part.replace(folder / f"{stage.name}.pt")
    (folder / f"{stage.name}.curve.json").write_text(json.dumps(curve), encoding="utf-8")


def load_averaged(name: str, model: nn.Module, folder: Path) -> nn.Module:
    """A stage's averaged weights, from its checkpoint.

    Raises:
        FileNotFoundError: it has none yet.
    """
    model.load_state_dict(torch.load(folder / f"{name}.pt", weights_only=True)["averaged"])
    return model.eval().requires_grad_(requires_grad=False)
