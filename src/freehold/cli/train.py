"""`freehold train`: make the models that Freehold trains itself."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.lazy import command_group
from freehold.training.image.build import build
from freehold.training.image.recipe import Recipe

app = command_group("Train a model of Freehold's own.", "Example: freehold train image --out painter --minutes 240")


@app.callback()
def train() -> None:
    """Train a model of Freehold's own."""


@app.command("image", epilog="Example: freehold train image --out painter --minutes 240")
def train_image(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where checkpoints, curves and weights go.")],
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, help="How long the decoder trains.")] = 60.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of scenes, weights and noise.")] = 1,
    threads: Annotated[int, typer.Option("--threads", min=1, help="That each of two processes computes on.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in the folder.")] = False,
) -> None:
    """Train the starter painter. Needs the extra 'train', the font Noto Color Emoji and Unicode's CLDR.

    requirements/train.txt pins the versions of the extra, and tells how to add torch to them.
    """
    recipe = Recipe(minutes=minutes, seed=seed, threads=threads)
    out.mkdir(parents=True, exist_ok=True)
    weights = asyncio.run(build(recipe, out.resolve(), say, resume=resume))
    say(f"the weights are in {weights}")
    say(f'deploy them with: engine = "painter", options = {{ folder = "{weights}" }}')


def say(line: str) -> None:
    """Print a line at once, also into a pipe or a file, so that hours of training can be followed."""
    print(line, flush=True)
