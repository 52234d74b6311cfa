"""`freehold train export`: the model of a training, as a folder that other programs read and the catalog takes."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import say
from freehold.training.language.export_request import Dtype, ExportRequest, Weights
from freehold.training.process import run_module
from freehold.training.trainer.recipe import read

EXPORT_EXAMPLE = "Example: freehold train export runs/shakespeare --out model --licence CC0-1.0"

MODULE = "freehold.training.language.export"


def train_export(
    run: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of the training.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The folder to write.")],
    checkpoint: Annotated[
        int | None, typer.Option("--checkpoint", metavar="STEP", min=1, help="[default: the newest that is whole]")
    ] = None,
    weights: Annotated[
        Weights, typer.Option("--weights", help="As they were trained, or their running mean, if one was kept.")
    ] = "auto",
    dtype: Annotated[Dtype, typer.Option("--dtype", help="In which numbers they are written.")] = "float32",
    name: Annotated[
        str | None, typer.Option("--name", help="What the model card calls it. [default: the folder's name]")
    ] = None,
    licence: Annotated[str, typer.Option("--licence", help="Of the model, for its card.")] = "",
) -> None:
    """Write a trained model as a folder of Hugging Face's. Needs the extra 'train'.

    The folder has weights in safetensors, configuration, tokenizer with its chat template, a model card, and what the
    lineage is to know. 'freehold pull file:///FOLDER' takes it into the catalog.
    """
    target = out.absolute()
    given = {
        "run": str(run.absolute()),
        "out": str(target),
        "name": name or target.name,
        "step": checkpoint,
        "weights": weights,
        "dtype": dtype,
        "licence": licence,
    }
    request = read(ExportRequest, given)
    asyncio.run(run_module(MODULE, [request.model_dump_json()], say))
    say(f"take it into the catalog with: freehold pull file://{target} --name {request.name}")
