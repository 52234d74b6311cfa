"""API keys: made here, kept as keyed hashes, known in memory, revoked at once.

A key is `fh-` and 256 random bits. The database holds HMAC-SHA256 of it under the home's pepper, and its
last four characters; whoever reads the database without the pepper cannot even test a guess.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

from freehold.errors import NotFound, Unauthenticated
from freehold.store.database import Database
from freehold.store.keys import KeyRow, all_keys, insert_key, set_revoked
from freehold.types.identity import Principal, Role

PREFIX = "fh-"
ORGANIZATION = "org-default"
PROJECT = "proj-default"
"""The organization and the project of a home that has made no others."""


class KeyRing:
    """Every key of the home, in memory by its keyed hash."""

    def __init__(self, database: Database, pepper: bytes) -> None:
        self._database = database
        self._pepper = pepper
        self._by_digest: dict[bytes, KeyRow] = {}
        self._listeners: list[Callable[[str], None]] = []

    async def load(self) -> None:
        """Read the keys from the database."""
        self._by_digest = {row.digest: row for row in await all_keys(self._database)}

    def on_revoke(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with a key's id the moment that key is revoked."""
        self._listeners.append(listener)

    def authenticate(self, credential: str | None) -> Principal:
        """The principal of a valid key.

        The look-up is by HMAC, so its time tells nothing about the key.

        Raises:
            Unauthenticated: no key, an unknown one or a revoked one; the message shows four characters at most.
        """
        if credential is None:
            raise Unauthenticated(
                "You didn't provide an API key. Send it as 'Authorization: Bearer <key>' or as 'api-key: <key>'."
            )
        digest = self._digest(credential)
        row = self._by_digest.get(digest)
        if row is None or row.revoked_at is not None or not hmac.compare_digest(row.digest, digest):
            raise Unauthenticated(f"Incorrect API key provided: {redact(credential)}.")
        return Principal(
            organization_id=row.organization_id,
            project_id=row.project_id,
            key_id=row.id,
            key_name=row.name,
            key_last4=row.last4,
            roles=frozenset(Role(role) for role in row.roles),
        )

    async def create(self, name: str, role: Role) -> tuple[KeyRow, str]:
        """Make a key. The second value is the key itself, which is kept nowhere."""
        key = PREFIX + secrets.token_urlsafe(32)
        row = KeyRow(
            id=f"key_{secrets.token_hex(12)}",
            name=name,
            digest=self._digest(key),
            last4=key[-4:],
            organization_id=ORGANIZATION,
            project_id=PROJECT,
            roles=(role.value,),
            created_at=int(time.time()),
        )
        await insert_key(self._database, row)
        self._by_digest[row.digest] = row
        return row, key

    async def revoke(self, key_id: str) -> KeyRow:
        """Revoke a key: refused from now on, its running requests told to stop.

        Raises:
            NotFound: there is no such key.
        """
        row = next((row for row in self._by_digest.values() if row.id == key_id), None)
        if row is None:
            raise NotFound(f"No API key has the id '{key_id}'.")
        await set_revoked(self._database, key_id, int(time.time()))
        await self.load()
        for listener in self._listeners:
            listener(key_id)
        return next(row for row in self._by_digest.values() if row.id == key_id)

    def rows(self) -> list[KeyRow]:
        """Every key, revoked ones included, oldest first."""
        return sorted(self._by_digest.values(), key=lambda row: (row.created_at, row.id))

    def _digest(self, key: str) -> bytes:
        return hmac.new(self._pepper, key.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


def redact(credential: str) -> str:
    """What may be shown of a credential: its prefix if it is one of ours, and four characters of a long one."""
    prefix = PREFIX if credential.startswith(PREFIX) else ""
    shown = credential[-4:] if len(credential) >= 16 and credential[-4:].isprintable() else ""
    return f"{prefix}****{shown}"
