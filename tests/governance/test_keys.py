"""API keys on a real database file."""

import asyncio
from pathlib import Path

import pytest

from freehold.errors import Forbidden, NotFound, Unauthenticated
from freehold.governance.authorization import decide, require
from freehold.governance.keys import redact
from freehold.store.database import Database
from freehold.types.identity import Action, Role
from tests.keys import open_keys


def test_a_key_works_until_it_is_revoked(tmp_path: Path) -> None:
    """A new key gives its principal, also after a restart; a revoked one is refused and its listeners are told."""

    async def scenario() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        ring = await open_keys(database, b"p" * 32)
        row, key = await ring.issue("app", Role.USER)
        assert key.startswith("fh-")
        assert len(key) == 3 + 43
        again = await open_keys(database, b"p" * 32)
        assert again.authenticate(key).key_id == row.id
        told: list[str] = []
        again.on_change(lambda: told.append("changed"))
        await again.revoke(row.id)
        with pytest.raises(Unauthenticated):
            again.authenticate(key)
        assert told == ["changed"]
        await database.close()

    asyncio.run(scenario())


def test_the_key_itself_is_nowhere_on_the_disk(tmp_path: Path) -> None:
    """Neither the database nor its write-ahead log holds the key; another pepper does not know it."""

    async def scenario() -> str:
        database = await Database.open(tmp_path / "freehold.db")
        ring = await open_keys(database, b"p" * 32)
        _, key = await ring.issue("app", Role.USER)
        other = await open_keys(database, b"q" * 32)
        with pytest.raises(Unauthenticated):
            other.authenticate(key)
        await database.close()
        return key

    key = asyncio.run(scenario())
    for path in tmp_path.iterdir():
        assert key.encode() not in path.read_bytes()
        assert key[3:].encode() not in path.read_bytes()


def test_unknown_keys_are_refused_without_being_repeated(tmp_path: Path) -> None:
    """The message shows the prefix and four characters of a wrong key, and asks for a missing one."""

    async def scenario() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        ring = await open_keys(database, b"p" * 32)
        with pytest.raises(Unauthenticated, match=r"^Incorrect API key provided: fh-\*\*\*\*wxyz\.$"):
            ring.authenticate("fh-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaawxyz")
        with pytest.raises(Unauthenticated, match="didn't provide an API key"):
            ring.authenticate(None)
        with pytest.raises(NotFound):
            await ring.revoke("key_none")
        await database.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("given", "shown"), [("short", "****"), ("x" * 30 + "abcd", "****abcd"), ("fh-" + "y" * 40, "fh-****yyyy")]
)
def test_redaction_shows_four_characters_at_most(given: str, shown: str) -> None:
    """Of a long credential four characters are shown, of a short one none."""
    assert redact(given) == shown


def test_roles_decide_with_a_reason(tmp_path: Path) -> None:
    """A user may call deployments but not manage the service; both answers say why."""

    async def scenario() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        ring = await open_keys(database, b"p" * 32)
        _, key = await ring.issue("app", Role.USER)
        user = ring.authenticate(key)
        _, key = await ring.issue("boss", Role.OWNER)
        owner = ring.authenticate(key)
        assert decide(user, Action.INFER, "deployments/chat").allowed
        denied = decide(user, Action.MANAGE, "/admin/keys")
        assert not denied.allowed
        assert "service:manage" in denied.reason
        require(owner, Action.MANAGE, "/admin/keys")
        with pytest.raises(Forbidden, match="'user'"):
            require(user, Action.MANAGE, "/admin/keys")
        await database.close()

    asyncio.run(scenario())
