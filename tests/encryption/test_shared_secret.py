"""What gateways of one database have alike: secrets under the master key, among them their cluster's authority."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from freehold.app_cluster import authority_of
from freehold.cluster.authority import Authority
from freehold.config import Settings
from freehold.encryption.master_key import LocalMasterKey, MasterKeys
from freehold.encryption.shared_secret import AUTHORITY, rewrap_shared, shared_secret
from freehold.errors import HomeError
from freehold.store.database import Database
from freehold.store.deployments import get_fact
from freehold.store.home import Home
from tests.postgres import PostgreSQL

FIRST, SECOND = LocalMasterKey(b"1" * 32), LocalMasterKey(b"2" * 32)


def _on_database(url: str, work: Callable[[Database], Awaitable[None]]) -> None:
    async def main() -> None:
        database = await Database.open(Path("none"), url=url)
        try:
            await work(database)
        finally:
            await database.close()

    asyncio.run(main())


def test_the_first_gateways_secret_is_everybodys(postgres_server: PostgreSQL) -> None:
    """Whoever comes later gets it, if he has the master key; it does not lie there in the clear."""

    async def work(database: Database) -> None:
        assert await shared_secret(database, MasterKeys(FIRST, []), AUTHORITY, lambda: b"one") == b"one"
        assert await shared_secret(database, MasterKeys(FIRST, []), AUTHORITY, lambda: b"two") == b"one"
        assert b"one".hex() not in str(await get_fact(database, AUTHORITY))
        with pytest.raises(HomeError, match="does not have the master key"):
            await shared_secret(database, MasterKeys(SECOND, []), AUTHORITY, lambda: b"two")

    _on_database(postgres_server.new_home(), work)


def test_it_follows_the_master_key(postgres_server: PostgreSQL) -> None:
    """When the master key is exchanged, the new one alone is enough."""

    async def work(database: Database) -> None:
        await shared_secret(database, MasterKeys(FIRST, []), AUTHORITY, lambda: b"one")
        await rewrap_shared(database, MasterKeys(SECOND, [FIRST]))
        assert await shared_secret(database, MasterKeys(SECOND, []), AUTHORITY, lambda: b"two") == b"one"

    _on_database(postgres_server.new_home(), work)


def test_gateways_of_one_database_have_one_authority(postgres_server: PostgreSQL, tmp_path: Path) -> None:
    """That of the first one's folder is taken, and its key lies in the database from then on, not in a folder."""
    homes, settings = [Home(tmp_path / name) for name in "ab"], Settings()
    for home in homes:
        (home.root / "secrets").mkdir(parents=True)
    before = Authority.load_or_make(homes[0].cluster)

    async def work(database: Database) -> None:
        first = await authority_of(homes[0], settings, database)
        homes[1].master_key.write_bytes(homes[0].master_key.read_bytes())
        second = await authority_of(homes[1], settings, database)
        assert first.certificate_pem == second.certificate_pem == before.certificate_pem
        assert first.key_pem == second.key_pem

    _on_database(postgres_server.new_home(), work)
    for home in homes:
        assert sorted(file.name for file in home.cluster.iterdir()) == ["ca.pem", "gateway.key", "gateway.pem"]
        assert (home.cluster / "ca.pem").read_bytes() == before.certificate_pem
