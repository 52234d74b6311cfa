"""Writes shards so that a kill at any place, or a full disk, loses nothing that was committed.

Files are only appended to. A commit syncs them and then replaces `progress.json`, which says how many records of each
file count, and what the caller must know to go on. Who opens a folder that has progress cuts off what came later.
"""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from freehold.errors import ConfigError
from freehold.training.data.records import FORMAT, MANIFEST, Field, RecordShards, file_name, file_sha256

PROGRESS: Final = "progress.json"
SHARD_BYTES: Final = 1 << 28
"""The length of the longest field's file of a whole shard, about."""


@dataclass(slots=True)
class _Split:
    """One split as it is written."""

    shards: list[dict[str, Any]] = field(default_factory=list)
    """What the manifest says of those that are full."""
    records: int = 0
    """In the shard that is written."""
    files: dict[str, FileIO] = field(default_factory=dict)


class RecordWriter:
    """Writes records into a folder, or goes on with it. A context manager: the folder is its own until the end.

    Args:
        folder: is made if need be.
        fields: what each record has.
        purpose: what is written, as JSON; who goes on must say the same.
        records_per_shard: without it, as many as make `SHARD_BYTES`.

    Raises:
        ConfigError: the folder has something else, is being written by somebody, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        fields: Sequence[Field],
        *,
        purpose: Mapping[str, Any],
        records_per_shard: int | None = None,
    ) -> None:
        self.folder = folder
        self.state: Any = None
        """What the last commit was given; None at the beginning."""
        self._fields = {each.name: each for each in fields}
        longest = max(each.record_bytes for each in fields)
        self._per_shard = records_per_shard or max(1, SHARD_BYTES // longest)
        self._purpose = json.loads(json.dumps(purpose))
        self._splits: dict[str, _Split] = {}
        with writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock: int | None = _locked(folder)
            try:
                self._go_on()
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def records(self, split: str) -> int:
        """How many records a split has by now."""
        found = self._splits.get(split, _Split())
        return found.records + sum(shard["records"] for shard in found.shards)

    def append(self, split: str, values: Mapping[str, NDArray[Any]]) -> None:
        """Add records to a split: an array [n, *shape] for each field.

        Raises:
            ConfigError: they cannot be written.
        """
        arrays = {name: self._array(kind, values[name]) for name, kind in self._fields.items()}
        count = len(next(iter(arrays.values())))
        assert all(len(array) == count for array in arrays.values()), "the fields have different numbers of records"
        into = self._splits.setdefault(split, _Split())
        done = 0
        with writable(self.folder):
            while done < count:
                part = min(count - done, self._per_shard - into.records)
                for name, array in arrays.items():
                    _write(self._file(split, into, name), array[done : done + part])
                into.records += part
                done += part
                if into.records == self._per_shard:
                    self._close_shard(split, into)

    def commit(self, state: Any) -> None:
        """Have all that was appended count, together with a state that JSON can tell.

        Raises:
            ConfigError: it cannot be written; then the last commit counts.
        """
        with writable(self.folder):
            for split in self._splits.values():
                for file in split.files.values():
                    os.fsync(file.fileno())
            splits = {name: {"shards": each.shards, "records": each.records} for name, each in self._splits.items()}
            told = {**self._header(), "purpose": self._purpose, "splits": splits, "state": state}
            replace_file(self.folder / PROGRESS, _bytes(told))
        self.state = state

    def finish(self, facts: Mapping[str, Any], *, before: Callable[[str], None] = lambda _: None) -> RecordShards:
        """Complete the shards; until then there is no manifest.

        Args:
            facts: stand in it.
            before: writes what must be there before it, given its digest.

        Raises:
            ConfigError: they cannot be written; then the last commit counts.
        """
        with writable(self.folder):
            for name, split in self._splits.items():
                if split.records:
                    self._close_shard(name, split)
            splits = {
                name: {"records": self.records(name), "shards": each.shards}
                for name, each in sorted(self._splits.items())
            }
            manifest = _bytes({**self._header(), "splits": splits, "facts": facts})
            before(hashlib.sha256(manifest).hexdigest())
            replace_file(self.folder / MANIFEST, manifest)
            (self.folder / PROGRESS).unlink(missing_ok=True)
        self.close()
        return RecordShards.open(self.folder)

    def close(self) -> None:
        """Let go of the folder; what was not committed is not kept."""
        for split in self._splits.values():
            for file in split.files.values():
                with suppress(OSError):
                    file.close()
            split.files.clear()
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None

    def _header(self) -> dict[str, Any]:
        return {"format": FORMAT, "fields": [each.tree() for each in self._fields.values()]}

    def _array(self, kind: Field, values: NDArray[Any]) -> NDArray[Any]:
        array = np.ascontiguousarray(values, dtype=kind.numbers)
        assert array.shape[1:] == kind.shape, f"{kind.name} has the shape {array.shape[1:]} instead of {kind.shape}"
        return array

    def _file(self, split: str, into: _Split, name: str) -> FileIO:
        if name not in into.files:
            into.files[name] = FileIO(self.folder / file_name(split, len(into.shards), name), "a")
        return into.files[name]

    def _close_shard(self, split: str, into: _Split) -> None:
        described = {}
        for name in self._fields:
            file = self._file(split, into, name)
            os.fsync(file.fileno())
            file.close()
            path = self.folder / file_name(split, len(into.shards), name)
            described[name] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        into.shards.append({"records": into.records, "files": described})
        into.files.clear()
        into.records = 0

    def _go_on(self) -> None:
        """Take up the last commit, and cut off what was written behind it."""
        if (self.folder / MANIFEST).exists():
            raise ConfigError(f"{self.folder} has complete data already; choose another folder, or delete it")
        try:
            found = json.loads((self.folder / PROGRESS).read_bytes())
        except FileNotFoundError:
            found = None
        except ValueError as exc:
            raise ConfigError(f"{self.folder / PROGRESS} is damaged; delete {self.folder} and begin anew") from exc
        if found is not None:
            if any(found[key] != value for key, value in {**self._header(), "purpose": self._purpose}.items()):
                raise ConfigError(
                    f"{self.folder} has data of other sources or settings, half prepared; "
                    "give the same command as before, or choose another folder"
                )
            self.state = found["state"]
            self._splits = {
                name: _Split(list(split["shards"]), split["records"]) for name, split in found["splits"].items()
            }
        for path in self.folder.glob("*.bin"):
            self._cut(path)

    def _cut(self, path: Path) -> None:
        """Cut off what was not committed; a file of which nothing was is deleted, if it is a shard's."""
        name, _, rest = path.name.partition(".")
        split, _, number = name.rpartition("-")
        kind = self._fields.get(rest.removesuffix(".bin"))
        if kind is None or not number.isdecimal():
            return
        into = self._splits.get(split, _Split())
        shards = [shard["records"] for shard in into.shards] + [into.records]
        records = shards[int(number)] if int(number) < len(shards) else 0
        length = records * kind.record_bytes
        if path.stat().st_size < length:
            raise ConfigError(f"{path} is shorter than it was; delete {self.folder} and begin anew")
        if records:
            os.truncate(path, length)
        else:
            path.unlink()


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """What the disk refuses becomes an error that says what to do.

    Raises:
        ConfigError: it is full, or something cannot be written.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise ConfigError(
                f"the disk of {folder} is full; what is done so far is kept: make room, and give the same command again"
            ) from exc
        raise ConfigError(f"{exc.filename or folder} cannot be written: {exc.strerror}") from exc


def replace_file(path: Path, content: bytes) -> None:
    """Give a file another content, or leave it as it was: synced, then renamed, then its folder synced.

    Raises:
        OSError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with FileIO(part, "w") as file:
            _write(file, np.frombuffer(content, np.uint8))
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names of its files on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(file: FileIO, values: NDArray[Any]) -> None:
    """Write all of an array; a raw file may take less at a time."""
    left = values.view(np.uint8).reshape(-1).data if values.size else memoryview(b"")
    while left:
        left = left[file.write(left) or 0 :]


def _bytes(tree: Mapping[str, Any]) -> bytes:
    return (json.dumps(tree, indent=1, ensure_ascii=False) + "\n").encode()


def _locked(folder: Path) -> int:
    """A descriptor of the folder that nobody else has at the same time."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(descriptor)
        raise ConfigError(f"another process is writing into {folder}; wait for it, or choose another folder") from exc
    return descriptor
