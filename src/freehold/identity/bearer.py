"""JWTs of OpenID providers as bearer tokens of the API.

What a token comes to is remembered for a few minutes under the SHA-256 of the whole token, and never beyond its end.
Only who it is is remembered: what they may do is looked up each time.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from freehold.errors import Forbidden
from freehold.governance.directory import Directory, absent
from freehold.identity.admission import Admission
from freehold.identity.provider import Provider
from freehold.identity.tokens import claimed_issuer, invalid
from freehold.types.identity import MemberKind, Principal
from freehold.types.signin import ProviderSettings

REMEMBERED_S = 300.0
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    member_id: str
    expires_at: int
    until: float


class Bearers:
    """Knows whom a JWT names.

    Args:
        providers: whose tokens are taken, where they have audiences.
        admission: who is meant.
        directory: what they may do.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        providers: Iterable[Provider],
        admission: Admission,
        directory: Directory,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._providers = {each.settings.issuer: each for each in providers if each.settings.audiences}
        self._admission = admission
        self._directory = directory
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def principal(self, token: str, project_id: str | None = None) -> Principal:
        """Who sent a token.

        Args:
            token: the whole JWT.
            project_id: in which project they want to act; None for their first.

        Raises:
            Unauthenticated: the token does not hold, or whom it names is no more.
            Forbidden: nobody here is meant.
            NotFound: there is no such project.
            IdentityProviderUnavailable: the provider's keys cannot be fetched.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is None or known.until <= self._clock():
            known = await self._verify(token, digest)
        if project_id is not None:
            self._check_project(known.member_id, project_id)
        return self._directory.principal(known.member_id, project_id, auth_method="jwt", expires_at=known.expires_at)

    def _program(self, provider: ProviderSettings, subject: str) -> str | None:
        """The service account as which a program acts; None where the token is a person's.

        Raises:
            Forbidden: there is no such account.
        """
        account_id = next((each.service_account for each in provider.program if each.subject == subject), None)
        if account_id is None:
            return None
        member = self._directory.member(account_id)
        if (
            member is None
            or member.kind != MemberKind.SERVICE_ACCOUNT
            or member.organization_id != provider.organization
        ):
            raise Forbidden(
                "The service account of this program does not exist; ask your administrator.", code="signin_not_allowed"
            )
        return account_id

    def _check_project(self, member_id: str, project_id: str) -> None:
        """Return if a member knows of a project: it is one of the organization in which they hold a role."""
        member = self._directory.member(member_id)
        if member is not None:
            self._directory.project(member.organization_id, project_id)
            if not self._directory.held(member_id, project_id):
                raise absent("project", project_id)

    async def _verify(self, token: str, digest: bytes) -> _Known:
        self._known.pop(digest, None)
        provider = self._providers.get(claimed_issuer(token) or "")
        if provider is None:
            raise invalid("its issuer is not accepted here")
        said = await provider.bearer(token)
        member_id = self._program(provider.settings, said.subject)
        if member_id is None:
            member_id = (await self._admission.admit(provider.settings, said)).id
        ends_at = said.expires_at + provider.settings.clock_skew_s
        known = _Known(member_id, ends_at, min(said.expires_at, self._clock() + REMEMBERED_S))
        self._known[digest] = known
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return known
