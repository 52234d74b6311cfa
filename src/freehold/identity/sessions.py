"""Sessions of browsers: a cookie of 256 random bits, of which only the digest is kept.

All of them are in memory; when they were last used is written to the database now and then.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from freehold.errors import NotFound, Unauthenticated
from freehold.governance.directory import Directory
from freehold.store.database import Database
from freehold.store.sessions import (
    SessionRow,
    all_sessions,
    delete_sessions,
    insert_session,
    set_project,
    set_seen,
)
from freehold.types.identity import Principal
from freehold.types.ids import new_id
from freehold.types.signin import IdentitySettings

MAX_OF_ONE = 50
"""How many sessions one person may have; the one that was not used for longest makes room."""


class Sessions:
    """Who is signed in where. `load` before use.

    Args:
        database: where they are stored.
        directory: whose they are.
        settings: how long they hold.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        settings: IdentitySettings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._directory = directory
        self._settings = settings
        self._clock = clock
        self._rows: dict[bytes, SessionRow] = {}
        self._digests: dict[str, bytes] = {}
        self._seen: dict[bytes, int] = {}
        self._listeners: list[Callable[[], None]] = []

    @property
    def max_s(self) -> int:
        """How many seconds a session lasts at most."""
        return int(self._settings.session_max_s)

    async def load(self) -> None:
        """Read the database."""
        self._rows = {row.digest: row for row in await all_sessions(self._database)}
        self._digests = {row.id: row.digest for row in self._rows.values()}

    def on_end(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever sessions were ended."""
        self._listeners.append(listener)

    async def open(self, member_id: str, method: str, user_agent: str, *, instead_of: str | None) -> str:
        """Sign somebody in; the cookie's value, which is kept nowhere.

        Args:
            member_id: whom.
            method: `password`, or the provider's name.
            user_agent: what the browser calls itself.
            instead_of: the cookie that it had before, whose session ends.
        """
        if instead_of is not None:
            await self._end(row for row in [self._rows.get(_digest(instead_of))] if row is not None)
        now, cookie = int(self._clock()), secrets.token_urlsafe(32)
        row = SessionRow(
            digest=_digest(cookie),
            id=new_id("sess_"),
            member_id=member_id,
            project_id=None,
            method=method,
            user_agent=_plain(user_agent),
            created_at=now,
            seen_at=now,
            expires_at=now + self.max_s,
        )
        await insert_session(self._database, row)
        self._rows[row.digest] = row
        self._digests[row.id] = row.digest
        others = sorted(self.of(member_id), key=self._last_seen)
        await self._end(others[:-MAX_OF_ONE])
        return cookie

    def find(self, cookie: str) -> SessionRow:
        """The session of a cookie, which counts as used now.

        Raises:
            Unauthenticated: there is none, it was ended, or it has expired.
        """
        row = self._rows.get(_digest(cookie))
        if row is None or self._expired(row):
            raise _ended()
        self._seen[row.digest] = int(self._clock())
        return row

    def principal(self, cookie: str) -> Principal:
        """Who is signed in with a cookie, in the project that they chose.

        Raises:
            Unauthenticated: as `find`; also if the account was disabled or removed.
        """
        row = self.find(cookie)
        member = self._directory.member(row.member_id)
        project_id = row.project_id
        if member is None or project_id not in {each.id for each in self._directory.projects(member.organization_id)}:
            project_id = None
        return self._directory.principal(
            row.member_id, project_id, auth_method="session", session_id=row.id, expires_at=row.expires_at
        )

    def alive(self, session_id: str) -> bool:
        """Whether a session still holds."""
        row = self._by_id(session_id)
        return row is not None and not self._expired(row)

    def of(self, member_id: str) -> list[SessionRow]:
        """A person's sessions, oldest first, each with when it was last used."""
        rows = (row for row in self._rows.values() if row.member_id == member_id and not self._expired(row))
        return [replace(row, seen_at=self._last_seen(row)) for row in rows]

    async def choose_project(self, session_id: str, project_id: str) -> None:
        """Act in another project from now on. Raises Unauthenticated if the session has ended meanwhile."""
        row = self._by_id(session_id)
        if row is None:
            raise _ended()
        self._rows[row.digest] = replace(row, project_id=project_id)
        await set_project(self._database, row.digest, project_id)

    async def end(self, member_id: str, session_id: str) -> None:
        """End one session of a person.

        Raises:
            NotFound: they have no such session.
        """
        row = self._by_id(session_id)
        if row is None or row.member_id != member_id:
            raise NotFound(f"No session has the id '{session_id[:64]}'.")
        await self._end([row])

    async def end_all(self, member_id: str) -> int:
        """End every session of a person; how many there were."""
        return await self._end([row for row in self._rows.values() if row.member_id == member_id])

    async def sweep(self) -> None:
        """Forget sessions that have expired or whose people are gone; note when the others were used."""
        gone = [
            row for row in self._rows.values() if self._expired(row) or self._directory.member(row.member_id) is None
        ]
        await self._end(gone)
        await self._write_seen()

    async def _end(self, rows: Iterable[SessionRow]) -> int:
        ended = list(rows)
        if ended:
            for row in ended:  # at once, whatever the database says
                self._rows.pop(row.digest, None)
                self._digests.pop(row.id, None)
                self._seen.pop(row.digest, None)
            for listener in self._listeners:
                listener()
            await delete_sessions(self._database, [row.digest for row in ended])
        return len(ended)

    async def _write_seen(self) -> None:
        seen, self._seen = self._seen, {}
        if seen:
            self._rows |= {digest: replace(self._rows[digest], seen_at=at) for digest, at in seen.items()}
            await set_seen(self._database, seen)

    def _by_id(self, session_id: str) -> SessionRow | None:
        digest = self._digests.get(session_id)
        return None if digest is None else self._rows.get(digest)

    def _last_seen(self, row: SessionRow) -> int:
        return self._seen.get(row.digest, row.seen_at)

    def _expired(self, row: SessionRow) -> bool:
        now = self._clock()
        return now >= row.expires_at or now >= self._last_seen(row) + self._settings.session_idle_s


def _ended() -> Unauthenticated:
    return Unauthenticated("Your session has ended; sign in again.", code="session_ended")


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).digest()


def _plain(text: str) -> str:
    return "".join(char for char in text if char.isprintable())[:200]
