"""The painter on the common rails: stages go on where they were stopped, and the whole way ends in a painter."""

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from freehold.engines.painter import WEIGHTS
from freehold.engines.painter_model import PainterModel, Sampling
from freehold.errors import ConfigError
from freehold.training.image.curves import PANEL, draw_curves
from freehold.training.image.export import export
from freehold.training.image.recipes import STAGES, PainterTraining
from freehold.training.image.text_encoder import LAYERS, WIDTH
from freehold.training.image.trained import load_averaged
from freehold.training.image.upsampler import Upsampler
from freehold.training.image.worker import train
from freehold.training.process import run_module
from freehold.training.trainer.log_file import NAME, read_lines
from freehold.training.trainer.recipe import CheckpointRecipe
from tests.training.image.small import large, scenes, small_recipe

pytestmark = pytest.mark.torch

STEPS = 6
FEW = {
    name: {"steps": STEPS, "batch": 4, "micro_batch": 4, "evaluate_every": 3, "evaluate_samples": 4, "log_every": 1}
    | {"checkpoints": CheckpointRecipe(every_steps=2)}
    for name in STAGES
}
TRAINING = PainterTraining(recipe=small_recipe(**FEW))


class After:
    """Asks to stop when it has been asked so often."""

    def __init__(self, steps: float) -> None:
        self._left = steps

    def __call__(self) -> bool:
        self._left -= 1
        return self._left <= 0


def learnt(folder: Path) -> dict[str, object]:
    """The losses and evaluations of a stage's log."""
    kept = {"loss", "grad_norm", "learning_rate", "valid_loss"}
    lines = [line for line in read_lines(folder / NAME) if line["kind"] in {"step", "evaluation"}]
    return {f"{line['kind']} {line['step']}": {key: line[key] for key in kept & line.keys()} for line in lines}


def test_resumed_is_uninterrupted(tmp_path: Path) -> None:
    """Stopped after three steps and gone on with, a stage has the losses and weights of one go, bit for bit."""
    for name in ("once", "twice"):
        large(tmp_path / name)
    assert train(tmp_path / "once", "upsampler", TRAINING, lambda: False)
    assert not train(tmp_path / "twice", "upsampler", TRAINING, After(3))
    assert train(tmp_path / "twice", "upsampler", TRAINING, lambda: False)
    once, twice = tmp_path / "once" / "upsampler", tmp_path / "twice" / "upsampler"
    assert learnt(once) == learnt(twice)
    assert len(learnt(once)) == STEPS + 2
    assert load_averaged(once, Upsampler()) == load_averaged(twice, Upsampler())


def test_minutes_become_steps_once(tmp_path: Path) -> None:
    """What is measured is written down, and gone on with whatever the machine does then."""
    large(tmp_path)
    timed = TRAINING.model_copy(update={"minutes": 0.02})
    assert train(tmp_path, "upsampler", timed, lambda: False)
    steps = json.loads((tmp_path / "upsampler" / "recipe.json").read_bytes())["steps"]
    assert steps >= 1
    assert max(line["step"] for line in read_lines(tmp_path / "upsampler" / NAME) if line["kind"] == "step") == steps
    assert train(tmp_path, "upsampler", timed, lambda: False)
    assert json.loads((tmp_path / "upsampler" / "recipe.json").read_bytes())["steps"] == steps


def test_what_is_not_trained_is_named(tmp_path: Path) -> None:
    """Without a whole checkpoint of the picture encoder neither the decoder nor the export begins."""
    scenes(tmp_path)
    with pytest.raises(ConfigError, match="encoder has no checkpoint"):
        train(tmp_path, "decoder", TRAINING, lambda: False)
    published(tmp_path / "minilm")
    with pytest.raises(ConfigError, match="encoder has no checkpoint"):
        export(tmp_path, tmp_path / "minilm", tmp_path / "weights")


@pytest.mark.slow
def test_from_scenes_to_a_painter(tmp_path: Path) -> None:
    """All stages train in turn, and the painter's engine paints with what is exported."""
    scenes(tmp_path)
    large(tmp_path)
    published(tmp_path / "minilm")
    for stage in STAGES:
        assert train(tmp_path, stage, TRAINING, lambda: False)
        assert len(learnt(tmp_path / stage)) == STEPS + 2
    arguments = [str(tmp_path), str(tmp_path / "weights")]
    asyncio.run(run_module("freehold.training.image.export", arguments, print, python=sys.executable))
    painter = PainterModel(tmp_path / "weights", 1)
    *_, picture = painter.paint(painter.caption("a cat", 1), 1, Sampling(steps=2))
    assert picture.shape == (3, 64, 64)
    assert np.isfinite(picture).all()
    assert painter.enlarge(picture).shape == (3, 256, 256)
    curves = draw_curves(tmp_path)
    assert curves.size == (PANEL[0] * len(STAGES), PANEL[1])
    assert len(curves.getcolors(1 << 20) or ()) > 3


def published(folder: Path) -> None:
    """A text encoder of the published form, whose weights are chance."""
    folder.mkdir()
    (folder / "vocab.txt").write_bytes((WEIGHTS / "vocab.txt").read_bytes())
    torch.manual_seed(2)
    save_file({name: torch.randn(shape) * 0.02 for name, shape in _shapes().items()}, folder / "model.safetensors")


def _shapes() -> dict[str, tuple[int, ...]]:
    """Of BERT's weights, by their published names."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (30522, WIDTH),
        "embeddings.position_embeddings.weight": (512, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
    }
    for layer in range(LAYERS):
        before = f"encoder.layer.{layer}."
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes |= {f"{before}{name}.weight": (WIDTH, WIDTH), f"{before}{name}.bias": (WIDTH,)}
        shapes |= {
            f"{before}intermediate.dense.weight": (4 * WIDTH, WIDTH),
            f"{before}intermediate.dense.bias": (4 * WIDTH,),
            f"{before}output.dense.weight": (WIDTH, 4 * WIDTH),
            f"{before}output.dense.bias": (WIDTH,),
        }
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{before}{name}.weight": (WIDTH,), f"{before}{name}.bias": (WIDTH,)}
    return shapes
