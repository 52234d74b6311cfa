"""The keys of kept content: made, revoked, destroyed, wrapped anew."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from freehold.encryption.content_keys import BATCH, ContentKeys
from freehold.encryption.master_key import MasterKey, MasterKeys
from freehold.errors import Conflict, ContentUnreadable, KeyServiceUnavailable, ProjectKeyRevoked
from freehold.store.tables import content_keys
from freehold.types.content import KeyState, Tenant
from freehold.types.encryption import EncryptionSettings
from tests.encryption.homes import Clock, Place, with_place
from tests.encryption.transit import KEY, TOKEN, TransitServer

ANN, BOB = Tenant("org", "proj", "user-ann"), Tenant("org", "proj", "user-bob")
ANN_ELSEWHERE, STRANGER = Tenant("org", "proj-2", "user-ann"), Tenant("org-2", "proj", "user-ann")


def test_every_owner_in_every_project_has_a_key_of_its_own(tmp_path: Path) -> None:
    """Keys differ between owners, projects and organizations, and are the same again after a restart."""
    found: dict[Tenant, bytes] = {}

    async def first(place: Place) -> None:
        for tenant in (ANN, BOB, ANN_ELSEWHERE, STRANGER):
            found[tenant] = await place.keys.key_for(tenant)

    async def second(place: Place) -> None:
        for tenant, key in found.items():
            assert await place.keys.key_of(tenant) == key
        with pytest.raises(ContentUnreadable):
            await place.keys.key_of(Tenant("org", "proj", "user-eve"))

    with_place(tmp_path, first)
    assert len(set(found.values())) == 4
    with_place(tmp_path, second)
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.name.startswith("freehold.db"))
    assert not any(key in data for key in found.values())


def test_many_at_once_make_one_key(tmp_path: Path) -> None:
    """Requests that come together for a new owner get the same key."""

    async def trial(place: Place) -> None:
        keys = await asyncio.gather(*(place.keys.key_for(ANN) for _ in range(20)))
        assert len(set(keys)) == 1
        assert len(await place.keys.rows()) == 1

    with_place(tmp_path, trial)


def test_a_wrapped_key_in_another_row_does_not_open(tmp_path: Path) -> None:
    """Whoever copies one owner's wrapped key into another's row gets nothing by it."""

    async def trial(place: Place) -> None:
        await place.keys.key_for(ANN)
        await place.keys.key_for(BOB)
        async with place.database.write() as connection:
            wrapped = select(content_keys.c.wrapped).where(content_keys.c.owner_id == "user-ann")
            moved = (await connection.execute(wrapped)).scalar_one()
            await connection.execute(
                update(content_keys).where(content_keys.c.owner_id == "user-bob").values(wrapped=moved)
            )
        fresh = ContentKeys(place.database, place.masters, cache_s=0)
        with pytest.raises(ContentUnreadable):
            await fresh.key_of(BOB)
        await fresh.key_of(ANN)

    with_place(tmp_path, trial)


def test_a_revoked_project_is_stopped_and_restored(tmp_path: Path) -> None:
    """While a project's key is revoked none of its keys is used, also after a restart; restored, all are as before."""
    heard: list[bool] = []
    kept: list[bytes] = []

    async def revoke(place: Place) -> None:
        place.keys.on_change(lambda: heard.append(place.keys.is_stopped("proj")))
        kept.append(await place.keys.key_for(ANN))
        await place.keys.key_for(ANN_ELSEWHERE)
        assert await place.keys.revoke("org", "proj") is True
        assert await place.keys.revoke("org", "proj") is False
        assert heard[0] is True
        await still(place)

    async def still(place: Place) -> None:
        for use in (place.keys.key_for, place.keys.key_of):
            for tenant in (ANN, BOB, Tenant("org", "proj")):
                with pytest.raises(ProjectKeyRevoked) as caught:
                    await use(tenant)
                assert (caught.value.status, caught.value.code) == (403, "project_key_revoked")
        place.keys.check_project("org", "proj-2")
        await place.keys.key_of(ANN_ELSEWHERE)

    async def restore(place: Place) -> None:
        assert place.keys.state("org", "proj") is KeyState.REVOKED
        assert await place.keys.restore("org", "proj") is True
        assert await place.keys.restore("org", "proj") is False
        place.keys.check_project("org", "proj")
        assert await place.keys.key_of(ANN) == kept[0]
        await place.keys.key_for(Tenant("org", "proj"))

    async def active(place: Place) -> None:
        assert place.keys.state("org", "proj") is KeyState.ACTIVE
        await place.keys.key_of(ANN)

    with_place(tmp_path, revoke)
    with_place(tmp_path, still)
    with_place(tmp_path, restore)
    with_place(tmp_path, active)


def test_a_project_that_keeps_nothing_can_be_revoked_without_its_master_key(tmp_path: Path) -> None:
    """Revoking needs no key service: it also works while that is down."""
    with TransitServer() as service:
        settings = _service(service, tmp_path)

    async def trial(place: Place) -> None:
        assert await place.keys.revoke("org", "proj") is True
        with pytest.raises(ProjectKeyRevoked):
            await place.keys.key_for(ANN)
        assert await place.keys.restore("org", "proj") is True
        with pytest.raises(KeyServiceUnavailable):
            await place.keys.key_for(ANN)

    with_place(tmp_path, trial, settings)


def test_a_destroyed_owners_keys_are_gone_everywhere(tmp_path: Path) -> None:
    """Erasing an owner destroys the keys of all projects of the organization, and no new one is ever made."""

    async def trial(place: Place) -> None:
        before = {tenant: await place.keys.key_for(tenant) for tenant in (ANN, BOB, ANN_ELSEWHERE, STRANGER)}
        gone = await place.keys.destroy_owner("org", "user-ann")
        assert {row.tenant for row in gone} == {ANN, ANN_ELSEWHERE}
        assert await place.keys.destroy_owner("org", "user-ann") == []
        for tenant in (ANN, ANN_ELSEWHERE, Tenant("org", "proj-3", "user-ann")):
            with pytest.raises(ContentUnreadable):
                await place.keys.key_for(tenant)
        assert await place.keys.key_of(BOB) == before[BOB]
        assert await place.keys.key_of(STRANGER) == before[STRANGER]

    with_place(tmp_path, trial)


def test_a_destroyed_project_never_comes_back(tmp_path: Path) -> None:
    """All keys of the project are destroyed, it counts as revoked for ever, and other projects go on."""

    async def trial(place: Place) -> None:
        for tenant in (ANN, BOB, ANN_ELSEWHERE):
            await place.keys.key_for(tenant)
        gone = await place.keys.destroy_project("org", "proj")
        assert {row.tenant for row in gone} == {ANN, BOB}
        for change in (place.keys.revoke, place.keys.restore):
            with pytest.raises(Conflict):
                await change("org", "proj")
        await place.keys.key_of(ANN_ELSEWHERE)

    async def later(place: Place) -> None:
        for tenant in (ANN, Tenant("org", "proj", "user-new")):
            with pytest.raises(ProjectKeyRevoked):
                await place.keys.key_for(tenant)

    with_place(tmp_path, trial)
    with_place(tmp_path, later)


def test_a_destroyed_key_is_not_left_in_the_files(tmp_path: Path) -> None:
    """After a purge the wrapped key stands neither in the database file nor in the write-ahead log."""

    async def trial(place: Place) -> None:
        await place.keys.key_for(ANN)
        await place.keys.key_for(BOB)
        rows = {row.tenant: row.wrapped for row in await place.keys.rows()}
        await place.database.purge()
        assert rows[ANN] in (place.folder / "freehold.db").read_bytes()
        await place.keys.destroy_owner("org", "user-ann")
        await place.database.purge()
        left = b"".join(path.read_bytes() for path in place.folder.glob("freehold.db*"))
        assert rows[ANN] not in left
        assert rows[BOB] in left

    with_place(tmp_path, trial)


def test_a_key_is_in_memory_for_a_bounded_time(tmp_path: Path) -> None:
    """Within the time the master key is not asked again; after it, and at once after a revocation, it is."""
    clock = Clock()
    with TransitServer() as service:

        async def trial(place: Place) -> None:
            await place.keys.key_for(ANN)
            asked = len(service.requests)
            clock.now_s += 299
            await place.keys.key_of(ANN)
            assert len(service.requests) == asked
            clock.now_s += 1
            await place.keys.key_of(ANN)
            assert len(service.requests) == asked + 1
            await place.keys.revoke("org", "proj-2")
            await place.keys.key_of(ANN)
            assert len(service.requests) == asked + 2

        with_place(tmp_path, trial, _service(service, tmp_path), clock)


@pytest.mark.slow
def test_the_master_key_is_exchanged_whatever_interrupts(tmp_path: Path) -> None:
    """Stopped after a step of a rotation and begun again, every key can be read at any time, and one master stays."""
    tenants = [Tenant("org", f"proj-{number}", "user") for number in range(BATCH + 50)]
    keys: dict[Tenant, bytes] = {}

    async def make(place: Place) -> None:
        for tenant in tenants:
            keys[tenant] = await place.keys.key_for(tenant)
        await place.keys.destroy_project("org", "proj-3")
        await place.keys.revoke("org", "proj-4")

    async def check(place: Place) -> None:
        for tenant in (tenants[0], tenants[-1]):
            assert await place.keys.key_of(tenant) == keys[tenant]

    async def step(place: Place) -> None:
        done = await place.keys.rewrap()
        assert done.count == BATCH
        await check(place)
        await place.keys.key_for(Tenant("org", "proj-new", "user"))

    async def finish(place: Place) -> None:
        assert len(place.masters.names()) == 2
        after: str | None = ""
        while after is not None:
            after = (await place.keys.rewrap(after)).after
        await check(place)
        assert list((await place.keys.masters()).items()) == [(place.keys.master, BATCH + 50)]

    with_place(tmp_path, make)
    old = (tmp_path / "content").read_bytes()
    with_place(tmp_path, step)
    assert (tmp_path / "content").read_bytes() == old
    with_place(tmp_path, check)
    with_place(tmp_path, finish)
    assert (tmp_path / "content").read_bytes() != old
    assert not (tmp_path / "content.next").exists()
    with_place(tmp_path, check)


def test_a_key_that_is_made_meanwhile_is_not_lost(tmp_path: Path) -> None:
    """A rotation waits for keys that are being wrapped by the master key of before, and wraps them anew."""

    async def trial(place: Place) -> None:
        slow = SlowMasterKey(place.masters.current)
        place.masters.current = slow
        making = asyncio.create_task(place.keys.key_for(ANN))
        await slow.begun.wait()
        rotating = asyncio.create_task(place.keys.rewrap())
        await asyncio.sleep(0.05)
        assert not rotating.done()
        slow.go_on.set()
        key = await making
        await rotating
        assert [row.master for row in await place.keys.rows()] == [place.keys.master]
        assert place.keys.master != slow.name
        assert await ContentKeys(place.database, place.masters, cache_s=0).key_of(ANN) == key

    with_place(tmp_path, trial)


def test_a_key_that_is_destroyed_while_it_is_unwrapped_is_not_given(tmp_path: Path) -> None:
    """Whoever waits for a key while its owner is erased gets none, and it does not stay in memory."""

    async def trial(place: Place) -> None:
        await place.keys.key_for(ANN)
        slow = SlowMasterKey(place.masters.current)
        keys = ContentKeys(place.database, MasterKeys(slow), cache_s=300)
        reading = asyncio.create_task(keys.key_of(ANN))
        await slow.begun.wait()
        await keys.destroy_owner("org", "user-ann")
        slow.go_on.set()
        with pytest.raises(ContentUnreadable):
            await reading
        with pytest.raises(ContentUnreadable):
            await keys.key_of(ANN)

    with_place(tmp_path, trial)


class SlowMasterKey:
    """A master key that wraps and unwraps when it is told to.

    Attributes:
        begun: set when somebody waits for it.
        go_on: to be set, so that it goes on.
    """

    def __init__(self, inner: MasterKey) -> None:
        self._inner = inner
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    @property
    def name(self) -> str:
        """The inner one's."""
        return self._inner.name

    async def wrap(self, plaintext: bytes, context: bytes) -> bytes:
        """As the inner one, later."""
        self.begun.set()
        await self.go_on.wait()
        return await self._inner.wrap(plaintext, context)

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """As the inner one, later."""
        self.begun.set()
        await self.go_on.wait()
        return await self._inner.unwrap(wrapped, context)


def test_keys_move_from_the_home_to_a_service(tmp_path: Path) -> None:
    """After a rotation under a newly configured service nothing is wrapped by the home's own key, which is gone."""
    kept: list[bytes] = []

    async def make(place: Place) -> None:
        kept.append(await place.keys.key_for(ANN))

    async def move(place: Place) -> None:
        assert await place.keys.key_of(ANN) == kept[0]
        assert (await place.keys.rewrap()).after is None
        assert await place.keys.masters() == {f"service:{KEY}": 1}
        assert await place.keys.key_of(ANN) == kept[0]

    with_place(tmp_path, make)
    with TransitServer() as service:
        with_place(tmp_path, move, _service(service, tmp_path))
        assert not (tmp_path / "content").exists()
        with_place(tmp_path, move, _service(service, tmp_path))


def test_an_unknown_master_key_is_named(tmp_path: Path) -> None:
    """With another master key than the one that wrapped it a key is unreadable, and it is told which is missing."""

    async def make(place: Place) -> None:
        await place.keys.key_for(ANN)

    async def trial(place: Place) -> None:
        with pytest.raises(ContentUnreadable) as caught:
            await place.keys.key_of(ANN)
        assert "local:" in caught.value.message
        with pytest.raises(ContentUnreadable):
            await place.keys.rewrap()

    with_place(tmp_path, make)
    (tmp_path / "content").unlink()
    with_place(tmp_path, trial)


def test_deleted_space_is_overwritten(tmp_path: Path) -> None:
    """Every connection has `secure_delete` on."""

    async def trial(place: Place) -> None:
        async with place.database.read() as connection:
            assert (await connection.execute(text("PRAGMA secure_delete"))).scalar() == 1

    with_place(tmp_path, trial)


def _service(service: TransitServer, folder: Path) -> EncryptionSettings:
    token = folder / "token"
    token.write_text(TOKEN)
    return EncryptionSettings.model_validate(
        {"key_service": {"url": service.url, "key": KEY, "token": {"file": str(token)}, "timeout_s": 2}}
    )
