"""Recipes for the painter: functions that return everything that its training needs to know.

- `starter`: an hour of the decoder's work on a core, and what belongs to it; the weights of the package are of its kind
- `quick`: the whole way in some minutes, to see whether it runs; it paints blots

Nothing here needs torch. `minutes` in place of steps are turned into steps where the training runs.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from freehold.errors import ConfigError
from freehold.training.trainer.recipe import (
    CheckpointRecipe,
    OptimizerRecipe,
    PositiveInt,
    PrecisionRecipe,
    ScheduleRecipe,
    TrainingRecipe,
    read,
)
from freehold.types.base import SettingsModel

STAGES: Final = ("encoder", "prior", "decoder", "upsampler")
"""What is trained: the picture encoder with the draft first, which the prior and the decoder need."""
FILE: Final = "recipe.json"
TIME: Final[Mapping[str, float]] = {"encoder": 0.4, "prior": 0.35, "decoder": 1.0, "upsampler": 0.15}
"""How long a stage trains, in shares of the decoder's time; prior and up-sampler are done before it is."""


class ScenesRecipe(SettingsModel):
    """What pictures and captions there are."""

    captions: PositiveInt = 40_000
    """To learn from."""
    held_out: PositiveInt = 512
    """To evaluate with; no caption of these is among the others."""
    views: PositiveInt = 2
    """Pictures of each caption, which differ in place, size and shade."""
    large: PositiveInt = 3_000
    """Captions that are painted in the up-sampler's size as well."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1


class PainterRecipe(SettingsModel):
    """One painter. The stages' steps are of the whole training; a sample is a picture with its caption."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    scenes: ScenesRecipe
    encoder: TrainingRecipe
    prior: TrainingRecipe
    decoder: TrainingRecipe
    upsampler: TrainingRecipe

    def stage(self, name: str) -> TrainingRecipe:
        """How one of `STAGES` is trained."""
        found: TrainingRecipe = getattr(self, name)
        return found


class PainterTraining(SettingsModel):
    """What the folder of a training is for; kept there as `FILE`."""

    recipe: PainterRecipe
    minutes: Annotated[float, Field(gt=0)] | None = None
    """The decoder's time, in place of the recipe's steps; what the others get follows from `TIME`."""


def recorded(folder: Path) -> PainterTraining | None:
    """The training that a folder is for, if it is for one.

    Raises:
        ConfigError: what is written down there is no painter's training.
    """
    try:
        return read(PainterTraining, json.loads((folder / FILE).read_bytes()))
    except FileNotFoundError:
        return None
    except ValueError as exc:
        raise ConfigError(f"{folder / FILE} is not a recipe of a painter: {exc}") from exc


def starter(seed: int = 1) -> PainterRecipe:
    """The starter painter."""
    return PainterRecipe(
        name="starter",
        scenes=ScenesRecipe(seed=seed),
        encoder=_stage(steps=2_400, batch=64, rate=2e-3, seed=seed, minute=50, evaluated=256),
        prior=_stage(steps=1_900, batch=128, rate=1e-3, seed=seed, minute=90, evaluated=512),
        decoder=_stage(steps=5_600, batch=16, rate=1.5e-3, seed=seed, minute=90, evaluated=128),
        upsampler=_stage(steps=3_800, batch=12, rate=2e-3, seed=seed, minute=400, evaluated=96),
    )


def quick(seed: int = 1) -> PainterRecipe:
    """The whole way, with a thousandth of the work."""
    few = starter(seed)

    def short(recipe: TrainingRecipe) -> TrainingRecipe:
        return recipe.model_copy(
            update={
                "steps": 20,
                "checkpoints": CheckpointRecipe(every_steps=10),
                "evaluate_samples": recipe.batch,
                "log_every": 5,
                "schedule": recipe.schedule.model_copy(update={"warmup_steps": 5}),
            }
        )

    return few.model_copy(
        update={
            "name": "quick",
            "scenes": ScenesRecipe(captions=512, held_out=128, views=1, large=64, seed=seed),
            **{name: short(few.stage(name)) for name in STAGES},
        }
    )


RECIPES: Final[Mapping[str, Callable[[int], PainterRecipe]]] = {"starter": starter, "quick": quick}
"""By name: a function from the seed of scenes, weights and noise."""


def _stage(*, steps: int, batch: int, rate: float, seed: int, minute: int, evaluated: int) -> TrainingRecipe:
    """A stage of the starter painter.

    Args:
        steps: of an hour's training.
        batch: pictures a step.
        rate: the highest rate of learning.
        seed: of weights, order and noise.
        minute: steps that a core makes in about a minute; the state is written down so often.
        evaluated: held-out pictures.
    """
    return TrainingRecipe(
        steps=steps,
        batch=batch,
        micro_batch=batch,
        seed=seed,
        optimizer=OptimizerRecipe(learning_rate=rate, betas=(0.9, 0.98), weight_decay=0.01),
        schedule=ScheduleRecipe(kind="wsd", warmup_steps=100, decay_share=0.45, floor=0.02),
        precision=PrecisionRecipe(compute="float32"),
        checkpoints=CheckpointRecipe(every_steps=minute),
        average=0.998,
        evaluate_every=5 * minute,
        evaluate_samples=evaluated,
    )
