"""Writes the model of a training as a folder of Hugging Face's: `python -m freehold.training.language.export REQUEST`.

The folder has the weights, the tokenizer, a model card, the data's card, and what it states of its training. It is
there whole or not at all, and what transformers computes with it has been compared with what was trained.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from transformers.utils import logging

from freehold.errors import ConfigError
from freehold.training.checkpoint_folders import sync
from freehold.training.data.shards import PAGE
from freehold.training.data.writing import writable
from freehold.training.language.build import TOKENIZER, kept
from freehold.training.language.export_request import ExportRequest
from freehold.training.language.llama_folder import write_llama_folder
from freehold.training.language.model import GPT
from freehold.training.language.model_card import model_card
from freehold.training.language.origin import Origin
from freehold.training.process import worker_status
from freehold.training.trainer import state
from freehold.training.trainer.average import PREFIX
from freehold.types.training_statement import STATEMENT, TrainingStatement

DATA_CARD: Final = "data-card.md"


def main() -> None:
    """Do what the command line says, and tell of it."""
    request = ExportRequest.model_validate_json(sys.argv[1])
    logging.disable_progress_bar()
    export(request, _say)


def export(request: ExportRequest, say: Callable[[str], None]) -> TrainingStatement:
    """Write the folder; what it states.

    Raises:
        ConfigError: there is no such training or checkpoint, or the folder is somebody else's or cannot be written.
    """
    out = Path(request.out)
    run = kept(Path(request.run))
    if run is None:
        raise ConfigError(f"{request.run} holds no training; name the folder of 'freehold train pretrain --out'")
    if out.exists() and not (out / STATEMENT).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} has something else in it; choose another folder")
    origin = Origin.of(run, request.step)
    for note in origin.notes:
        say(note)
    averaged = run.recipe.training.average is not None if request.weights == "auto" else request.weights == "averaged"
    if averaged and run.recipe.training.average is None:
        raise ConfigError(f"--weights averaged: the training '{run.recipe.name}' kept no averaged weights")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with writable(out):
            part.mkdir(parents=True)
            statement = _write(request, origin, part, averaged=averaged)
            _put(part, out)
    except SafetensorError as exc:  # of a full disk, among others; it has no number
        raise ConfigError(f"{out} cannot be written: {exc}") from exc
    finally:
        shutil.rmtree(part, ignore_errors=True)
    say(f"step {origin.step}, {'averaged' if averaged else 'trained'} weights, {request.dtype}: {out}")
    say(f"weights sha256:{statement.weights_sha256}")
    return statement


def weights_of(origin: Origin, *, averaged: bool) -> GPT:
    """The model of a checkpoint, on the processor."""
    model = GPT(origin.run.recipe.model)
    means = {f"{PREFIX}{name}": torch.empty_like(weight) for name, weight in model.named_parameters() if averaged}
    state.fill(origin.folder, model, [], means, None)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if averaged:
                weight.copy_(means[f"{PREFIX}{name}"])
    return model


def _write(request: ExportRequest, origin: Origin, folder: Path, *, averaged: bool) -> TrainingStatement:
    recipe, out = origin.run.recipe, origin.run.out
    model = weights_of(origin, averaged=averaged)
    digest = write_llama_folder(model, out / TOKENIZER, folder, request.dtype)
    if averaged != (recipe.training.average is not None):
        origin = origin.unmeasured()
    statement = origin.statement(digest, request.licence)
    (folder / STATEMENT).write_text(statement.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(recipe, statement, origin.metrics, request.name), encoding="utf-8")
    if (out / PAGE).is_file():
        shutil.copyfile(out / PAGE, folder / DATA_CARD)
    return statement


def _put(part: Path, out: Path) -> None:
    """Put the folder in its place; what was exported there before goes when the new one stands."""
    for path in part.iterdir():
        path.chmod(0o644)  # safetensors writes for its owner alone
        sync(path)
    sync(part)
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    part.rename(out)
    sync(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(worker_status(main))
