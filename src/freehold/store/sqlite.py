"""SQLite as a store: the file, and how the connections to it are set."""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

_WRITING: Final = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000", "secure_delete=ON")
"""A write-ahead log, an fsync per commit, patience with a second process, and zeros over what is deleted."""
_READING: Final = ("busy_timeout=5000", "query_only=ON")


def engine(path: Path, *, read_only: bool) -> AsyncEngine:
    """A pool of connections to one file, in WAL mode with full durability. Nothing is opened yet."""
    found = create_async_engine(f"sqlite+aiosqlite:///{path}")
    event.listen(found.sync_engine, "connect", _set_reading_pragmas if read_only else _set_pragmas)
    return found


def _set_pragmas(connection: Any, _record: object) -> None:
    """Settings of every connection."""
    _set(connection, _WRITING)


def _set_reading_pragmas(connection: Any, _record: object) -> None:
    """Settings of every connection of a process that only reads."""
    _set(connection, _READING)


def _set(connection: Any, pragmas: tuple[str, ...]) -> None:
    cursor = connection.cursor()
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
