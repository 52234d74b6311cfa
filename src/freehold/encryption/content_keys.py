"""The keys that kept content is encrypted under: one for each owner in each project, made with the first content.

In the database each is wrapped by a master key. Unwrapped ones are in memory for a bounded time and number. A project's
own key carries the state of the project: while it is revoked, none of the project's keys is used; once it is destroyed,
none ever is again.
"""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from freehold.encryption.framing import framed
from freehold.encryption.master_key import KEY_BYTES, MasterKeys
from freehold.encryption.shared_secret import rewrap_shared
from freehold.errors import Conflict, ContentUnreadable, ProjectKeyRevoked
from freehold.store.content_keys import (
    MARK,
    ContentKeyRow,
    add_content_key,
    destroy_content_keys,
    get_content_key,
    list_content_keys,
    masters_in_use,
    restore_project,
    revoke_project,
    rewrap_content_key,
    stopped_projects,
)
from freehold.store.database import Database
from freehold.types.content import KeyState, Tenant
from freehold.types.ids import new_id

CACHED_KEYS: Final = 4096
"""How many unwrapped keys are in memory at most."""
BATCH: Final = 200
"""How many keys one step of a rotation wraps anew."""


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """One step of a rotation.

    Args:
        count: how many keys were wrapped anew.
        after: the last of them, from which the next step goes on; None if there are no more.
    """

    count: int
    after: str | None


class ContentKeys:
    """The content keys of a home.

    Args:
        database: where they lie, wrapped.
        masters: wrap them.
        cache_s: how long an unwrapped key stays in memory, in seconds.
        clock: a clock that only goes forward, in seconds.
    """

    def __init__(
        self, database: Database, masters: MasterKeys, *, cache_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._masters = masters
        self._cache_s = cache_s
        self._clock = clock
        self._cache: OrderedDict[Tenant, tuple[bytes, float]] = OrderedDict()
        self._epoch = 0
        """Goes up with each change of what was read: what was read before it is read again."""
        self._stopped: dict[tuple[str, str], KeyState] = {}
        self._listeners: list[Callable[[], None]] = []
        self._rotating = asyncio.Lock()
        self._making: set[asyncio.Future[None]] = set()
        """One for each key that is being made at this moment."""

    async def load(self) -> None:
        """Read which projects' keys are revoked or destroyed."""
        self._stopped = await stopped_projects(self._database)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` the moment that a project's key was revoked, restored or destroyed."""
        self._listeners.append(listener)

    def check_project(self, organization_id: str, project_id: str) -> None:
        """Return if a project may be served.

        Raises:
            ProjectKeyRevoked: its key is revoked or destroyed.
        """
        state = self._stopped.get((organization_id, project_id))
        if state is not None:
            raise _stopped(project_id, state)

    def state(self, organization_id: str, project_id: str) -> KeyState:
        """The state of a project's key; active where it has none yet."""
        return self._stopped.get((organization_id, project_id), KeyState.ACTIVE)

    def is_stopped(self, project_id: str) -> bool:
        """Whether the key of the project with this id is revoked or destroyed."""
        return any(stopped == project_id for _, stopped in self._stopped)

    async def key_for(self, tenant: Tenant) -> bytes:
        """The key to encrypt a tenant's content with; made on first use.

        Raises:
            ProjectKeyRevoked: the project's key is revoked or destroyed.
            ContentUnreadable: the owner was erased, or the key cannot be unwrapped.
            KeyServiceUnavailable, HomeError: as they say.
        """
        return await self._key(tenant, make=True)

    async def key_of(self, tenant: Tenant) -> bytes:
        """The key to decrypt a tenant's content with.

        Raises:
            ContentUnreadable: there is none, or no more.
            ProjectKeyRevoked, KeyServiceUnavailable, HomeError: as `key_for`.
        """
        return await self._key(tenant, make=False)

    async def rows(self, organization_id: str | None = None) -> list[ContentKeyRow]:
        """Keys, destroyed ones included, in the order of their ids; only an organization's, if one is named."""
        return [row async for row in self._rows(organization_id)]

    async def masters(self) -> dict[str, int]:
        """How many keys are wrapped by each master key; the known ones are all there, the one in use last."""
        used = await masters_in_use(self._database)
        known = {name: used.pop(name, 0) for name in self._masters.names()}
        return used | known

    @property
    def master(self) -> str:
        """The name of the master key in use."""
        return self._masters.current.name

    async def revoke(self, organization_id: str, project_id: str) -> bool:
        """Stop a project's keys from being used, from now on; false if they were so.

        Raises:
            Conflict: they are destroyed.
        """
        name = (organization_id, project_id)
        if self._stopped.get(name) is KeyState.DESTROYED:
            raise Conflict(f"The content key of the project '{project_id}' is destroyed.")
        now = int(time.time())
        row = ContentKeyRow(
            id=new_id(f"{MARK}_"),
            organization_id=organization_id,
            project_id=project_id,
            owner_id="",
            master="",
            wrapped=b"",
            state=KeyState.REVOKED,
            created_at=now,
            revoked_at=now,
        )
        changed = await revoke_project(self._database, row)
        self._stop(name, KeyState.REVOKED)
        return changed

    async def restore(self, organization_id: str, project_id: str) -> bool:
        """Let a project's keys be used again; false if nothing stood in the way.

        Raises:
            Conflict: the key is destroyed.
        """
        name = (organization_id, project_id)
        state = self._stopped.get(name)
        if state is KeyState.DESTROYED:
            raise Conflict(f"The content key of the project '{project_id}' is destroyed, and cannot be restored.")
        if state is None:
            return False
        await restore_project(self._database, Tenant(organization_id, project_id))
        del self._stopped[name]
        self._tell()
        return True

    async def destroy_project(self, organization_id: str, project_id: str) -> list[ContentKeyRow]:
        """Destroy all keys of a project, for ever; those that there were."""
        gone = await self._destroy(Tenant(organization_id, project_id))
        self._stop((organization_id, project_id), KeyState.DESTROYED)
        return gone

    async def destroy_owner(self, organization_id: str, owner_id: str) -> list[ContentKeyRow]:
        """Destroy an owner's keys in all projects, for ever; those that there were."""
        assert owner_id, "a project's own keys go with the project"
        return await self._destroy(Tenant(organization_id, "", owner_id))

    async def rewrap(self, after: str = "") -> Rewrapped:
        """One step of exchanging the master key: wrap the next keys under the one in use.

        The first step makes the home's next master key, where the one in use is the home's own. The last step, after
        which nothing is wrapped under another, deletes the one before. Whatever interrupts it, both are known until
        then, and it can be begun again.

        Args:
            after: what the step before said; nothing to begin.

        Raises:
            ContentUnreadable: a key is wrapped under a master key that is not known.
            Conflict: there are several gateways, and the key in use is a file of this one's home.
            KeyServiceUnavailable, HomeError: as they say.
        """
        async with self._rotating:
            if not after:
                if self._database.is_shared and self._masters.is_homes_own:
                    raise Conflict(
                        "The master key is a file of this gateway's home, and the others would not have the next one: "
                        "give all of them a new key by 'encryption.master_key', and the one before in "
                        "'encryption.previous_master_keys'; then rotate."
                    )
                self._masters.begin_rotation()
                await rewrap_shared(self._database, self._masters)
            rows = await list_content_keys(self._database, after=after, limit=BATCH)
            for row in rows:
                await self._rewrap(row)
            if len(rows) == BATCH:
                return Rewrapped(len(rows), rows[-1].id)
            await self._end_rotation()
            return Rewrapped(len(rows), None)

    async def _made(self, tenant: Tenant) -> ContentKeyRow:
        """A new key of a tenant; another one's, if another request was faster."""
        making: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._making.add(making)
        try:
            key, master = secrets.token_bytes(KEY_BYTES), self._masters.current
            row = ContentKeyRow(
                id=new_id("ckey_"),
                organization_id=tenant.organization_id,
                project_id=tenant.project_id,
                owner_id=tenant.owner_id,
                master=master.name,
                wrapped=await master.wrap(key, context_of(tenant)),
                state=KeyState.ACTIVE,
                created_at=int(time.time()),
            )
            return await add_content_key(self._database, row)
        finally:
            self._making.discard(making)
            making.set_result(None)

    async def _end_rotation(self) -> None:
        """Let the earlier master keys go, if nothing is wrapped under them any more, nor is about to be."""
        if self._making:
            await asyncio.wait(set(self._making))
        current = self._masters.current.name
        for row in [row async for row in self._rows() if row.master != current]:
            await self._rewrap(row)  # made while the rotation went on
        if set(await masters_in_use(self._database)) <= {current}:
            await self._database.purge()
            self._masters.end_rotation()
            self._forget()

    async def _rows(self, organization_id: str | None = None) -> AsyncIterator[ContentKeyRow]:
        after = ""
        while rows := await list_content_keys(self._database, after=after, organization_id=organization_id):
            for row in rows:
                yield row
            after = rows[-1].id

    async def _rewrap(self, row: ContentKeyRow) -> None:
        if not row.wrapped:
            return  # destroyed, or the mere state of a project that keeps nothing
        context = context_of(row.tenant)
        key = await self._masters.named(row.master).unwrap(row.wrapped, context)
        master = self._masters.current
        await rewrap_content_key(self._database, row, master.name, await master.wrap(key, context))

    async def _destroy(self, tenant: Tenant) -> list[ContentKeyRow]:
        now = int(time.time())
        tombstone = ContentKeyRow(
            id=new_id(f"{MARK}_"),
            organization_id=tenant.organization_id,
            project_id=tenant.project_id,
            owner_id=tenant.owner_id,
            master="",
            wrapped=b"",
            state=KeyState.DESTROYED,
            created_at=now,
            destroyed_at=now,
        )
        gone = await destroy_content_keys(self._database, tombstone, now)
        self._forget()
        return gone

    def _stop(self, project: tuple[str, str], state: KeyState) -> None:
        self._stopped[project] = state
        self._forget()
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def _forget(self) -> None:
        """Empty the cache, and have what is being unwrapped at this moment looked up again."""
        self._epoch += 1
        self._cache.clear()

    def _cached(self, tenant: Tenant) -> bytes | None:
        self.check_project(tenant.organization_id, tenant.project_id)
        entry = self._cache.get(tenant)
        if entry is None or entry[1] <= self._clock():
            self._cache.pop(tenant, None)
            return None
        self._cache.move_to_end(tenant)
        return entry[0]

    async def _key(self, tenant: Tenant, *, make: bool) -> bytes:
        """The key of a tenant, as it is when nothing has changed from the look into the database to the answer."""
        while True:
            found = self._cached(tenant)
            if found is not None:
                return found
            epoch = self._epoch
            row = await get_content_key(self._database, tenant)
            if row is None and make:
                row = await self._made(tenant)
            try:
                key = await self._unwrapped(row)
            except ContentUnreadable:
                if epoch == self._epoch:
                    raise
                continue  # a rotation has ended meanwhile
            if epoch == self._epoch:
                self._cache[tenant] = (key, self._clock() + self._cache_s)
                if len(self._cache) > CACHED_KEYS:
                    self._cache.popitem(last=False)
                return key

    async def _unwrapped(self, row: ContentKeyRow | None) -> bytes:
        if row is None:
            raise ContentUnreadable("The content cannot be decrypted: there is no key for it.")
        if row.state is KeyState.DESTROYED:
            raise ContentUnreadable("The content is gone: whose it was, or the project, was erased.")
        return await self._masters.named(row.master).unwrap(row.wrapped, context_of(row.tenant))


def context_of(tenant: Tenant) -> bytes:
    """What a tenant's wrapped key is bound to."""
    return b"freehold content key\x01" + framed(tenant.organization_id, tenant.project_id, tenant.owner_id)


def _stopped(project_id: str, state: KeyState) -> ProjectKeyRevoked:
    if state is KeyState.DESTROYED:
        return ProjectKeyRevoked(f"The project '{project_id}' was erased: its content key is destroyed.")
    return ProjectKeyRevoked(
        f"The content key of the project '{project_id}' is revoked: nothing is done for it until it is restored."
    )
