"""Who somebody is here whom a provider vouches for, and what they may do: by the newest thing that the provider said.

A person is known by the provider's issuer and `sub`, which never changes, and not by the address, which may pass to
somebody else. The address only decides, once, which user or invitation is meant.
"""

import asyncio
from dataclasses import replace

import structlog

from freehold.errors import Conflict, Forbidden, NotFound
from freehold.governance.directory import WHOLE, Directory
from freehold.governance.invites import Invites
from freehold.identity.claims import Statement
from freehold.store.database import Database
from freehold.store.directory import MemberRow
from freehold.store.signin import IdentityRow, identities_of, identity_of, put_identity
from freehold.types.signin import ProviderSettings

log = structlog.get_logger(__name__)


class Admission:
    """Lets people of providers in.

    Args:
        database: where it is noted who is who.
        directory: who there is.
        invites: who was invited.
    """

    def __init__(self, database: Database, directory: Directory, invites: Invites) -> None:
        self._database = database
        self._directory = directory
        self._invites = invites
        self._admitting = asyncio.Lock()

    async def admit(self, provider: ProviderSettings, said: Statement) -> MemberRow:
        """The user whom a provider speaks of; the roles that it gave earlier are replaced by those of now.

        Raises:
            Forbidden: nobody here is meant, the address is of another domain, or the account is disabled.
        """
        self._check_domain(provider, said)
        async with self._admitting:
            identity = await identity_of(self._database, provider.issuer, said.subject)
            member = self._directory.member(identity.member_id) if identity else None
            if identity is None or member is None:
                member = await self._unknown(provider, said)
                identity = IdentityRow(provider.issuer, said.subject, member.id, 0)
                log.info("identity_linked", provider=provider.name, member_id=member.id)
            if member.disabled_at is not None:
                raise Forbidden("Your account here is disabled; ask your administrator.", code="account_disabled")
            if said.stated_at >= identity.stated_at:
                await self._give_roles(provider, said, member)
            if said.stated_at > identity.stated_at:
                await put_identity(self._database, replace(identity, stated_at=said.stated_at))
        return member

    def _check_domain(self, provider: ProviderSettings, said: Statement) -> None:
        if not provider.email_domains or said.email is None:
            return
        domain = said.email.rpartition("@")[2]
        if domain not in {allowed.lower() for allowed in provider.email_domains}:
            raise _refused(f"addresses of '{domain}' are not accepted from '{provider.title}'")

    async def _unknown(self, provider: ProviderSettings, said: Statement) -> MemberRow:
        """The user for somebody who was not here before: one with the address, one invited, or a new one."""
        if said.email is None:
            raise _refused(f"'{provider.title}' does not vouch for an e-mail address of yours")
        member = self._directory.user_by_email(said.email)
        if member is not None:
            known = await identities_of(self._database, member.id)
            if member.organization_id != provider.organization or any(row.issuer == provider.issuer for row in known):
                raise _refused("the account with your address belongs to somebody else")
            return member
        invite = self._invites.pending(said.email)
        if invite is not None and invite.organization_id == provider.organization:
            return await self._invites.accept(invite, said.name)
        if provider.users != "create":
            raise _refused("you have not been invited; ask your administrator")
        if not said.roles:
            raise _refused("none of your groups has a role here; ask your administrator")
        return await self._directory.create_user(provider.organization, said.email, said.name, [])

    async def _give_roles(self, provider: ProviderSettings, said: Statement, member: MemberRow) -> None:
        """Replace the roles that the provider gave before."""
        source = source_of(provider)
        places = {WHOLE, *said.roles, *self._directory.memberships(member.id)}
        for place in sorted(places):
            held = {row.role for row in self._directory.assignments(member.id, place) if row.source == source}
            wanted = said.roles.get(place, frozenset())
            if held == wanted:
                continue
            try:
                if wanted and place != WHOLE:
                    self._directory.active_project(member.organization_id, place)
                await self._directory.set_roles(member.id, place, sorted(wanted), source=source)
            except (Conflict, NotFound) as exc:  # the last owner stays one; a project may be gone
                log.warning("roles_not_given", provider=provider.name, member_id=member.id, reason=exc.message)


def source_of(provider: ProviderSettings) -> str:
    """Under which name the directory keeps the roles that a provider gave."""
    return f"oidc:{provider.name}"


def _refused(why: str) -> Forbidden:
    return Forbidden(f"You cannot sign in here: {why}.", code="signin_not_allowed")
