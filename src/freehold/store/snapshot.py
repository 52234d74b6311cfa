"""A home's database as a file: a copy of one moment while others write to it, and what can be read of it alone.

The copy is made by SQLite's online backup, never of the file: what is committed may still stand in the write-ahead log.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from freehold.errors import HomeError
from freehold.store.migrate import known_revisions

_PATIENCE_S: Final = 5.0

_KEYS: Final = "SELECT id, name, roles, created_at, revoked_at FROM api_keys ORDER BY created_at, id"
"""As it was before keys had owners, up to schema 0003: an older backup may be so."""
_OWNED_KEYS: Final = """
    SELECT id, name, (
        SELECT json_group_array(DISTINCT role) FROM role_assignments AS held
        WHERE held.member_id = key.owner_id AND held.project_id IN ('', key.project_id)
    ), created_at, revoked_at FROM api_keys AS key ORDER BY created_at, id
"""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model's line in the database."""

    name: str
    source: str
    source_sha256: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoredKey:
    """An API key's line in the database, without its digest. Times are seconds since the epoch."""

    id: str
    name: str
    roles: tuple[str, ...]
    created_at: int
    revoked_at: int | None


class Snapshot:
    """One moment of a database that is in use, from entering the block to its end; nobody waits for it.

    Args:
        path: the database file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._source: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        with _told(self._path):
            self._source = _connect(self._path, "ro")
            try:
                self._source.execute("BEGIN")
                self._source.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the moment is that of a read
            except BaseException:
                self._source.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._source is not None, "the block was entered"
        self._source.close()

    def copy_to(self, target: Path) -> None:
        """Write what the database was at that moment to a new file, which is whole without any other.

        Raises:
            HomeError: the database cannot be read, or the file not be written.
        """
        assert self._source is not None, "within the block"
        target.touch(mode=0o600)
        with _told(self._path), closing(_connect(target, "rw")) as copy:
            self._source.backup(copy)


def check_database(path: Path) -> None:
    """See that a database that nobody uses is whole, and of a schema that this version knows.

    Raises:
        HomeError: it is not.
    """
    with _told(path), closing(_connect(path, "ro", immutable=True)) as connection:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise HomeError(f"the database {path.name} is damaged: {found}")
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone() or (None,)
    if revision not in known_revisions():
        raise HomeError(
            f"the database {path.name} was written by a newer Freehold (schema {revision}); install that version"
        )


def read_models(path: Path) -> list[StoredModel]:
    """The models that a database knows, by name.

    Raises:
        HomeError: it cannot be read.
    """
    statement = "SELECT name, source, source_sha256, sha256, size_bytes FROM models ORDER BY name"
    return [StoredModel(*row) for row in _rows(path, statement)]


def read_keys(path: Path) -> list[StoredKey]:
    """The API keys that a database knows, revoked ones included, oldest first.

    Raises:
        HomeError: it cannot be read.
    """
    owned = _rows(path, "SELECT 1 FROM pragma_table_info('api_keys') WHERE name = 'owner_id'")
    rows = _rows(path, _OWNED_KEYS if owned else _KEYS)
    return [StoredKey(key, name, tuple(json.loads(roles)), made, gone) for key, name, roles, made, gone in rows]


def _rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    # Not read-only: a write-ahead log that a killed server left has to be taken in.
    with _told(path), closing(_connect(path, "rw")) as connection:
        return connection.execute(statement).fetchall()


def _connect(path: Path, mode: str, *, immutable: bool = False) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}{'&immutable=1' if immutable else ''}"
    return sqlite3.connect(uri, uri=True, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What SQLite says of a file that it cannot use, as an error of the home."""
    try:
        yield
    except (sqlite3.Error, ValueError) as exc:
        raise HomeError(f"the database {path} cannot be used: {exc}; see that the disk has room") from exc
