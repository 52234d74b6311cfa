"""API keys on a real database file."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from freehold.errors import Forbidden, InvalidRequest, NotFound, Unauthenticated
from freehold.governance.authorization import Roles, decide, require
from freehold.governance.directory import ORGANIZATION, PROJECT, WHOLE, Directory
from freehold.governance.keys import KeyRing, redact
from freehold.store.database import Database
from freehold.types.identity import Action, KeyScope, Role
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


def test_a_key_allows_what_its_owner_may_at_that_moment(tmp_path: Path) -> None:
    """A role that the owner gets or loses holds for its keys at once; a scope cuts off, and never adds."""

    async def scenario(ring: KeyRing, directory: Directory, _clock: list[float]) -> None:
        await directory.create_user(ORGANIZATION, "ann@example.org", "Ann", [Role.OWNER])
        bob = await directory.create_user(ORGANIZATION, "bob@example.org", "Bob", [])
        await directory.set_roles(bob.id, PROJECT, [Role.USER])
        scope = KeyScope(models=("chat*",), operations=(Action.INFER, Action.MANAGE))
        _, key = await ring.create("app", bob, PROJECT, scope)
        assert ring.authenticate(key).actions == {Action.INFER}
        assert ring.authenticate(key).reaches("chat-small")
        assert not ring.authenticate(key).reaches("paint")
        await directory.set_roles(bob.id, PROJECT, [Role.READER])
        assert ring.authenticate(key).actions == frozenset()
        await directory.set_roles(bob.id, WHOLE, [Role.OWNER])
        assert ring.authenticate(key).actions == {Action.INFER, Action.MANAGE}
        await directory.delete_member(bob.id)
        with pytest.raises(Unauthenticated, match="disabled or removed"):
            ring.authenticate(key)

    within(tmp_path, scenario)


def test_an_organizations_key_runs_no_model(tmp_path: Path) -> None:
    """A key without a project administers with its owner's roles, and may not call a deployment."""

    async def scenario(ring: KeyRing, directory: Directory, _clock: list[float]) -> None:
        ann = await directory.create_user(ORGANIZATION, "ann@example.org", "Ann", [Role.OWNER])
        _, key = await ring.create("admin", ann, WHOLE)
        actions = ring.authenticate(key).actions
        assert Action.WRITE_USERS in actions
        assert not actions & {Action.INFER, Action.READ_MODELS}

    within(tmp_path, scenario)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("2001:db8::7", True),
        ("::ffff:10.1.2.3", False),
        (None, False),
        ("x", False),
    ],
)
def test_a_key_can_be_bound_to_networks(tmp_path: Path, address: str | None, allowed: bool) -> None:
    """From another address, or from one that nobody knows, the key is refused."""

    async def scenario(ring: KeyRing, directory: Directory, _clock: list[float]) -> None:
        ann = await directory.create_user(ORGANIZATION, "ann@example.org", "Ann", [Role.OWNER])
        _, key = await ring.create("app", ann, PROJECT, KeyScope(ip_ranges=("10.0.0.0/8", "2001:db8::/32")))
        if allowed:
            assert ring.authenticate(key, address).id == ann.id
        else:
            with pytest.raises(Unauthenticated, match="from this address"):
                ring.authenticate(key, address)
        with pytest.raises(InvalidRequest, match="CIDR"):
            await ring.create("app", ann, PROJECT, KeyScope(ip_ranges=("10.0.0.1/8",)))

    within(tmp_path, scenario)


def test_a_key_ends(tmp_path: Path) -> None:
    """From the second of its end on it is refused, also after a restart."""

    async def scenario(ring: KeyRing, directory: Directory, clock: list[float]) -> None:
        ann = await directory.create_user(ORGANIZATION, "ann@example.org", "Ann", [Role.OWNER])
        _, key = await ring.create("app", ann, PROJECT, lifetime_s=60)
        clock[0] += 59
        assert ring.authenticate(key).expires_at == int(clock[0]) + 1
        clock[0] += 1
        await ring.load()
        with pytest.raises(Unauthenticated, match="expired"):
            ring.authenticate(key)

    within(tmp_path, scenario)


def test_a_rotated_key_has_a_successor_and_an_overlap(tmp_path: Path) -> None:
    """Both keys open the same for the overlap; then only the new one, which has the old one's scope."""

    async def scenario(ring: KeyRing, directory: Directory, clock: list[float]) -> None:
        ann = await directory.create_user(ORGANIZATION, "ann@example.org", "Ann", [Role.OWNER])
        row, old = await ring.create("app", ann, PROJECT, KeyScope(models=("chat",)))
        made, new = await ring.rotate(row.id, 3600)
        assert (made.name, made.owner_id, made.scope) == (row.name, row.owner_id, row.scope)
        assert ring.authenticate(old).id == ring.authenticate(new).id
        clock[0] += 3600
        with pytest.raises(Unauthenticated, match="expired"):
            ring.authenticate(old)
        assert ring.authenticate(new).models == ("chat",)
        with pytest.raises(InvalidRequest, match="no more"):
            await ring.rotate(row.id, 60)

    within(tmp_path, scenario)


def test_a_keys_last_use_is_known(tmp_path: Path) -> None:
    """It is told at once, and is still known after a restart once it was written down."""

    async def scenario(ring: KeyRing, directory: Directory, clock: list[float]) -> None:
        ann = await directory.create_user(ORGANIZATION, "ann@example.org", "Ann", [Role.OWNER])
        row, key = await ring.create("app", ann, PROJECT)
        assert ring.row(row.id).last_used_at is None
        ring.authenticate(key)
        assert ring.row(row.id).last_used_at == int(clock[0])
        await ring.write_last_used()
        await ring.load()
        assert ring.row(row.id).last_used_at == int(clock[0])

    within(tmp_path, scenario)


def within(tmp_path: Path, scenario: Callable[[KeyRing, Directory, list[float]], Awaitable[None]]) -> None:
    """Run a scenario on the keys of a home, with a clock that it can set."""

    async def run() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        clock = [1_800_000_000.0]
        try:
            directory = Directory(database, Roles(), clock=lambda: clock[0])
            await directory.load()
            ring = KeyRing(database, b"p" * 32, directory, clock=lambda: clock[0])
            await ring.load()
            await scenario(ring, directory, clock)
        finally:
            await database.close()

    asyncio.run(run())
