"""Shards of records with fixed shapes (tokens, pictures, captions): written once and exactly, read memory-mapped.

    fields = [Field("picture", "uint8", (64, 64, 3)), Field("caption", "int32")]
    writer = RecordWriter(folder, fields, purpose={"seed": 1})
    for number in range(writer.state or 0, 10_000):
        writer.append("training", {"picture": pictures[None], "caption": captions[None]})
        writer.commit(number + 1)               # killed at any place, the same lines go on from the last commit
    shards = writer.finish({"made by": "me"})
    shards.read("training", "picture", 5, 100)  # [100, 64, 64, 3], a view where they lie in one file

A folder has `manifest.json` and, for each split, shard and field, a file of bare little-endian numbers, record after
record. The manifest has the length and SHA-256 of each file, and nothing of when or where: equal data have equal
manifests. While it is written, `progress.json` says up to where each file counts; it is replaced atomically, after
the files were synced.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from freehold.errors import ConfigError

MANIFEST: Final = "manifest.json"
FORMAT: Final = "freehold-shards-1"
TRAINING: Final = "training"
VALIDATION: Final = "validation"
_OPEN_FILES: Final = 512
"""Shards that are mapped at once."""


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that each record has.

    Args:
        name: letters, digits and underscores.
        dtype: NumPy's name of its numbers.
        shape: of one record; a single number without.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()

    @property
    def numbers(self) -> np.dtype[Any]:
        """Its numbers as they lie in files."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def record_bytes(self) -> int:
        """The length of one record."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.numbers.itemsize

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> Self:
        """The field that a manifest names."""
        return cls(tree["name"], tree["dtype"], tuple(tree["shape"]))

    def tree(self) -> dict[str, Any]:
        """It, as a manifest names it."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}


def file_name(split: str, number: int, field: str) -> str:
    """The file of a field in a shard."""
    return f"{split}-{number:05d}.{field}.bin"


class RecordShards:
    """Shards that are complete.

    Args:
        folder: where they lie.
        manifest: what it says.
        sha256: of the manifest, which identifies the data.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any], sha256: str) -> None:
        self.folder = folder
        self.sha256 = sha256
        self.facts: Mapping[str, Any] = manifest["facts"]
        self.fields = {each["name"]: Field.of(each) for each in manifest["fields"]}
        self._splits: Mapping[str, Any] = manifest["splits"]
        self._ends = {
            split: np.cumsum([0, *(shard["records"] for shard in found["shards"])], dtype=np.int64)
            for split, found in self._splits.items()
        }
        self._mapped = lru_cache(maxsize=_OPEN_FILES)(self._map)

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> Self:
        """Open the shards of a folder; the length of each file is looked at.

        Args:
            folder: where they lie.
            verify: whether the digest of each file is computed too.

        Raises:
            ConfigError: there are none, they are not whole, or not what was written.
        """
        try:
            raw = (folder / MANIFEST).read_bytes()
            manifest = json.loads(raw)
            if manifest["format"] != FORMAT:
                raise ConfigError(
                    f"{folder} has shards of the format {manifest['format']}; this version reads {FORMAT}"
                )
            shards = cls(folder, manifest, hashlib.sha256(raw).hexdigest())
            shards._check(verify=verify)
        except FileNotFoundError as exc:
            raise ConfigError(f"{folder} has no complete training data: {Path(exc.filename).name} is missing") from exc
        except OSError as exc:
            raise ConfigError(f"the training data in {folder} cannot be read: {exc.strerror}") from exc
        except (ValueError, KeyError, TypeError) as exc:
            raise ConfigError(
                f"{folder / MANIFEST} is not a manifest of training data; prepare the data again"
            ) from exc
        return shards

    @property
    def splits(self) -> Sequence[str]:
        """Their names."""
        return list(self._splits)

    def records(self, split: str) -> int:
        """How many records a split has; none if there is no such split."""
        return int(self._ends[split][-1]) if split in self._ends else 0

    def read(self, split: str, field: str, start: int, length: int) -> NDArray[Any]:
        """So many records from one on: [length, *shape], read-only; a view where they lie in one file."""
        ends = self._ends[split]
        if start < 0 or length < 0 or start + length > ends[-1]:
            raise IndexError(f"records {start} to {start + length} of {int(ends[-1])} in {split}")
        parts = []
        shard = int(np.searchsorted(ends, start, side="right")) - 1
        end = start + length
        while start < end:
            stop = min(end, int(ends[shard + 1]))
            parts.append(self._mapped(split, shard, field)[start - int(ends[shard]) : stop - int(ends[shard])])
            start, shard = stop, shard + 1
        if len(parts) == 1:
            return parts[0]
        kind = self.fields[field]
        return np.concatenate(parts) if parts else np.empty((0, *kind.shape), kind.numbers)

    def take(self, split: str, field: str, indices: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Single records in any order: a copy, [n, *shape]."""
        kind = self.fields[field]
        taken = np.empty((len(indices), *kind.shape), kind.numbers)
        for row, index in enumerate(indices):
            taken[row] = self.read(split, field, int(index), 1)[0]
        return taken

    def _map(self, split: str, shard: int, field: str) -> NDArray[Any]:
        kind = self.fields[field]
        records = self._splits[split]["shards"][shard]["records"]
        path = self.folder / file_name(split, shard, field)
        # A plain array over the mapping: slices of np.memmap cost several times as much.
        return np.asarray(np.memmap(path, dtype=kind.numbers, mode="r", shape=(records, *kind.shape))).view(np.ndarray)

    def _check(self, *, verify: bool) -> None:
        for split, found in self._splits.items():
            for number, shard in enumerate(found["shards"]):
                for field, expected in shard["files"].items():
                    self._check_file(self.folder / file_name(split, number, field), expected, verify=verify)

    def _check_file(self, path: Path, expected: Mapping[str, Any], *, verify: bool) -> None:
        length = path.stat().st_size
        if length != expected["bytes"]:
            raise ConfigError(f"{path} has {length} bytes instead of {expected['bytes']}; prepare the data again")
        if verify and file_sha256(path) != expected["sha256"]:
            raise ConfigError(f"{path} is not what was written: its SHA-256 is another; prepare the data again")


def file_sha256(path: Path) -> str:
    """The digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
