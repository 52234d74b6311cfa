"""Checkpoints of fine-tuning: folders that are there whole or not at all (`freehold.training.checkpoint_folders`).

A list with the digest of each of its files says whether a checkpoint is whole; one that is not, or that has a file that
no training writes, is passed over.

Adapters are safetensors. The states of the optimizer and of the random generators are torch's own files, which are
pickles: they are held to the list of digests, and read with `weights_only`, which makes no objects but tensors and
numbers. No other pickle is read, whoever made it.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from freehold.training.checkpoint_folders import CheckpointDamaged, CheckpointFolders, digest, sync, whole_manifest

KEPT: Final = 2
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
        self._folders = CheckpointFolders(folder, KEPT)
        self._recipe = json.loads(json.dumps(recipe))

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole and of this training."""
        found = (self._read(step, folder) for step, folder in self._folders.newest_first())
        return next((each for each in found if each is not None), None)

    def write(self, step: int, metrics: Mapping[str, Any], fill: Callable[[Path], None]) -> Checkpoint:
        """Write a checkpoint; `fill` writes its files into an empty folder.

        Raises:
            OSError: it could not be written; those before it are as they were.
        """
        partial = self._folders.begin()
        try:
            fill(partial)
            digests = {}
            for path in sorted(partial.iterdir()):
                if path.name not in FILES:
                    path.unlink()
                    continue
                digests[path.name] = digest(path)
                sync(path)
            manifest = {"step": step, "recipe": self._recipe, "metrics": dict(metrics), "files": digests}
            target = self._folders.finish(step, manifest)
        except BaseException:
            self._folders.abandon()
            raise
        return Checkpoint(step, target, _whole(digests), metrics)

    def _read(self, step: int, folder: Path) -> Checkpoint | None:
        try:
            manifest = whole_manifest(folder)
            files = manifest["files"]
            if manifest["recipe"] != self._recipe or set(files) != FILES or manifest["step"] != step:
                return None
            return Checkpoint(step, folder, _whole(files), manifest["metrics"])
        except (CheckpointDamaged, KeyError):
            return None


def _whole(digests: Mapping[str, str]) -> str:
    lines = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()
