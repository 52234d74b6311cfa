"""The door: the one place that makes of a request the principal who sent it.

Every route that is not public comes through here, whatever its path: nothing is decided by looking at paths. An
error of the infrastructure on the way is raised as what it is; it never yields a principal, and never a 401.
"""

from starlette.types import Scope

from freehold.encryption.content_keys import ContentKeys
from freehold.errors import Forbidden, FreeholdError, ProjectKeyRevoked, Unauthenticated
from freehold.governance.credentials import credential_from
from freehold.governance.directory import WHOLE, Directory, absent
from freehold.governance.keys import KeyRing
from freehold.types.identity import DATA_PLANE, Action, Principal


class Door:
    """Knows who is asking, and whether who was let in may go on.

    Args:
        keys: the API keys.
        directory: whom they belong to.
        content_keys: whether their projects may be served.
    """

    def __init__(self, keys: KeyRing, directory: Directory, content_keys: ContentKeys) -> None:
        self._keys = keys
        self._directory = directory
        self._content_keys = content_keys

    async def authenticate(self, scope: Scope) -> Principal:
        """Who sent a request.

        Raises:
            Unauthenticated: it carries no credential, or one that is not valid.
        """
        return self._keys.authenticate(credential_from(scope["headers"]), address_of(scope))

    def check_served(self, principal: Principal) -> None:
        """Return if something may be done for the project that the principal acts in.

        Raises:
            ProjectKeyRevoked: its content key is revoked or destroyed.
        """
        self._content_keys.check_project(principal.organization_id, principal.project_id)

    def objection(self, principal: Principal) -> FreeholdError | None:
        """Why a request that runs for this principal may not go on; None if it may.

        To be asked after whatever may have changed: keys, roles, members, projects, content keys.
        """
        try:
            self.check_served(principal)
        except ProjectKeyRevoked as exc:
            return exc
        try:
            now = self._again(principal)
        except Unauthenticated as exc:
            return Unauthenticated(f"The credential was revoked while the request was running. {exc.message}")
        if Action.INFER in principal.actions and Action.INFER not in now.actions:
            return Forbidden("The role that allowed this request was taken away while it was running.")
        return None

    def actions_in(self, principal: Principal, project_id: str) -> frozenset[Action]:
        """What the principal may do in a project of its organization, be it the one in which it acts or another.

        A key of a project reaches no other one by roles that its owner holds there.
        """
        actions = principal.organization_actions
        if principal.project_id == project_id:
            return actions | principal.actions
        if principal.key_id and principal.project_id != WHOLE:
            return actions
        more = self._directory.roles.actions(self._directory.held(principal.id, project_id))
        return actions | (more & self._keys.cut(principal.key_id) if principal.key_id else more)

    def actions_in_known(self, principal: Principal, project_id: str) -> frozenset[Action]:
        """What the principal may do in a project, if it knows of that project at all.

        Raises:
            NotFound: there is no such project in its organization, or none in which it may do anything.
        """
        self._directory.project(principal.organization_id, project_id)
        actions = self.actions_in(principal, project_id)
        if not actions:
            raise absent("project", project_id)
        return actions

    def administers(self, principal: Principal) -> bool:
        """Whether there is anything that the principal may administer."""
        places = [principal.project_id, *self._directory.memberships(principal.id)]
        return any(self.actions_in(principal, project_id) - DATA_PLANE for project_id in places)

    def _again(self, principal: Principal) -> Principal:
        """The principal as it would be let in now."""
        if principal.key_id:
            return self._keys.principal(principal.key_id)
        return self._directory.principal(
            principal.id,
            principal.project_id,
            auth_method=principal.auth_method,
            session_id=principal.session_id,
            expires_at=principal.expires_at,
        )


def address_of(scope: Scope) -> str | None:
    """The IP address that a request comes from."""
    client = scope.get("client")
    return client[0] if client else None
