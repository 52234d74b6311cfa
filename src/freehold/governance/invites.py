"""Invitations: who was asked to join an organization, with which roles, and whether they came.

An invitation is accepted by whoever signs in with its address through an identity provider, or has its link. The link
holds 256 random bits, of which only the keyed hash is kept.
"""

import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from freehold.errors import Conflict, NotFound
from freehold.governance.directory import Directory, absent, normal_email
from freehold.store.database import Database
from freehold.store.directory import InviteRow, MemberRow, all_invites, delete_invite, put_invite
from freehold.types.ids import new_id

LIFETIME_S = 7 * 86_400


class Invites:
    """Every invitation, in memory. `load` before use.

    Args:
        database: where they are stored.
        pepper: the home's secret.
        directory: what they lead into.
        clock: seconds since the epoch.
    """

    def __init__(
        self, database: Database, pepper: bytes, directory: Directory, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._key = hmac.digest(pepper, b"freehold invitations", "sha256")
        self._directory = directory
        self._clock = clock
        self._rows: dict[str, InviteRow] = {}

    async def load(self) -> None:
        """Read the database."""
        self._rows = {row.id: row for row in await all_invites(self._database)}

    def all(self, organization_id: str) -> list[InviteRow]:
        """The organization's invitations, oldest first."""
        return [row for row in self._rows.values() if row.organization_id == organization_id]

    def get(self, organization_id: str, invite_id: str) -> InviteRow:
        """One invitation of the organization. Raises NotFound."""
        row = self._rows.get(invite_id)
        if row is None or row.organization_id != organization_id:
            raise absent("invite", invite_id)
        return row

    def status(self, row: InviteRow) -> str:
        """`accepted`, `expired` or `pending`."""
        if row.accepted_at is not None:
            return "accepted"
        return "expired" if row.expires_at <= self._clock() else "pending"

    async def create(
        self, organization_id: str, email: str, role: str, projects: Sequence[tuple[str, str]] = ()
    ) -> InviteRow:
        """Invite somebody.

        Args:
            organization_id: into which organization.
            email: whom.
            role: to hold in the organization.
            projects: ids of projects, and the role to hold in each.

        Raises:
            Conflict: the address is a user's, or was invited already.
            NotFound, InvalidRequest: a project or a role does not exist.
        """
        async with self._database.turn():
            return await self._create(organization_id, normal_email(email), role, projects)

    async def _create(
        self, organization_id: str, email: str, role: str, projects: Sequence[tuple[str, str]]
    ) -> InviteRow:
        if self._directory.user_by_email(email) is not None:
            raise Conflict(f"There is already a user with the address '{email}'.", param="email")
        if any(row.email == email and self.status(row) == "pending" for row in self._rows.values()):
            raise Conflict(f"'{email}' has been invited already; delete that invitation first.", param="email")
        self._directory.roles.check(role)
        for project_id, project_role in projects:
            self._directory.active_project(organization_id, project_id)
            self._directory.roles.check(project_role)
        now = int(self._clock())
        row = InviteRow(
            new_id("invite-"),
            organization_id,
            email,
            role,
            tuple(projects),
            secrets.token_bytes(32),  # nobody's link until one is asked for
            now,
            now + LIFETIME_S,
        )
        await self._put(row)
        return row

    async def link(self, organization_id: str, invite_id: str) -> str:
        """The secret of a new link for an invitation; the one before holds no more.

        Raises:
            NotFound: there is no such invitation.
            Conflict: it was accepted, or has expired.
        """
        async with self._database.turn():
            row = self.get(organization_id, invite_id)
            self._check_pending(row)
            token = secrets.token_urlsafe(32)
            await self._put(replace(row, token_digest=self._digest(token)))
        return token

    def by_token(self, token: str) -> InviteRow:
        """The pending invitation of a link. Raises NotFound."""
        digest = self._digest(token)
        for row in self._rows.values():
            if hmac.compare_digest(row.token_digest, digest) and self.status(row) == "pending":
                return row
        raise NotFound("This invitation does not exist, was used, or has expired; ask for a new one.")

    def pending(self, email: str) -> InviteRow | None:
        """The pending invitation of an address."""
        email = normal_email(email)
        rows = (row for row in self._rows.values() if row.email == email and self.status(row) == "pending")
        return next(rows, None)

    async def accept(self, row: InviteRow, name: str) -> MemberRow:
        """Make the invited person a user with the roles of the invitation.

        Raises:
            Conflict: it was accepted before, has expired, or the address is a user's.
        """
        async with self._database.turn():
            self._check_pending(self._rows.get(row.id, row))
            member = await self._directory.create_user(row.organization_id, row.email, name, [row.role])
            for project_id, role in row.projects:
                if self._directory.project(row.organization_id, project_id).archived_at is None:
                    await self._directory.set_roles(member.id, project_id, [role])
            await self._put(replace(row, accepted_at=int(self._clock())))
        return member

    async def delete(self, organization_id: str, invite_id: str) -> None:
        """Take an invitation back. Raises NotFound, Conflict if it was accepted."""
        row = self.get(organization_id, invite_id)
        if row.accepted_at is not None:
            raise Conflict("The invitation was accepted; remove the user instead.")
        async with self._database.write() as connection:
            await delete_invite(connection, invite_id)
        del self._rows[invite_id]

    async def forget(self, organization_id: str, email: str) -> int:
        """Remove every invitation of an address, accepted ones too; how many there were."""
        found = [row.id for row in self.all(organization_id) if row.email == normal_email(email)]
        for invite_id in found:
            async with self._database.write() as connection:
                await delete_invite(connection, invite_id)
            del self._rows[invite_id]
        return len(found)

    def _check_pending(self, row: InviteRow) -> None:
        status = self.status(row)
        if status != "pending":
            raise Conflict(f"The invitation is {status}; make a new one.")

    async def _put(self, row: InviteRow) -> None:
        async with self._database.write() as connection:
            await put_invite(connection, row)
        self._rows[row.id] = row

    def _digest(self, token: str) -> bytes:
        return hmac.digest(self._key, token.encode("utf-8", "surrogatepass"), "sha256")
