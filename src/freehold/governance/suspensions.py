"""Who is suspended: end users, known by their digests, and members, in one project or in the whole organization."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from freehold.errors import NotFound, Suspended
from freehold.store.database import Database
from freehold.store.suspensions import SuspensionRow, all_suspensions, delete_suspension, put_suspension
from freehold.types.abuse import SubjectKind
from freehold.types.identity import Principal
from freehold.types.ids import new_id

EVERYWHERE = ""
"""In place of a project: all of the organization."""

_Whose = tuple[str, str, str]
"""Organization, kind and id of a subject."""


class Suspensions:
    """All of them in memory; changes are written through to the database.

    A suspension ends when its time is over or when it is lifted; one that is over is as good as none.

    Args:
        database: where they are stored.
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._rows: dict[_Whose, dict[str, SuspensionRow]] = {}
        self._listeners: list[Callable[[], None]] = []
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read the database."""
        rows: dict[_Whose, dict[str, SuspensionRow]] = {}
        for row in await all_suspensions(self._database):
            rows.setdefault(_whose(row), {})[row.project_id] = row
        self._rows = rows

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` the moment that somebody was suspended."""
        self._listeners.append(listener)

    def objection(self, principal: Principal, end_user: str | None) -> Suspended | None:
        """Why nothing may be done for a caller, or for the end user it acts for; None if it may.

        Args:
            principal: who asks.
            end_user: the digest of the caller's end user, if it names one.
        """
        if not self._rows:
            return None
        whom = [(SubjectKind.PRINCIPAL, principal.id)]
        if end_user is not None:
            whom.append((SubjectKind.END_USER, end_user))
        for kind, subject_id in whom:
            row = self.of(principal.organization_id, principal.project_id, kind, subject_id)
            if row is not None:
                return _suspended(row)
        return None

    def of(self, organization_id: str, project_id: str, kind: SubjectKind, subject_id: str) -> SuspensionRow | None:
        """The suspension that holds for a subject in a project; None if none does."""
        there = self._rows.get((organization_id, kind.value, subject_id), {})
        for where in (EVERYWHERE, project_id):
            row = there.get(where)
            if row is not None and self._holds(row):
                return row
        return None

    def anywhere(self, organization_id: str, kind: SubjectKind, subject_id: str) -> list[SuspensionRow]:
        """All suspensions of a subject that hold, wherever they do."""
        there = self._rows.get((organization_id, kind.value, subject_id), {})
        return [row for row in there.values() if self._holds(row)]

    def all(self, organization_id: str, projects: Sequence[str] | None = None) -> list[SuspensionRow]:
        """An organization's suspensions that hold, oldest first; only those of some projects, if such are named."""
        rows = [
            row
            for there in self._rows.values()
            for row in there.values()
            if row.organization_id == organization_id and self._holds(row)
        ]
        chosen = [row for row in rows if projects is None or row.project_id in projects]
        return sorted(chosen, key=lambda row: (row.created_at, row.id))

    def get(self, organization_id: str, suspension_id: str) -> SuspensionRow:
        """One suspension of the organization that holds.

        Raises:
            NotFound: there is none of that id.
        """
        found = next((row for row in self.all(organization_id) if row.id == suspension_id), None)
        if found is None:
            raise NotFound(f"There is no suspension '{suspension_id[:64]}', or it has ended.")
        return found

    async def put(self, row: SuspensionRow) -> tuple[SuspensionRow | None, SuspensionRow]:
        """Suspend a subject in the place that the row says, from now on; in the place of its suspension there, if any.

        Args:
            row: without an id and a time of its own.

        Returns:
            The one that it replaces, and the one that holds now.

        Raises:
            HomeError: the database cannot be written; nothing has changed.
        """
        async with self._database.turn(), self._changing:
            await self._forget_ended()
            before = self._rows.get(_whose(row), {}).get(row.project_id)
            name = new_id("susp_") if before is None else before.id
            made = replace(row, id=name, created_at=int(self._clock()))
            await put_suspension(self._database, made)
            self._rows.setdefault(_whose(made), {})[made.project_id] = made
        for listener in self._listeners:
            listener()
        return before, made

    async def lift(self, organization_id: str, suspension_id: str) -> SuspensionRow:
        """End a suspension now; what it was.

        Raises:
            NotFound: there is none of that id that holds.
            HomeError: the database cannot be written; it holds on.
        """
        async with self._database.turn(), self._changing:
            row = self.get(organization_id, suspension_id)
            await self._remove(row)
        return row

    async def forget_strangers(self, member: Callable[[str], object | None]) -> None:
        """Delete the suspensions of members who are there no more.

        Args:
            member: the member of an id; None if there is none.
        """
        async with self._database.turn(), self._changing:
            rows = [row for there in self._rows.values() for row in there.values()]
            for row in rows:
                if row.kind == SubjectKind.PRINCIPAL.value and member(row.subject_id) is None:
                    await self._remove(row)

    def _holds(self, row: SuspensionRow) -> bool:
        return row.until is None or row.until > self._clock()

    async def _forget_ended(self) -> None:
        """Delete those that are over."""
        for row in [row for there in self._rows.values() for row in there.values() if not self._holds(row)]:
            await self._remove(row)

    async def _remove(self, row: SuspensionRow) -> None:
        await delete_suspension(self._database, row.id)
        there = self._rows[_whose(row)]
        del there[row.project_id]
        if not there:
            del self._rows[_whose(row)]


def _whose(row: SuspensionRow) -> _Whose:
    return row.organization_id, row.kind, row.subject_id


def _suspended(row: SuspensionRow) -> Suspended:
    who = "This end user" if row.kind == SubjectKind.END_USER.value else "Your account"
    where = "" if row.project_id == EVERYWHERE else " in this project"
    why = f": {row.reason}" if row.tell else "."
    return Suspended(f"{who} is suspended{where}{why}")
