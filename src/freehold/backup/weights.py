"""The weights of models in a backup: files, and folders of files, that are named by their digests."""

import hashlib
from collections.abc import Iterable
from pathlib import PurePosixPath

from freehold.backup.manifest import FileEntry
from freehold.errors import DigestMismatch


def blob_path(sha256: str) -> str:
    """Where the weights with that digest are in a home."""
    return f"models/blobs/sha256-{sha256}"


def check_weights(name: str, sha256: str, files: Iterable[FileEntry]) -> None:
    """See that weights have the digest that they are named by.

    Args:
        name: the model's.
        sha256: the digest.
        files: all files of the weights: the one, or those of the folder.

    Raises:
        DigestMismatch: they have not.
    """
    place = blob_path(sha256)
    found = list(files)
    if [entry.path for entry in found] == [place]:
        digest = found[0].sha256
    else:
        lines = [f"{entry.sha256}  {PurePosixPath(entry.path).relative_to(place)}\n" for entry in found]
        digest = hashlib.sha256("".join(sorted(lines, key=lambda line: line[66:])).encode()).hexdigest()
    if digest != sha256:
        raise DigestMismatch(f"the weights of the model '{name}' are not those that were pulled; pull it again")
