"""API keys: made here, kept as keyed hashes, known in memory, revoked at once.

A key is `fh-` and 256 random bits. The database holds HMAC-SHA256 of it under the home's pepper, and its
last four characters; whoever reads the database without the pepper cannot even test a guess.

A key belongs to a member of the organization and never allows more than the member's roles do at the moment of use;
a scope cuts it down further.
"""

import hmac
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from freehold.errors import InvalidRequest, NotFound, Unauthenticated
from freehold.governance.directory import ORGANIZATION, PROJECT, WHOLE, Directory
from freehold.store.database import Database
from freehold.store.directory import MemberRow
from freehold.store.keys import KeyRow, all_keys, insert_key, set_last_used, set_revoked, update_key
from freehold.types.identity import DATA_PLANE, Action, KeyScope, Principal, Role
from freehold.types.ids import new_id

PREFIX = "fh-"


class KeyRing:
    """Every key of the home, in memory by its keyed hash.

    Args:
        database: where the hashes are.
        pepper: the home's secret.
        directory: whose keys they are.
        clock: seconds since the epoch.
    """

    def __init__(
        self, database: Database, pepper: bytes, directory: Directory, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._keyed = hmac.new(pepper, digestmod="sha256")
        self._directory = directory
        self._clock = clock
        self._by_digest: dict[bytes, KeyRow] = {}
        self._by_id: dict[str, KeyRow] = {}
        self._principals: dict[str, Principal] = {}
        """What was found out of keys since the last change."""
        self._networks: dict[str, tuple[IPv4Network | IPv6Network, ...]] = {}
        self._used: dict[str, int] = {}
        self._listeners: list[Callable[[], None]] = []
        directory.on_change(self._principals.clear)

    async def load(self) -> None:
        """Read the keys from the database."""
        rows = await all_keys(self._database)
        self._by_digest = {row.digest: row for row in rows}
        self._by_id = {row.id: row for row in rows}
        self._principals.clear()
        self._networks.clear()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` the moment that a key was revoked, or ends at another time than before."""
        self._listeners.append(listener)

    def authenticate(self, credential: str | None, address: str | None = None) -> Principal:
        """The principal of a valid key.

        The look-up is by HMAC, so its time tells nothing about the key.

        Args:
            credential: the key.
            address: the IP address that it comes from.

        Raises:
            Unauthenticated: no key, an unknown, revoked or expired one, or one that may not be used from there; the
                message shows four characters at most.
        """
        if credential is None:
            raise Unauthenticated(
                "You didn't provide an API key. Send it as 'Authorization: Bearer <key>' or as 'api-key: <key>'."
            )
        digest = self._digest(credential)
        row = self._by_digest.get(digest)
        if row is None or not hmac.compare_digest(row.digest, digest):
            raise Unauthenticated(f"Incorrect API key provided: {redact(credential)}.")
        principal = self.principal(row.id)
        if "ip_ranges" in row.scope:
            self._check_address(row, address)
        self._used[row.id] = int(self._clock())
        return principal

    def principal(self, key_id: str) -> Principal:
        """Whose key it is and what it may do now.

        Raises:
            Unauthenticated: the key, its owner or its project may be used no more.
        """
        row = self._by_id.get(key_id)
        if row is None or row.revoked_at is not None:
            shown = "" if row is None else f": {PREFIX}****{row.last4}"
            raise Unauthenticated(f"Incorrect API key provided{shown}.")
        if row.expires_at is not None and row.expires_at <= self._clock():
            raise Unauthenticated(f"The API key {PREFIX}****{row.last4} has expired.")
        principal = self._principals.get(key_id)
        if principal is None:
            principal = self._principals[key_id] = self._found(row)
        return principal

    async def create(
        self,
        name: str,
        owner: MemberRow,
        project_id: str,
        scope: KeyScope | None = None,
        *,
        lifetime_s: int | None = None,
    ) -> tuple[KeyRow, str]:
        """Make a key of a member's. The second value is the key itself, which is kept nowhere.

        Args:
            name: what it is for.
            owner: whose key it is.
            project_id: in which project it acts; `WHOLE` for one of the organization.
            scope: what it is cut down to.
            lifetime_s: after how many seconds it ends.

        Raises:
            InvalidRequest: a network of the scope is none.
        """
        key = PREFIX + secrets.token_urlsafe(32)
        now = int(self._clock())
        row = KeyRow(
            id=new_id("key_"),
            name=name,
            digest=self._digest(key),
            last4=key[-4:],
            organization_id=owner.organization_id,
            project_id=project_id,
            owner_id=owner.id,
            created_at=now,
            scope=_scope_wire(scope),
            expires_at=None if lifetime_s is None else now + lifetime_s,
        )
        await insert_key(self._database, row)
        self._keep(row)
        return row, key

    async def issue(self, name: str, role: Role) -> tuple[KeyRow, str]:
        """Make a service account with a role, and a key for it; an owner's is one of the organization."""
        where = None if role is Role.OWNER else PROJECT
        owner = await self._directory.create_service_account(ORGANIZATION, where, name, [role])
        return await self.create(name, owner, PROJECT)

    async def rotate(self, key_id: str, overlap_s: int) -> tuple[KeyRow, str]:
        """Make a successor with the same owner, project, scope and name; the old key ends after the overlap.

        Raises:
            NotFound: there is no such key.
            InvalidRequest: it can be used no more.
        """
        old = self.row(key_id)
        now = int(self._clock())
        if old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= now):
            raise InvalidRequest(f"The key '{key_id}' can be used no more; make a new one.")
        owner = self._directory.member(old.owner_id)
        if owner is None:
            raise InvalidRequest(f"The owner of the key '{key_id}' was removed; make a new key.")
        lifetime_s = None if old.expires_at is None else old.expires_at - old.created_at
        scope = _scope_read(old.scope)
        made = await self.create(old.name, owner, old.project_id, scope, lifetime_s=lifetime_s)
        ends_at = now + overlap_s if old.expires_at is None else min(old.expires_at, now + overlap_s)
        await update_key(self._database, key_id, expires_at=ends_at)
        self._keep(replace(old, expires_at=ends_at))
        self._tell()
        return made

    async def revoke(self, *key_ids: str) -> list[KeyRow]:
        """Revoke keys: refused from now on, their running requests told to stop.

        Raises:
            NotFound: there is no such key.
        """
        now = int(self._clock())
        rows = [self.row(key_id) for key_id in key_ids]
        await set_revoked(self._database, list(key_ids), now)
        revoked = [replace(row, revoked_at=row.revoked_at or now) for row in rows]
        for row in revoked:
            self._keep(row)
        self._tell()
        return revoked

    async def retire(self, key_ids: Iterable[str], name: str) -> list[str]:
        """Revoke keys and take their names away, which may tell of a person; the ids of those that were valid."""
        rows = [self.row(key_id) for key_id in key_ids]
        valid = [row.id for row in rows if row.revoked_at is None]
        if valid:
            await self.revoke(*valid)
        for row in rows:
            await update_key(self._database, row.id, name=name)
            self._keep(replace(self._by_id[row.id], name=name))
        return valid

    async def write_last_used(self) -> None:
        """Write down when keys were used since the last call."""
        used, self._used = self._used, {}
        if used:
            await set_last_used(self._database, used)
        for key_id, at in used.items():
            self._keep(replace(self._by_id[key_id], last_used_at=at))

    def take_used(self) -> dict[str, int]:
        """When keys were used since the last call, for another key ring that writes it down."""
        used, self._used = self._used, {}
        return used

    def note_used(self, used: Mapping[str, int]) -> None:
        """Take note of when keys were used elsewhere."""
        for key_id, at in used.items():
            if key_id in self._by_id:
                self._used[key_id] = max(at, self._used.get(key_id, 0))

    def row(self, key_id: str) -> KeyRow:
        """One key, with the moment of its last use. Raises NotFound."""
        row = self._by_id.get(key_id)
        if row is None:
            raise NotFound(f"No API key has the id '{key_id[:64]}'.")
        used = self._used.get(key_id)
        return row if used is None else replace(row, last_used_at=used)

    def rows(self, organization_id: str | None = None) -> list[KeyRow]:
        """Every key, revoked ones included, oldest first; only an organization's, if one is named."""
        rows = sorted(self._by_id.values(), key=lambda row: (row.created_at, row.id))
        return [self.row(row.id) for row in rows if organization_id in {None, row.organization_id}]

    def cut(self, key_id: str) -> frozenset[Action]:
        """What a key may be used for at most, whatever its owner may do. A key of the organization runs no model."""
        row = self._by_id[key_id]
        operations = _scope_read(row.scope).operations
        cut = frozenset(Action) if operations is None else frozenset(operations)
        return cut - (DATA_PLANE - {Action.READ_RECEIPTS}) if row.project_id == WHOLE else cut

    def _found(self, row: KeyRow) -> Principal:
        """What the directory and the scope make of a key."""
        principal = self._directory.principal(
            row.owner_id, row.project_id, auth_method="api_key", expires_at=row.expires_at
        )
        scope = _scope_read(row.scope)
        cut = self.cut(row.id)
        return replace(
            principal,
            actions=principal.actions & cut,
            organization_actions=principal.organization_actions & cut,
            models=scope.models,
            key_id=row.id,
            key_name=row.name,
            key_last4=row.last4,
        )

    def _check_address(self, row: KeyRow, address: str | None) -> None:
        networks = self._networks.get(row.id)
        if networks is None:
            networks = self._networks[row.id] = tuple(ip_network(text) for text in row.scope["ip_ranges"])
        try:
            here = ip_address(address or "")
        except ValueError:
            here = None
        if here is None or not any(here in network for network in networks):
            raise Unauthenticated(f"The API key {PREFIX}****{row.last4} may not be used from this address.")

    def _keep(self, row: KeyRow) -> None:
        self._by_digest[row.digest] = self._by_id[row.id] = row
        self._principals.pop(row.id, None)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def _digest(self, key: str) -> bytes:
        digest = self._keyed.copy()
        digest.update(key.encode("utf-8", "surrogatepass"))
        return digest.digest()


def redact(credential: str) -> str:
    """What may be shown of a credential: its prefix if it is one of ours, and four characters of a long one."""
    prefix = PREFIX if credential.startswith(PREFIX) else ""
    shown = credential[-4:] if len(credential) >= 16 and credential[-4:].isprintable() else ""
    return f"{prefix}****{shown}"


def _scope_wire(scope: KeyScope | None) -> dict[str, Any]:
    """A scope as it is stored: what is not restricted is left out."""
    if scope is None:
        return {}
    wire: dict[str, Any] = {}
    if scope.models is not None:
        wire["models"] = list(scope.models)
    if scope.operations is not None:
        wire["operations"] = [action.value for action in scope.operations]
    if scope.ip_ranges is not None:
        wire["ip_ranges"] = [_network(text) for text in scope.ip_ranges]
    return wire


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as exc:
        raise InvalidRequest(f"'{text[:64]}' is no network in CIDR notation: {exc}", param="ip_ranges") from None


def _scope_read(wire: Any) -> KeyScope:
    """A stored scope; an action that this version does not know allows nothing."""
    known: Iterable[Action] = Action
    operations = wire.get("operations")
    return KeyScope(
        models=tuple(wire["models"]) if "models" in wire else None,
        operations=None if operations is None else tuple(action for action in known if action.value in operations),
        ip_ranges=tuple(wire["ip_ranges"]) if "ip_ranges" in wire else None,
    )
