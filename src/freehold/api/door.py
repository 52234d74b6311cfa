"""The door: the one place that makes of a request the principal who sent it.

Every route that is not public comes through here, whatever its path: nothing is decided by looking at paths. An
error of the infrastructure on the way is raised as what it is; it never yields a principal, and never a 401.
"""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Scope

from freehold.api.signin.cookies import SESSION, cookie_from
from freehold.api.signin.origin import check_same_origin
from freehold.encryption.content_keys import ContentKeys
from freehold.errors import Forbidden, FreeholdError, ProjectKeyRevoked, Unauthenticated
from freehold.governance.credentials import carries_credential, credential_from
from freehold.governance.directory import WHOLE, Directory, absent
from freehold.governance.invites import Invites
from freehold.governance.keys import KeyRing
from freehold.governance.suspensions import Suspensions
from freehold.identity.identity import Identity
from freehold.identity.tokens import looks_like_jwt
from freehold.types.identity import DATA_PLANE, Action, MemberKind, Principal


class Door:
    """Knows who is asking, and whether who was let in may go on.

    Args:
        keys: the API keys.
        directory: whom they belong to.
        identity: tokens of identity providers, and sessions of browsers.
        content_keys: whether the callers' projects may be served.
        public_url: where browsers reach the server, if that is set.
    """

    def __init__(
        self,
        keys: KeyRing,
        directory: Directory,
        identity: Identity,
        content_keys: ContentKeys,
        public_url: str | None,
    ) -> None:
        self._keys = keys
        self._directory = directory
        self._identity = identity
        self._content_keys = content_keys
        self.public_url = public_url

    async def authenticate(self, scope: Scope) -> Principal:
        """Who sent a request: by an API key, by the JWT of an identity provider or, if it has neither, by its cookie.

        A cookie counts only where no header carries a credential, and where a change is asked for only if the request
        comes from a page of this server.

        Raises:
            Unauthenticated: it carries no credential, or one that is not valid.
            Forbidden: a cookie came with a request from elsewhere, or the provider's word is not enough.
            NotFound: a JWT came with a project that there is not.
            IdentityProviderUnavailable: the provider of a JWT cannot be asked for its keys.
        """
        credential = credential_from(scope["headers"])
        if credential is not None and looks_like_jwt(credential):
            return await self._identity.bearers.principal(credential, _header(scope, b"openai-project"))
        if credential is None and not carries_credential(scope["headers"]):
            cookie = cookie_from(scope, SESSION)
            if cookie is not None:
                principal = self._identity.sessions.principal(cookie)
                check_same_origin(scope, self.public_url)
                return principal
        return self._keys.authenticate(credential, address_of(scope))

    def returning(self, member_id: str, project_id: str, key_id: str, auth_method: str) -> Principal:
        """Somebody who asked for work that goes on without its request, as it would be let in now.

        Args:
            member_id: who.
            project_id: in which project.
            key_id: with which API key; empty without one.
            auth_method: how it showed then who it is.

        Raises:
            Unauthenticated: the key, the member or the project may be used no more.
        """
        if key_id:
            return self._keys.principal(key_id)
        return self._directory.principal(member_id, project_id, auth_method=auth_method)

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
            now = self.again(principal)
        except Unauthenticated as exc:
            return Unauthenticated(f"The credential was revoked while the request was running. {exc.message}")
        if Action.INFER in principal.actions and Action.INFER not in now.actions:
            return Forbidden("The role that allowed this request was taken away while it was running.")
        return None

    def again(self, principal: Principal) -> Principal:
        """The principal as it would be let in now.

        Raises:
            Unauthenticated: it would not be.
        """
        if principal.key_id:
            return self._keys.principal(principal.key_id)
        if principal.session_id and not self._identity.sessions.alive(principal.session_id):
            raise Unauthenticated("The session has ended.", code="session_ended")
        return self._directory.principal(
            principal.id,
            principal.project_id,
            auth_method=principal.auth_method,
            session_id=principal.session_id,
            expires_at=principal.expires_at,
        )

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

    def keeps_own_keys(self, principal: Principal) -> bool:
        """Whether there is a project in which the principal may keep API keys of its own."""
        places = [principal.project_id, *self._directory.memberships(principal.id)]
        return any(may_keep_own_keys(principal, self.actions_in(principal, project_id)) for project_id in places)


@dataclass(frozen=True, slots=True)
class People:
    """Who there is, and who is let in.

    Args:
        door: knows who is asking.
        directory: organizations, projects and their members.
        keys: their API keys.
        invites: who was asked to join.
        identity: sign-in.
        suspensions: who is suspended.
    """

    door: Door
    directory: Directory
    keys: KeyRing
    invites: Invites
    identity: Identity
    suspensions: Suspensions

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever somebody may do less than before: a member, a role, a key or a session has gone."""
        self.directory.on_change(listener)
        self.keys.on_change(listener)
        self.identity.sessions.on_end(listener)


def may_keep_own_keys(principal: Principal, actions: frozenset[Action]) -> bool:
    """Whether the principal may make, see, rotate and revoke keys of its own where it may do these actions.

    Users may who can call deployments there, once they have signed in. A key makes no keys by this rule: who found one
    could go on with others after it was revoked, and beyond its scope.
    """
    return principal.kind is MemberKind.USER and not principal.key_id and Action.INFER in actions


def _header(scope: Scope, wanted: bytes) -> str | None:
    """The value of a header; None if it is not there, or empty."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted and value), None)


def address_of(scope: Scope) -> str | None:
    """The IP address that a request comes from."""
    client = scope.get("client")
    return client[0] if client else None
