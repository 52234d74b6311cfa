"""What is kept of people who are gone, and of sessions that have ended."""

import asyncio
import sqlite3
from pathlib import Path

from freehold.identity.claims import Statement
from freehold.identity.sessions import Sessions
from freehold.identity.upkeep import IdentityUpkeep
from freehold.types.signin import IdentitySettings, ProviderSettings
from tests.identity.parts import PASSWORD, open_parts

PROVIDER = ProviderSettings(name="corp", issuer="https://login.example.org", client_id="freehold")


def test_nothing_is_kept_of_a_user_who_was_removed(tmp_path: Path) -> None:
    """Password, link, identity and session go with the user, and those of others stay."""

    async def scenario() -> None:
        async with open_parts(tmp_path) as parts:
            upkeep = IdentityUpkeep(parts.database, parts.directory, parts.sessions)
            for name in ("alice", "bob"):
                member = await parts.user(f"{name}@example.org")
                await parts.accounts.set_password(member, PASSWORD)
                await parts.accounts.link(member)
                await parts.admission.admit(PROVIDER, Statement(name, member.email, name, {}, 1, 2))
                await parts.sessions.open(member.id, "corp", "Test/1.0", instead_of=None)
            await upkeep.once()
            await parts.directory.delete_member(member.id)
            await upkeep.stop()

    asyncio.run(scenario())
    with sqlite3.connect(tmp_path / "freehold.db") as connection:
        for table in ("passwords", "password_links", "identities", "sessions"):
            ((rows, members),) = connection.execute(f"SELECT count(*), count(DISTINCT member_id) FROM {table}")  # noqa: S608
            assert (rows, members) == (1, 1), table
    connection.close()


def test_the_end_notes_when_sessions_were_used(tmp_path: Path) -> None:
    """A stop writes down the last uses, so that the idle time counts on after it."""

    async def scenario() -> int:
        async with open_parts(tmp_path) as parts:
            upkeep = IdentityUpkeep(parts.database, parts.directory, parts.sessions)
            upkeep.start()
            member = await parts.user("alice@example.org")
            cookie = await parts.sessions.open(member.id, "corp", "Test/1.0", instead_of=None)
            parts.clock.now += 100
            parts.sessions.find(cookie)
            await upkeep.stop()
            again = Sessions(parts.database, parts.directory, IdentitySettings(), clock=parts.clock)
            await again.load()
            return int(parts.clock.now) - again.of(member.id)[0].seen_at

    assert asyncio.run(scenario()) == 0
