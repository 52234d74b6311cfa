"""Finds documents that were there before: the same, or similar. What was seen is kept on disk, and survives a kill.

The same is what has one digest after normalisation (NFKC, lower case, single spaces). Similar is what shares a set
part of its runs of words: estimated by MinHash (Broder, 1997), found by locality-sensitive hashing (Leskovec et al.,
"Mining of Massive Datasets", chapter 3), both by datasketch. The index is a table of SQLite instead of the library's
dictionaries, so that memory does not grow with the documents, and a commit is a transaction.
"""

import errno
import hashlib
import re
import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from datasketch import MinHash, MinHashLSH

from freehold.training.data.settings import DuplicateSettings

_SCRIPTS: Final = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Scripts without spaces between words: there each character counts as one."""
_WORD: Final = re.compile(rf"[{_SCRIPTS}]|[^\W{_SCRIPTS}]+")
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS seen (document INTEGER PRIMARY KEY, digest BLOB NOT NULL, file TEXT NOT NULL,
                                 place INTEGER NOT NULL, hashes BLOB);
CREATE UNIQUE INDEX IF NOT EXISTS seen_digest ON seen (digest);
CREATE TABLE IF NOT EXISTS band (hash INTEGER, document INTEGER, PRIMARY KEY (hash, document)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dropped (document INTEGER PRIMARY KEY, kind TEXT NOT NULL, twin INTEGER NOT NULL,
                                    similarity REAL NOT NULL, file TEXT NOT NULL, place INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Twin:
    """A document that was there before.

    Args:
        kind: "exact" or "near".
        document: its number; below 0 if it is held out.
        similarity: the estimated share of common runs of words, 1 for the same.
    """

    kind: str
    document: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """A document that was left out, and the one that stayed."""

    kind: str
    similarity: float
    file: str
    place: int
    twin_file: str
    twin_place: int


class Seen:
    """What was seen, up to the last commit.

    Args:
        path: the database; is made if need be.
        settings: what counts as the same.
        documents: so many were committed by the caller; what comes behind is forgotten, without any everything.

    Raises:
        OSError: it cannot be opened or written.
    """

    def __init__(self, path: Path, settings: DuplicateSettings, documents: int) -> None:
        self._settings = settings
        self._near = settings.kind == "near"
        lsh = MinHashLSH(settings.threshold, settings.permutations) if self._near else None
        self._bands: list[tuple[int, int]] = lsh.hashranges if lsh else []
        self._empty = MinHash(settings.permutations, settings.seed)
        with _disk():
            self._database = sqlite3.connect(path, isolation_level=None)
            try:
                self._database.execute("PRAGMA cache_size = -65536")
                self._database.executescript(_TABLES)
                self._database.execute("BEGIN IMMEDIATE")
                for table in ("seen", "band", "dropped"):
                    forgotten = "document >= ?" if documents else "document >= ? OR TRUE"
                    self._database.execute(f"DELETE FROM {table} WHERE {forgotten}", (documents,))  # noqa: S608
            except BaseException:
                self._database.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def judge(self, document: int, text: str, file: str, place: int, *, remember: bool = True) -> Twin | None:
        """The document that was there before, if there is one; otherwise this one is remembered.

        Args:
            document: its number, greater than all before; below 0 for what is held out.
            text: it.
            file: where it is from, as `place` is, for the list of what was dropped.
            place: its line, row or number in there.
            remember: whether this one is, so that later ones are compared with it.

        Raises:
            OSError: the disk is full.
        """
        plain = normalised(text)
        digest = hashlib.sha256(plain.encode()).digest()[:16]
        with _disk():
            row = self._database.execute("SELECT document FROM seen WHERE digest = ?", (digest,)).fetchone()
            if row is not None:
                twin = Twin("exact", row[0], 1.0)
            else:
                hashes = self._hashes(plain) if self._near else None
                keys = [] if hashes is None else self._keys(hashes)
                found = None if hashes is None else self._similar(hashes, keys)
                if found is None and not remember:
                    return None
                if found is None:
                    stored = None if hashes is None else hashes.tobytes()
                    self._database.execute(
                        "INSERT INTO seen VALUES (?, ?, ?, ?, ?)", (document, digest, file, place, stored)
                    )
                    self._database.executemany(
                        "INSERT OR IGNORE INTO band VALUES (?, ?)", [(each, document) for each in keys]
                    )
                    return None
                twin = found
            self._database.execute(
                "INSERT INTO dropped VALUES (?, ?, ?, ?, ?, ?)",
                (document, twin.kind, twin.document, twin.similarity, file, place),
            )
        return twin

    def commit(self) -> None:
        """Have it on the disk.

        Raises:
            OSError: the disk is full.
        """
        with _disk():
            self._database.execute("COMMIT")
            self._database.execute("BEGIN IMMEDIATE")

    def dropped(self) -> Iterator[Dropped]:
        """All that was left out, in its order, without what was a second time among what is held out."""
        query = """SELECT dropped.kind, similarity, dropped.file, dropped.place, seen.file, seen.place
                   FROM dropped JOIN seen ON seen.document = twin WHERE dropped.document >= 0
                   ORDER BY dropped.document"""
        with closing(self._database.execute(query)) as rows:
            yield from (Dropped(*row) for row in rows)

    def close(self) -> None:
        """Close it; what was not committed is not kept."""
        self._database.close()

    def _hashes(self, text: str) -> Any:
        """The MinHash of a text: uint32 [permutations]."""
        words = _WORD.findall(text)
        length = self._settings.words
        runs = {" ".join(words[start : start + length]) for start in range(max(1, len(words) - length + 1))}
        made = self._empty.copy()
        made.update_batch([run.encode() for run in sorted(runs)])
        return made.hashvalues

    def _keys(self, hashes: Any) -> list[int]:
        """One number for each band of a MinHash; similar documents have at least one in common, probably."""
        return [
            int.from_bytes(
                hashlib.blake2b(hashes[start:end].tobytes(), digest_size=8, salt=start.to_bytes(2)).digest(),
                signed=True,
            )
            for start, end in self._bands
        ]

    def _similar(self, hashes: Any, keys: list[int]) -> Twin | None:
        """The most similar document among those that share a band, if it is similar enough; of equals the first."""
        marks = ", ".join("?" * len(keys))
        query = f"""SELECT document, hashes FROM seen
                    WHERE document IN (SELECT document FROM band WHERE hash IN ({marks})) ORDER BY document"""  # noqa: S608
        best = None
        for document, stored in self._database.execute(query, keys):
            similarity = float(np.mean(np.frombuffer(stored, hashes.dtype) == hashes))
            if similarity >= self._settings.threshold and (best is None or similarity > best.similarity):
                best = Twin("near", document, similarity)
        return best


def normalised(text: str) -> str:
    """A text without what does not make it another: case, spaces, and forms of characters."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


@contextmanager
def _disk() -> Iterator[None]:
    """A full disk, as SQLite tells it, becomes the error that it is.

    Raises:
        OSError: the disk is full, or cannot be written.
    """
    try:
        yield
    except sqlite3.OperationalError as exc:
        full = exc.sqlite_errorcode == sqlite3.SQLITE_FULL
        raise OSError(errno.ENOSPC if full else errno.EIO, f"the list of documents: {exc}") from exc
