"""`freehold train image`: the painter, from nothing."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import say
from freehold.cli.train_pretrain import pairs
from freehold.training.image.build import build
from freehold.training.image.recipes import RECIPES, PainterTraining
from freehold.training.trainer.recipe import changed

_NAMES = ", ".join(RECIPES)


def train_image(
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where shards, checkpoints, logs and weights go.")
    ],
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="NAME", help=f"One of {_NAMES}; starter if nothing is said.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0.1, help="How long the decoder trains, in place of the recipe's steps."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Another value in the recipe: decoder.batch=32. Repeatable."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Of scenes, weights and noise; 1 if nothing is said.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="That each of two processes computes on.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in the folder.")] = False,
) -> None:
    """Train the starter painter. Needs the extra 'train', the font Noto Color Emoji and Unicode's CLDR.

    Minutes are of the threads' work, and are turned into steps by measuring the first ones. The steps are written down,
    and are what --resume goes on with. `freehold train watch FOLDER/decoder` shows a stage while it trains.

    requirements/train.txt pins the versions of the extra, and tells how to add torch to them.
    """
    training = None
    if not resume or any(option is not None for option in (recipe, minutes, settings, seed)):
        training = _training(recipe or "starter", minutes, settings or [], 1 if seed is None else seed)
    out.mkdir(parents=True, exist_ok=True)
    try:
        weights = asyncio.run(_built(training, out.resolve(), threads, resume=resume))
    except (KeyboardInterrupt, asyncio.CancelledError) as exc:
        say(f"stopped; go on with: freehold train image --out {out} --resume")
        raise KeyboardInterrupt from exc
    say(f"the weights are in {weights}")
    say(f'deploy them with: engine = "painter", options = {{ folder = "{weights}" }}')


async def _built(training: PainterTraining | None, folder: Path, threads: int, *, resume: bool) -> Path:
    """Build, and stop with checkpoints at SIGTERM, as a scheduler sends it, as at Ctrl-C."""
    whole = asyncio.current_task()
    assert whole is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, whole.cancel)
    return await build(training, folder, say, threads=threads, resume=resume)


def _training(recipe: str, minutes: float | None, settings: list[str], seed: int) -> PainterTraining:
    if recipe not in RECIPES:
        raise typer.BadParameter(f"there is no recipe '{recipe}'; there are: {_NAMES}")
    return PainterTraining(recipe=changed(RECIPES[recipe](seed), pairs(settings)), minutes=minutes)
