"""Checkpoints: folders that are there whole or not at all.

A checkpoint is written beside its place, synced, and renamed into it. A list with the digest of each of its files says
whether it is whole; one that is not, or that has a file that no training writes, is passed over. The two newest are
kept, and an older one goes only when a newer one stands, so a full disk costs the new one only.

Adapters are safetensors. The states of the optimizer and of the random generators are torch's own files, which are
pickles: they are held to the list of digests, and read with `weights_only`, which makes no objects but tensors and
numbers. No other pickle is read, whoever made it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

KEPT: Final = 2
MANIFEST: Final = "manifest.json"
FILES: Final = frozenset(
    {
        "adapter_config.json",
        "adapter_model.safetensors",
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "trainer_state.json",
    }
)
"""What a checkpoint has; all of it is needed to go on."""
_PREFIX: Final = "step-"
_PARTIAL: Final = ".partial"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that is whole.

    Args:
        step: after which it was written.
        folder: where it is.
        sha256: a digest over its files: of the lines `<digest>  <name>`, sorted by name.
        metrics: what was measured at that step.
    """

    step: int
    folder: Path
    sha256: str
    metrics: Mapping[str, Any]


class CheckpointStore:
    """The checkpoints of a job.

    Args:
        folder: where they are; made when the first is written.
        recipe: what the training is, in a form that is equal for equal trainings; others' checkpoints are passed over.
    """

    def __init__(self, folder: Path, recipe: Mapping[str, Any]) -> None:
        self._folder = folder
        self._recipe = json.loads(json.dumps(recipe))

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole and of this training."""
        for folder in sorted(self._folders(), key=_step, reverse=True):
            if (found := self._read(folder)) is not None:
                return found
        return None

    def write(self, step: int, metrics: Mapping[str, Any], fill: Callable[[Path], None]) -> Checkpoint:
        """Write a checkpoint; `fill` writes its files into an empty folder.

        Raises:
            OSError: it could not be written; those before it are as they were.
        """
        partial = self._folder / _PARTIAL
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            fill(partial)
            digests = {}
            for path in sorted(partial.iterdir()):
                if path.name not in FILES:
                    path.unlink()
                    continue
                digests[path.name] = _digest(path)
                _sync(path)
            manifest = {"step": step, "recipe": self._recipe, "metrics": dict(metrics), "files": digests}
            (partial / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
            _sync(partial / MANIFEST)
            _sync(partial)
            target = self._folder / f"{_PREFIX}{step}"
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
            _sync(self._folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        self._forget()
        return Checkpoint(step, target, _whole(digests), metrics)

    def _read(self, folder: Path) -> Checkpoint | None:
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            names = {path.name for path in folder.iterdir()}
            if manifest["recipe"] != self._recipe or names != {*FILES, MANIFEST} or set(manifest["files"]) != FILES:
                return None
            digests = {name: _digest(folder / name) for name in FILES}
            if digests != manifest["files"] or manifest["step"] != _step(folder):
                return None
            return Checkpoint(manifest["step"], folder, _whole(digests), manifest["metrics"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _forget(self) -> None:
        """Delete all but the newest."""
        for folder in sorted(self._folders(), key=_step, reverse=True)[KEPT:]:
            shutil.rmtree(folder, ignore_errors=True)

    def _folders(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [path for path in self._folder.iterdir() if path.is_dir() and _step(path) >= 0]


def _step(folder: Path) -> int:
    """The step in a folder's name; -1 if it has none."""
    number = folder.name.removeprefix(_PREFIX)
    return int(number) if folder.name.startswith(_PREFIX) and number.isdecimal() and number.isascii() else -1


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _whole(digests: Mapping[str, str]) -> str:
    lines = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
