"""Erasing a user or a project: the keys of what was kept are destroyed, and a certificate says so.

In this order, so that whatever interrupts it, the same call again finishes it: the keys are destroyed, after which
nothing new can be kept; the member or the project goes from the directory, and their API keys with it, so what runs
ends; the rows of content are deleted; the database is purged, so that no destroyed key is left in a file of it; the
journal records it; the certificate is signed. Receipts stay: they hold no content, and they are what bills and the
audit are made of.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from freehold.encryption.content_keys import ContentKeys
from freehold.errors import Conflict, NotFound
from freehold.gateway.control import DeploymentControl
from freehold.gateway.retention import Sweep
from freehold.governance.directory import Directory, absent
from freehold.governance.invites import Invites
from freehold.governance.keys import KeyRing
from freehold.journal.erasure_certificate import facts_digest, sign_certificate
from freehold.journal.journal import Journal, Position
from freehold.journal.reader import read_line
from freehold.journal.records import plain, utc
from freehold.journal.signer import Signer
from freehold.store.content_keys import ContentKeyRow
from freehold.store.database import Database
from freehold.store.erasures import ErasureRow, add_erasure, list_erasures
from freehold.types.content import KeyState
from freehold.types.ids import new_id

REMAINS: Final = (
    "receipts and administrative records in the journal, and the usage database: ids instead of names, and no content",
    "the ids of destroyed content keys and of revoked API keys, without the keys",
    "backups that were made before: they hold the content and its keys as they were, until they are deleted",
)
"""What an erasure does not reach, and why."""

Record = Callable[[Mapping[str, Any]], Awaitable[Position]]
"""Records the facts of an erasure in the journal, and says where the record stands."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom an erasure is about: `user` or `project`, of which organization, and the id."""

    kind: str
    organization_id: str
    id: str

    def has(self, row: ContentKeyRow) -> bool:
        """Whether a content key is, or was, the subject's."""
        return self.id == (row.owner_id if self.kind == "user" else row.project_id)


class Erasure:
    """Erases, and keeps the certificates.

    Args:
        database: where content, its keys and the certificates lie.
        content_keys: the keys to destroy.
        sweep: deletes the content.
        directory: who there is.
        keys: the API keys.
        invites: which hold addresses.
        deployments: a project's own ones stop.
        journal: has the record of each erasure.
        signer: signs the certificates.
        forget: delete what else is kept of members who are in the directory no more, such as passwords.
        ends: delete what else was made of content, such as models; told which project is erased, None for a user.
    """

    def __init__(
        self,
        database: Database,
        content_keys: ContentKeys,
        sweep: Sweep,
        directory: Directory,
        keys: KeyRing,
        invites: Invites,
        deployments: DeploymentControl,
        journal: Journal,
        signer: Signer,
        *,
        forget: Sequence[Callable[[], Awaitable[object]]] = (),
        ends: Sequence[Callable[[str | None], Awaitable[object]]] = (),
    ) -> None:
        self._database = database
        self._content_keys = content_keys
        self._sweep = sweep
        self._directory = directory
        self._keys = keys
        self._invites = invites
        self._deployments = deployments
        self._journal = journal
        self._signer = signer
        self._forget = forget
        self._ends = ends
        self._erasing = asyncio.Lock()

    async def erase_user(
        self, organization_id: str, user_id: str, by: Mapping[str, Any], record: Record
    ) -> dict[str, Any]:
        """Erase a user of an organization; also one who was removed from it before.

        Args:
            organization_id: of which organization.
            user_id: the user, or a service account.
            by: who asked for it.
            record: see `Record`.

        Returns:
            The signed certificate.

        Raises:
            NotFound: nothing here is or was the user's.
            Conflict: the user is the last owner.
            AuditUnavailable, HomeError: it cannot be finished now; the same call again does.
        """
        subject = Subject("user", organization_id, user_id)
        async with self._erasing:
            member = self._directory.member(user_id)
            known = [row.id for row in self._keys.rows(organization_id) if row.owner_id == user_id]
            if member is None:
                if not known and not await self._rows(subject):
                    raise absent("user", user_id)
            elif member.organization_id != organization_id:
                raise absent("user", user_id)
            else:
                self._directory.check_owner_stays(member)
            await self._content_keys.destroy_owner(organization_id, user_id)
            if member is not None:
                await self._directory.delete_member(user_id)
                if member.email is not None:
                    await self._invites.forget(organization_id, member.email)
            revoked = await self._keys.retire(known, "erased")
            for forget in self._forget:
                await forget()
            rows = await self._sweep.erase(organization_id, owner_id=user_id)
            for end in self._ends:
                await end(None)
            return await self._finish(subject, by, revoked, rows, record)

    async def erase_project(
        self, organization_id: str, project_id: str, by: Mapping[str, Any], record: Record
    ) -> dict[str, Any]:
        """Erase a project: its content and keys; the project itself is archived. Arguments and result as above.

        Raises:
            NotFound: there is no such project.
            Conflict: it is the organization's last one.
            AuditUnavailable, HomeError: it cannot be finished now; the same call again does.
        """
        subject = Subject("project", organization_id, project_id)
        async with self._erasing:
            row = self._directory.project(organization_id, project_id)
            if row.archived_at is None and len(self._directory.projects(organization_id)) == 1:
                raise Conflict("The last project of an organization cannot be erased; make another one first.")
            await self._content_keys.destroy_project(organization_id, project_id)
            await self._directory.archive_project(organization_id, project_id)
            known = [row.id for row in self._keys.rows(organization_id) if row.project_id == project_id]
            revoked = await self._keys.retire(known, "erased")
            await self._deployments.review()
            rows = await self._sweep.erase(organization_id, project_id=project_id)
            for end in self._ends:
                await end(project_id)
            return await self._finish(subject, by, revoked, rows, record)

    async def all(self, organization_id: str) -> list[ErasureRow]:
        """An organization's erasures, oldest first."""
        return await list_erasures(self._database, organization_id)

    async def get(self, organization_id: str, erasure_id: str) -> ErasureRow:
        """One erasure of the organization. Raises NotFound."""
        found = next((row for row in await self.all(organization_id) if row.id == erasure_id), None)
        if found is None:
            raise NotFound(f"There is no erasure '{erasure_id[:64]}'.")
        return found

    async def _rows(self, subject: Subject) -> list[ContentKeyRow]:
        """Every content key that a subject has, or had."""
        return [row for row in await self._content_keys.rows(subject.organization_id) if subject.has(row)]

    async def _finish(
        self, subject: Subject, by: Mapping[str, Any], revoked: list[str], rows: Mapping[str, int], record: Record
    ) -> dict[str, Any]:
        """Purge, record, sign and keep the certificate."""
        await self._database.purge()
        erasure_id, now = new_id("erasure_"), time.time()
        facts = plain(
            {
                "id": erasure_id,
                "subject": {"kind": subject.kind, "id": subject.id, "organization_id": subject.organization_id},
                "erased_at": utc(now),
                "by": by,
                "content_keys_destroyed": [_destroyed(row) for row in await self._rows(subject) if not row.is_mark],
                "api_keys_revoked": revoked,
                "rows_deleted": rows,
            }
        )
        position = await record(facts)
        line = await asyncio.to_thread(read_line, self._journal.folder, position.segment, position.offset)
        certificate = sign_certificate(
            {
                **facts,
                "facts_sha256": facts_digest(facts),
                "journal": {
                    "writer": self._journal.folder.name,
                    "segment": position.segment,
                    "seq": position.seq,
                    "sha256": hashlib.sha256(line.raw).hexdigest(),
                },
                "remains": list(REMAINS),
            },
            self._signer,
        )
        await add_erasure(self._database, ErasureRow(erasure_id, subject.organization_id, certificate, int(now)))
        await self._journal.checkpoint()
        return certificate


def _destroyed(row: ContentKeyRow) -> dict[str, Any]:
    assert row.state is KeyState.DESTROYED, "nothing of a subject is left when it is told"
    return {
        "id": row.id,
        "project_id": row.project_id,
        "owner_id": row.owner_id,
        "created_at": row.created_at,
        "destroyed_at": row.destroyed_at,
    }
