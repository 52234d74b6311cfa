"""The directory: organizations, their projects and members, and who holds which role where.

All of it is in memory; changes are written through to the database, one at a time, and told to the listeners.
An object of another organization is not found, exactly as one that does not exist.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from freehold.errors import Conflict, InvalidRequest, NotFound, Unauthenticated
from freehold.governance.authorization import Roles
from freehold.store.database import Database
from freehold.store.directory import (
    AssignmentRow,
    MemberRow,
    OrganizationRow,
    ProjectRow,
    all_rows,
    delete_member,
    has_organization,
    insert_rows,
    replace_row,
    set_assignments,
)
from freehold.types.identity import MemberKind, Principal, Role
from freehold.types.ids import new_id

ORGANIZATION: Final = "org-default"
PROJECT: Final = "proj-default"
"""The organization and the project that every home begins with. The first organization also runs the service: only
its members can be allowed to administer what all share."""
WHOLE: Final = ""
"""In place of a project's id: the whole organization."""
API: Final = "api"
"""The source of a role that was given through the API; those of an identity provider have its name."""


class Directory:
    """Who there is. `load` before use.

    Args:
        database: where it is stored.
        roles: what each role allows.
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, roles: Roles, *, clock: Callable[[], float] = time.time) -> None:
        self.roles = roles
        self._database = database
        self._clock = clock
        self._organizations: dict[str, OrganizationRow] = {}
        self._projects: dict[str, ProjectRow] = {}
        self._members: dict[str, MemberRow] = {}
        self._by_email: dict[str, str] = {}
        self._held: dict[str, list[AssignmentRow]] = {}
        self._listeners: list[Callable[[], None]] = []
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read the database, and take all of it over at once; a new home gets its organization and its project."""
        organizations = {row.id: row for row in await all_rows(self._database, OrganizationRow)}
        projects = {row.id: row for row in await all_rows(self._database, ProjectRow)}
        if ORGANIZATION not in organizations:
            organization = OrganizationRow(ORGANIZATION, "Default", self._now())
            project = ProjectRow(PROJECT, ORGANIZATION, "Default project", self._now())
            async with self._database.write() as connection:
                if not await has_organization(connection, ORGANIZATION):  # another gateway may begin at the same time
                    await insert_rows(connection, organization, project)
            organizations[ORGANIZATION], projects[PROJECT] = organization, project
        members = {row.id: row for row in await all_rows(self._database, MemberRow)}
        held: dict[str, list[AssignmentRow]] = {}
        for row in await all_rows(self._database, AssignmentRow):
            held.setdefault(row.member_id, []).append(row)
        self._organizations, self._projects, self._members, self._held = organizations, projects, members, held
        self._by_email = {row.email: row.id for row in members.values() if row.email is not None}

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change."""
        self._listeners.append(listener)

    # --- what there is ---

    def organizations(self) -> list[OrganizationRow]:
        """Every organization, oldest first."""
        return sorted(self._organizations.values(), key=_age)

    def organization(self, organization_id: str) -> OrganizationRow:
        """One organization. Raises NotFound."""
        try:
            return self._organizations[organization_id]
        except KeyError:
            raise absent("organization", organization_id) from None

    def projects(self, organization_id: str, *, archived: bool = False) -> list[ProjectRow]:
        """The organization's projects, oldest first; with `archived` also those."""
        rows = (row for row in self._projects.values() if row.organization_id == organization_id)
        return sorted((row for row in rows if archived or row.archived_at is None), key=_age)

    def project(self, organization_id: str, project_id: str) -> ProjectRow:
        """One project of the organization, archived or not. Raises NotFound."""
        row = self._projects.get(project_id)
        if row is None or row.organization_id != organization_id:
            raise absent("project", project_id)
        return row

    def users(self, organization_id: str) -> list[MemberRow]:
        """The organization's users, oldest first."""
        rows = (row for row in self._members.values() if row.organization_id == organization_id)
        return sorted((row for row in rows if row.kind == MemberKind.USER), key=_age)

    def user(self, organization_id: str, user_id: str) -> MemberRow:
        """One user of the organization. Raises NotFound."""
        return self._one(organization_id, user_id, MemberKind.USER)

    def user_by_email(self, email: str) -> MemberRow | None:
        """The user of that address, of whichever organization."""
        found = self._by_email.get(normal_email(email))
        return None if found is None else self._members[found]

    def member(self, member_id: str) -> MemberRow | None:
        """A user or service account by its id alone; for those who may know of all."""
        return self._members.get(member_id)

    def service_accounts(self, organization_id: str, project_id: str) -> list[MemberRow]:
        """The service accounts of a project, oldest first."""
        self.project(organization_id, project_id)
        return sorted((row for row in self._members.values() if row.project_id == project_id), key=_age)

    def service_account(self, organization_id: str, project_id: str, account_id: str) -> MemberRow:
        """One service account of a project. Raises NotFound."""
        row = self._one(organization_id, account_id, MemberKind.SERVICE_ACCOUNT)
        if row.project_id != project_id:
            raise absent("service account", account_id)
        return row

    def project_users(self, organization_id: str, project_id: str) -> list[MemberRow]:
        """The users who hold a role in the project itself."""
        self.project(organization_id, project_id)
        return [row for row in self.users(organization_id) if self.assignments(row.id, project_id)]

    def assignments(self, member_id: str, project_id: str) -> list[AssignmentRow]:
        """The roles that a member holds in just that project, or for `WHOLE` in the organization."""
        return [row for row in self._held.get(member_id, ()) if row.project_id == project_id]

    def memberships(self, member_id: str) -> list[str]:
        """The ids of the projects in which a member holds a role of its own, archived ones left out."""
        found = dict.fromkeys(row.project_id for row in self._held.get(member_id, ()) if row.project_id != WHOLE)
        return [project_id for project_id in found if self._projects[project_id].archived_at is None]

    def held(self, member_id: str, project_id: str) -> frozenset[str]:
        """The roles that a member has in a project, those of the organization included."""
        wanted = {project_id, WHOLE}
        return frozenset(row.role for row in self._held.get(member_id, ()) if row.project_id in wanted)

    def principal(
        self,
        member_id: str,
        project_id: str | None = None,
        *,
        auth_method: str,
        session_id: str = "",
        expires_at: int | None = None,
    ) -> Principal:
        """The member as a caller.

        Args:
            member_id: who.
            project_id: in which project; None for the first that it belongs to, `WHOLE` for the organization.
            auth_method: how it showed who it is.
            session_id: of its session, if it has one.
            expires_at: when what it showed ends.

        Raises:
            Unauthenticated: there is no such member any more, it is disabled, or its project is archived.
        """
        row = self._members.get(member_id)
        if row is None or row.disabled_at is not None:
            raise Unauthenticated("The account of this credential was disabled or removed.")
        if project_id is None:
            project_id = self.first_project(row)
        if project_id != WHOLE:
            project = self._projects.get(project_id)
            if project is None or project.organization_id != row.organization_id:
                raise Unauthenticated("The project of this credential does not exist.")
            if project.archived_at is not None:
                raise Unauthenticated("The project of this credential was archived.")
        roles = self.held(member_id, project_id)
        everywhere = self.roles.actions(row.role for row in self.assignments(member_id, WHOLE))
        return Principal(
            organization_id=row.organization_id,
            project_id=project_id,
            id=row.id,
            kind=MemberKind(row.kind),
            name=row.name,
            roles=roles,
            actions=self.roles.actions(roles),
            organization_actions=everywhere,
            auth_method=auth_method,
            session_id=session_id,
            expires_at=expires_at,
        )

    # --- changes ---

    async def create_organization(self, name: str) -> OrganizationRow:
        """Make an organization with a first project."""
        row = OrganizationRow(new_id("org-"), name, self._now())
        project = ProjectRow(new_id("proj_"), row.id, "Default project", self._now())
        async with self._database.turn(), self._changing, self._database.write() as connection:
            await insert_rows(connection, row, project)
        self._organizations[row.id], self._projects[project.id] = row, project
        self._tell()
        return row

    async def create_project(self, organization_id: str, name: str) -> ProjectRow:
        """Make a project."""
        self.organization(organization_id)
        row = ProjectRow(new_id("proj_"), organization_id, name, self._now())
        async with self._database.turn(), self._changing, self._database.write() as connection:
            await insert_rows(connection, row)
        self._projects[row.id] = row
        self._tell()
        return row

    async def rename_project(self, organization_id: str, project_id: str, name: str) -> ProjectRow:
        """Give a project another name. Raises NotFound, InvalidRequest if it is archived."""
        row = self.active_project(organization_id, project_id)
        return await self._put_project(replace(row, name=name))

    async def archive_project(self, organization_id: str, project_id: str) -> ProjectRow:
        """Archive a project: nothing in it can be used or changed any more. Raises NotFound, Conflict."""
        row = self.project(organization_id, project_id)
        if row.archived_at is not None:
            return row
        if len(self.projects(organization_id)) == 1:
            raise Conflict("The last project of an organization cannot be archived; make another one first.")
        return await self._put_project(replace(row, archived_at=self._now()))

    async def create_user(
        self, organization_id: str, email: str, name: str, roles: Iterable[str], *, source: str = API
    ) -> MemberRow:
        """Make a user with roles in the organization. Raises Conflict if the address is taken."""
        email = normal_email(email)
        row = MemberRow(new_id("user-"), organization_id, MemberKind.USER, None, name, email, self._now())
        return await self._create_member(row, WHOLE, roles, source)

    async def create_service_account(
        self, organization_id: str, project_id: str | None, name: str, roles: Iterable[str]
    ) -> MemberRow:
        """Make a service account of a project; of the organization if that is None."""
        if project_id is not None:
            self.active_project(organization_id, project_id)
        kind = MemberKind.SERVICE_ACCOUNT
        row = MemberRow(new_id("svc_"), organization_id, kind, project_id, name, None, self._now())
        return await self._create_member(row, project_id or WHOLE, roles, API)

    async def update_member(
        self, member_id: str, *, name: str | None = None, disabled: bool | None = None
    ) -> MemberRow:
        """Rename, disable or enable a member. Raises Conflict if it is the last owner that would be disabled."""
        async with self._database.turn(), self._changing:
            row = self._still(member_id)
            if disabled and row.disabled_at is None:
                self.check_owner_stays(row)
            at = row.disabled_at if disabled is None else (row.disabled_at or self._now()) if disabled else None
            row = replace(row, name=row.name if name is None else name, disabled_at=at)
            async with self._database.write() as connection:
                await replace_row(connection, row)
            self._members[row.id] = row
        self._tell()
        return row

    async def set_roles(self, member_id: str, project_id: str, roles: Iterable[str], *, source: str = API) -> None:
        """Replace the roles that a source gave a member in a project, or for `WHOLE` in the organization.

        Raises:
            InvalidRequest: there is no such role.
            Conflict: the organization would have no owner.
        """
        names = [self.roles.check(name) for name in dict.fromkeys(roles)]
        async with self._database.turn(), self._changing:
            row = self._still(member_id)
            if project_id == WHOLE and Role.OWNER not in names:
                self.check_owner_stays(row, source)
            kept = {known.role: known for known in self.assignments(member_id, project_id) if known.source == source}
            rows = [kept.get(name) or AssignmentRow(member_id, project_id, name, source, self._now()) for name in names]
            async with self._database.write() as connection:
                await set_assignments(connection, member_id, project_id, source, rows)
            others = [
                known
                for known in self._held.get(member_id, ())
                if (known.project_id, known.source) != (project_id, source)
            ]
            self._held[member_id] = others + rows
        self._tell()

    async def leave_project(self, member_id: str, project_id: str) -> None:
        """Take from a member every role in a project, whoever gave it."""
        for source in {row.source for row in self.assignments(member_id, project_id)}:
            await self.set_roles(member_id, project_id, (), source=source)

    async def delete_member(self, member_id: str) -> None:
        """Remove a user or service account with all its roles. Raises Conflict if it is the last owner."""
        async with self._database.turn(), self._changing:
            row = self._still(member_id)
            self.check_owner_stays(row)
            async with self._database.write() as connection:
                await delete_member(connection, member_id)
            del self._members[member_id]
            self._held.pop(member_id, None)
            if row.email is not None:
                del self._by_email[row.email]
        self._tell()

    async def _create_member(self, row: MemberRow, project_id: str, roles: Iterable[str], source: str) -> MemberRow:
        names = [self.roles.check(name) for name in dict.fromkeys(roles)]
        assignments = [AssignmentRow(row.id, project_id, name, source, row.created_at) for name in names]
        async with self._database.turn(), self._changing:
            if row.email in self._by_email:
                raise Conflict(f"There is already a user with the address '{row.email}'.", param="email")
            async with self._database.write() as connection:
                await insert_rows(connection, row, *assignments)
        self._members[row.id] = row
        self._held[row.id] = assignments
        if row.email is not None:
            self._by_email[row.email] = row.id
        self._tell()
        return row

    def _still(self, member_id: str) -> MemberRow:
        if member_id not in self._members:  # another gateway has removed it meanwhile
            raise absent("member", member_id)
        return self._members[member_id]

    async def _put_project(self, row: ProjectRow) -> ProjectRow:
        async with self._database.turn(), self._changing, self._database.write() as connection:
            await replace_row(connection, row)
        self._projects[row.id] = row
        self._tell()
        return row

    def check_owner_stays(self, leaving: MemberRow, source: str | None = None) -> None:
        """Raise Conflict if, without this member's roles from a source (None: from all), there would be no owner."""
        for row in self._members.values():
            if row.organization_id != leaving.organization_id or row.disabled_at is not None:
                continue
            for held in self.assignments(row.id, WHOLE):
                gone = row.id == leaving.id and source in {None, held.source}
                if held.role == Role.OWNER and not gone:
                    return
        if Role.OWNER in {held.role for held in self.assignments(leaving.id, WHOLE)}:
            raise Conflict("An organization must keep an owner; make somebody else an owner first.")

    def first_project(self, row: MemberRow) -> str:
        """The project that a member acts in if none is named."""
        if row.project_id is not None:
            return row.project_id
        own = self.memberships(row.id)
        return own[0] if own else self.projects(row.organization_id)[0].id

    def active_project(self, organization_id: str, project_id: str) -> ProjectRow:
        """One project that can be used. Raises NotFound, InvalidRequest if it is archived."""
        row = self.project(organization_id, project_id)
        if row.archived_at is not None:
            raise InvalidRequest(f"The project '{project_id}' is archived; it can no longer be used or changed.")
        return row

    def _one(self, organization_id: str, member_id: str, kind: MemberKind) -> MemberRow:
        row = self._members.get(member_id)
        if row is None or row.organization_id != organization_id or row.kind != kind:
            raise absent(kind.replace("_", " "), member_id)
        return row

    def _now(self) -> int:
        return int(self._clock())

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _age(row: OrganizationRow | ProjectRow | MemberRow) -> tuple[int, bool, str]:
    """What lists are in the order of, the same before and after a restart: ids made in one second are in order.

    What a new home began with has an id of its own, and was there before all else of that second.
    """
    return row.created_at, row.id not in {ORGANIZATION, PROJECT}, row.id


def normal_email(email: str) -> str:
    """An address as it is stored and compared."""
    return email.strip().lower()


def absent(what: str, name: str) -> NotFound:
    """The one answer to a question for what does not exist, or is somebody else's."""
    return NotFound(f"No {what} has the id '{name[:64]}'.")
