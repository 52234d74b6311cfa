"""Makes weights of the content filter, and cross-validates them: what the command line runs.

The computing is done in a process of its own, which needs the extra `train`.
"""

import asyncio
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from json import dumps, loads
from pathlib import Path

from freehold.config import engine_environment
from freehold.errors import ConfigError, EngineFailed
from freehold.training.content_filter.recipe import Recipe
from freehold.training.content_filter.report import Predictions, where

Say = Callable[[str], None]


async def train(
    recipe: Recipe, data: Sequence[Path], own: Sequence[Path], out: Path, say: Say, vectors: Path | None = None
) -> Path:
    """Train on the files, and return the weights; their card lies beside them, and the head if there are vectors.

    Args:
        recipe: the numbers.
        data: files in public forms.
        own: files of one's own.
        out: the folder for the results.
        say: is told how far it is.
        vectors: JSON with `model`, and in `vectors` those of the pieces of every labelled text, in the files' order.

    Raises:
        ConfigError: the extra is not installed, or a file is not one of labelled texts.
        EngineFailed: the process ended badly.
    """
    await _run("train", recipe, data, own, out, say, vectors)
    return out / "ngrams.bin"


@dataclass(frozen=True, slots=True)
class Validated:
    """What weights make of texts that they were not trained on.

    Args:
        classifier: the n-gram classifier alone.
        judged: with the head asked about every text; None without vectors.
        served: with the head asked about those that the classifier is not sure of, as it is in service.
        asked: their share.
    """

    classifier: Predictions
    judged: Predictions | None = None
    served: Predictions | None = None
    asked: float = 0.0


async def validate(
    recipe: Recipe, file: Path, more: Sequence[Path], say: Say, vectors: Path | None = None
) -> Validated:
    """What weights make of a file's texts that were trained on the other folds of it and on more files.

    Args:
        recipe: the numbers.
        file: labelled texts.
        more: files of further texts to train with.
        say: is told how far it is.
        vectors: as for `train`.

    Raises:
        ConfigError: the extra is not installed, or a file is not one of labelled texts.
        EngineFailed: the process ended badly.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await _run("validate", recipe, [file, *more], [], folder, say, vectors)
        classifier = Predictions.read(folder / "predictions.json")
        if vectors is None:
            return Validated(classifier)
        judged = Predictions.read(folder / "judged.json")
        asked = loads((folder / "asked.json").read_text(encoding="utf-8"))
        return Validated(classifier, judged, where(asked, judged, classifier), sum(asked) / len(asked))


async def _run(
    what: str,
    recipe: Recipe,
    data: Sequence[Path],
    own: Sequence[Path],
    out: Path,
    say: Say,
    vectors: Path | None = None,
) -> None:
    """Run the worker; what it says is passed on."""
    if find_spec("sklearn") is None:
        raise ConfigError("training needs scikit-learn; install it with: pip install 'freehold[train]'")
    task = {
        "what": what,
        "data": [str(path) for path in data],
        "own": [str(path) for path in own],
        "out": str(out),
        "vectors": str(vectors) if vectors else None,
        "recipe": asdict(recipe),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "freehold.training.content_filter.worker", dumps(task),
        stdout=PIPE, stderr=PIPE, env=engine_environment({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        errors = asyncio.create_task(process.stderr.read())
        async for line in process.stdout:
            say(line.decode(errors="replace").rstrip())
        complaint = (await errors).decode(errors="replace").strip()
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status == 2:
        raise ConfigError(complaint)
    if status:
        raise EngineFailed(f"the training ended with status {status}: {complaint[-2000:]}")
