"""The moment that a backup shows: the database and the journal of a home that serves, as they fit together.

The two are written one after the other: an administrative change stands in the database first and in the journal
before its answer is sent. A copy of both that is made while a change comes would know a key that no record tells of or,
worse, hold the record of a revocation whose key is still valid. So no change may come between: the service counts its
changes, and says how many have begun and are not yet recorded. The database's moment is taken between two such
questions, and counts only if nothing was under way at the first and nothing has begun until the second. Nobody waits
for a backup. (A model's pull is recorded when it begins and enters the catalog at its end: either state fits.)

The journal is cut at what the second answer says is on the disk, which is a whole record. So everything that happened
before the database's moment is recorded. Requests go on meanwhile: receipts of a little later are in the journal too,
and a request that ran when it was cut is settled as `interrupted` when the backup is restored. Old segments may be
retired meanwhile, each after a record that says so. Which is the oldest is looked up before the cut, so that none is
missing in the backup whose record is not in it.

Of several gateways on one database each has a journal and a backup of its own. A gateway knows of its own changes
only, so the last of their backups has the database to go on with: it is not older than any record in the others.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from freehold.errors import HomeError, Unavailable
from freehold.journal.reader import segment_numbers
from freehold.store.home import Home
from freehold.store.shared_snapshot import shared_snapshot
from freehold.store.snapshot import Snapshot

_TRIES: Final = 100
_PAUSE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Point:
    """Where a home stands.

    Args:
        changes: how many administrative changes have begun, on top of a number of the service's own.
        running: how many of them are not recorded yet.
        writer: whose journal it is.
        segment: the newest segment; `offset` is what is on the disk of it, in bytes.
        seq: the last record that is on the disk.
        shared: whether the home's database is on PostgreSQL.
    """

    changes: int
    running: int
    writer: str
    segment: int
    offset: int
    seq: int
    shared: bool = False

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "Point":
        """A point from the service's answer."""
        return cls(**{name: wire[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Moment:
    """What a backup shows.

    Args:
        begun_s: a time not after it, in seconds since the epoch.
        database: the copy of the home's database.
        secrets: the files of the home's folder of secrets, by their paths in it; a master key that is exchanged is of
            the same moment as the keys that it wraps.
        oldest_segment: where the journal begins.
        point: where it is cut.
    """

    begun_s: float
    database: Path
    secrets: Mapping[str, bytes]
    oldest_segment: int
    point: Point


async def take_moment(
    ask: Callable[[], Awaitable[Point]], home: Home, target: Path, *, url: str | None = None
) -> Moment:
    """Copy the database of a moment at which no administrative change was under way.

    Args:
        ask: asks the service where it stands.
        home: its home.
        target: where the copy of the database goes.
        url: of PostgreSQL, where the home's database is there.

    Raises:
        Unavailable: changes went on and on, or PostgreSQL cannot be used.
        HomeError: the database cannot be read, or the copy not be written.
    """
    for _ in range(_TRIES):
        begun_s = time.time()
        before = await ask()
        if not before.running:
            oldest = min(segment_numbers(home.journal / before.writer), default=before.segment)
            async with shared_snapshot(url) if url is not None else _of_file(home.database) as snapshot:
                secrets = read_secrets(home)
                after = await ask()
                if (after.running, after.changes) == (0, before.changes):
                    await snapshot.copy_to(target)
                    return Moment(begun_s, target, secrets, oldest, after)
        await asyncio.sleep(_PAUSE_S)
    raise Unavailable("administrative changes follow each other without a pause; make the backup when they are done")


@dataclass(frozen=True, slots=True)
class _FileSnapshot:
    """A moment of a file, as `SharedSnapshot` is one of PostgreSQL's."""

    held: Snapshot

    async def copy_to(self, target: Path) -> None:
        """See `Snapshot.copy_to`."""
        await asyncio.to_thread(self.held.copy_to, target)


@asynccontextmanager
async def _of_file(path: Path) -> AsyncIterator[_FileSnapshot]:
    with Snapshot(path) as held:
        yield _FileSnapshot(held)


def read_secrets(home: Home) -> dict[str, bytes]:
    """The secrets of a home, by their files' paths in it.

    Raises:
        HomeError: one cannot be read.
    """
    folder = home.root / "secrets"
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name[0] != ".")
    try:
        return {file.relative_to(home.root).as_posix(): file.read_bytes() for file in files}
    except OSError as exc:
        raise HomeError(f"the secrets in {folder} cannot be read: {exc.strerror}") from exc
