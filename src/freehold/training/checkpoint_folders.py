"""Folders that are there whole or not at all, one for each step of a training at which its state was written down.

A folder is filled beside its place, synced, and renamed into it, so a process that is killed at any moment leaves
either the whole of it or nothing that counts. The newest are kept, and an older one goes only when a newer one stands:
a full disk costs the new one only.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

MANIFEST: Final = "manifest.json"
_PREFIX: Final = "step-"
_PARTIAL: Final = ".partial"
_REPLACED: Final = ".old"


class CheckpointDamaged(ValueError):
    """A checkpoint is not what was written; says what is wrong."""


class CheckpointFolders:
    """The folders of a training.

    Args:
        root: where they are; made when the first is begun.
        keep: of these so many newest stay.
    """

    def __init__(self, root: Path, keep: int) -> None:
        self._root = root
        self._keep = keep

    @property
    def partial(self) -> Path:
        """The folder that is being filled."""
        return self._root / _PARTIAL

    def begin(self) -> Path:
        """An empty folder to fill, in which only files may be. What an earlier, killed process left in it is gone."""
        self.abandon()
        self.partial.mkdir(parents=True)
        return self.partial

    def abandon(self) -> None:
        """Give back the room of what was begun and not finished."""
        shutil.rmtree(self.partial, ignore_errors=True)

    def finish(self, step: int, manifest: Mapping[str, Any]) -> Path:
        """Put what was filled in its place, with a manifest, and delete what is too old to be kept.

        Its files must be synced already (`sync`). One of the same step is replaced; it is there until the new one is.

        Raises:
            OSError: it could not be written; those before it are as they were.
        """
        path = self.partial / MANIFEST
        path.write_text(json.dumps(manifest), encoding="utf-8")
        sync(path)
        sync(self.partial)
        target = self._root / f"{_PREFIX}{step}"
        replaced = target.with_name(target.name + _REPLACED)
        if target.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            target.rename(replaced)
        self.partial.rename(target)
        sync(self._root)
        shutil.rmtree(replaced, ignore_errors=True)
        older = [folder for number, folder in self.newest_first() if number <= step]
        for folder in older[self._keep :]:
            shutil.rmtree(folder, ignore_errors=True)
        return target

    def newest_first(self) -> list[tuple[int, Path]]:
        """The steps and folders that there are, whole or not."""
        if not self._root.is_dir():
            return []
        found = [(_step(path), path) for path in self._root.iterdir() if path.is_dir() and _step(path) >= 0]
        return sorted(found, key=lambda each: (each[0], not each[1].name.endswith(_REPLACED)), reverse=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder.

    Raises:
        OSError: there is none.
        ValueError: it is none.
    """
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(manifest, dict):
        raise ValueError("the manifest is no object")  # noqa: TRY004  as `json` says of what it cannot read
    return manifest


def whole_manifest(folder: Path, share: slice = slice(None)) -> dict[str, Any]:
    """The manifest of a checkpoint whose files are all there, no others, and as they were written.

    Args:
        folder: of the checkpoint.
        share: which of the files, sorted by name, are held to their digests; processes may share this work.

    Raises:
        CheckpointDamaged: says what is wrong.
    """
    try:
        manifest = read_manifest(folder)
        files = manifest["files"]
        strange = {path.name for path in folder.iterdir()} != {*files, MANIFEST}
        changed = [] if strange else [name for name in sorted(files)[share] if digest(folder / name) != files[name]]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise CheckpointDamaged(f"it is not whole ({type(exc).__name__}: {exc})") from exc
    if strange:
        raise CheckpointDamaged("its files are not those that were written")
    if changed:
        raise CheckpointDamaged(f"{changed[0]} is not as it was written")
    return manifest


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _step(folder: Path) -> int:
    """The step in a folder's name; -1 if it has none."""
    number = folder.name.removeprefix(_PREFIX).removesuffix(_REPLACED)
    return int(number) if folder.name.startswith(_PREFIX) and number.isdecimal() and number.isascii() else -1
