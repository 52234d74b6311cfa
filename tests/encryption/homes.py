"""Content keys on a real database, for tests."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from freehold.encryption.cipher import ContentCipher
from freehold.encryption.content_keys import ContentKeys
from freehold.encryption.master_key import MasterKeys
from freehold.encryption.opening import open_master_keys
from freehold.store.database import Database
from freehold.types.encryption import EncryptionSettings


@dataclass
class Place:
    """What a trial works on.

    Args:
        folder: of the database.
        database: open.
        masters: the master keys.
        keys: the content keys, read.
        cipher: on these.
    """

    folder: Path
    database: Database
    masters: MasterKeys
    keys: ContentKeys
    cipher: ContentCipher


class Clock:
    """A clock that the test sets, in seconds."""

    now_s = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


def with_place(
    folder: Path,
    trial: Callable[[Place], Awaitable[None]],
    settings: EncryptionSettings | None = None,
    clock: Clock | None = None,
) -> None:
    """Run a trial on a folder, as a program that starts there."""

    async def main() -> None:
        database = await Database.open(folder / "freehold.db")
        try:
            async with open_master_keys(folder / "content", settings or EncryptionSettings()) as masters:
                keys = ContentKeys(database, masters, cache_s=300.0, clock=clock or Clock())
                await keys.load()
                await trial(Place(folder, database, masters, keys, ContentCipher(keys)))
        finally:
            await database.close()

    asyncio.run(main())
