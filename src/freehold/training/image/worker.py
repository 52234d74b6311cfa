"""One process of a painter's training: the scenes, or stages one after another.

Run as `python -m freehold.training.image.worker FOLDER PART… --threads N`. FOLDER has `recipe.json` and the text
encoder in `minilm`; the shards, and a folder for each stage, go there. Asked to stop, it writes a checkpoint first.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import torch

from freehold.errors import ConfigError
from freehold.training.data.records import RecordShards, file_sha256
from freehold.training.data.writing import replace_file
from freehold.training.image import recipes
from freehold.training.image.glyphs import load_glyphs
from freehold.training.image.looking import Looking
from freehold.training.image.objective import StageObjective
from freehold.training.image.objects import load_things
from freehold.training.image.pace import steps_within
from freehold.training.image.recipes import FILE, STAGES, TIME, PainterTraining
from freehold.training.image.scene_shards import Source, prepare_large, prepare_scenes, prepare_vectors
from freehold.training.image.stages import DecoderStage, EncoderStage, PriorStage, UpsamplerStage
from freehold.training.image.text_encoder import encode_captions, load_text_encoder
from freehold.training.image.trained import load_averaged
from freehold.training.pretrain import pretrain
from freehold.training.process import asked_to_stop, worker_status
from freehold.training.trainer.parallel import Devices
from freehold.training.trainer.recipe import TrainingRecipe, read

SCENES: Final = "scenes"
"""The part that is no stage."""
_POLITE: Final = 10
"""How far other processes are let before this one."""


def main() -> None:
    """Do the parts that are named, in order.

    Raises:
        ConfigError: something that is needed is missing, or the folder has another training.
    """
    parser = argparse.ArgumentParser(prog="worker")
    parser.add_argument("folder", type=Path)
    parser.add_argument("parts", nargs="+", choices=(SCENES, *STAGES))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    os.nice(_POLITE)
    torch.set_num_threads(arguments.threads)
    training = recipes.recorded(folder)
    if training is None:
        raise ConfigError(f"{folder} has no {FILE}")
    for part in arguments.parts:
        if part == SCENES:
            scenes_of(folder, training)
            large_of(folder, training)
        elif not train(folder, part, training):
            raise KeyboardInterrupt


def train(folder: Path, stage: str, training: PainterTraining, stop: Callable[[], bool] | None = None) -> bool:
    """Train a stage, or go on with it; whether it is at its end.

    Args:
        folder: of the painter.
        stage: its name.
        training: what the folder is for.
        stop: asked at each step whether to stop after it; without it, signals ask for that.

    Raises:
        ConfigError: something that is needed is missing, or the stage's folder has another training.
    """
    plain = training.recipe.stage(stage)
    with Devices.open(plain.parallel, "cuda" if torch.cuda.is_available() else "cpu") as devices:
        make = partial(objective_of, folder, stage, training=training, devices=devices)
        recipe = _within(folder / stage, plain, training.minutes and training.minutes * TIME[stage], make)
        objective = make(recipe)
        objective.count_flops()
        ended = pretrain(
            recipe,
            objective,
            devices,
            folder / stage,
            description={"name": f"{training.recipe.name}-{stage}"},
            stop=stop or asked_to_stop(),
        )
    return ended.finished


def _within(folder: Path, recipe: TrainingRecipe, minutes: float | None, make: Any) -> TrainingRecipe:
    """The recipe with as many steps as fit into the minutes; measured once, and written down."""
    if minutes is None:
        return recipe
    file = folder / FILE
    if not file.is_file():
        steps = steps_within(minutes, make(recipe), recipe)
        schedule = recipe.schedule.model_copy(update={"warmup_steps": min(recipe.schedule.warmup_steps, steps // 10)})
        fitting = recipe.model_copy(update={"steps": steps, "schedule": schedule})
        folder.mkdir(exist_ok=True)
        replace_file(file, fitting.model_dump_json(indent=1).encode())
    return read(TrainingRecipe, json.loads(file.read_bytes()))


def objective_of(
    folder: Path, stage: str, recipe: TrainingRecipe, training: PainterTraining, devices: Devices
) -> StageObjective[Any]:
    """A stage's objective, of what lies in the folder."""
    if stage == "upsampler":
        return UpsamplerStage(recipe, large_of(folder, training), devices)
    scenes = scenes_of(folder, training)
    if stage == "encoder":
        return EncoderStage(recipe, scenes, devices)
    looking = Looking()
    looking_sha256 = load_averaged(folder / "encoder", looking)
    if stage == "decoder":
        return DecoderStage(recipe, scenes, devices, looking, looking_sha256)
    vectors = prepare_vectors(folder / "vectors", scenes, looking.encoder, looking_sha256, say)
    return PriorStage(recipe, scenes, devices, vectors)


def scenes_of(folder: Path, training: PainterTraining) -> RecordShards:
    """The shards of scenes, made where they are not complete."""
    return prepare_scenes(folder / SCENES, training.recipe.scenes, partial(_source, folder / "minilm"), say)


def large_of(folder: Path, training: PainterTraining) -> RecordShards:
    """The shards of large pictures, made where they are not complete."""
    return prepare_large(folder / "large", training.recipe.scenes, partial(_source, folder / "minilm"), say)


@cache
def _source(minilm: Path) -> Source:
    try:
        things = load_things()
    except FileNotFoundError as exc:
        raise ConfigError(
            f"Unicode's CLDR is missing ({exc.filename}); on Debian: apt install unicode-cldr-core"
        ) from exc
    try:
        glyphs = load_glyphs([thing.emoji for thing in things])
    except OSError as exc:
        raise ConfigError(
            "the font Noto Color Emoji is missing; on Debian: apt install fonts-noto-color-emoji"
        ) from exc
    encoder, words = load_text_encoder(minilm)
    return Source(things, glyphs, partial(encode_captions, encoder, words), file_sha256(minilm / "model.safetensors"))


def say(text: str) -> None:
    """Tell a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(worker_status(main))
