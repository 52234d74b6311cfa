"""Local accounts: users of this home who sign in with their address and a password."""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from freehold.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unauthenticated
from freehold.governance.directory import ORGANIZATION, Directory, normal_email
from freehold.governance.invites import Invites
from freehold.identity.passwords import Passwords, check_password
from freehold.identity.sessions import Sessions
from freehold.identity.throttle import ACCOUNT, ADDRESS, Throttle
from freehold.store.database import Database
from freehold.store.directory import MemberRow
from freehold.store.signin import (
    member_of_link,
    password_of,
    put_link,
    put_password,
    take_link,
)
from freehold.types.identity import Role

LINK_LIFETIME_S = 24 * 3600
MAX_EMAIL = 320


@dataclass(frozen=True, slots=True)
class Invited:
    """Whom a link is for: somebody invited who is no user yet, or a user who may set a new password.

    Args:
        email: the person's address; empty for the first person of a home, who says it.
        new: whether the person is no user yet.
    """

    email: str
    new: bool

    @property
    def first(self) -> bool:
        """Whether it is for the first person of a home."""
        return not self.email


class LocalAccounts:
    """Passwords and who has them.

    Args:
        database: where the hashes are.
        directory: whose they are.
        invites: who was invited.
        sessions: end when a password changes.
        allowed: whether there may be local accounts at all.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        invites: Invites,
        sessions: Sessions,
        *,
        allowed: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.allowed = allowed
        self._database = database
        self._directory = directory
        self._invites = invites
        self._sessions = sessions
        self._clock = clock
        self._passwords = Passwords()
        self._accounts = Throttle(ACCOUNT)
        self._addresses = Throttle(ADDRESS)
        self._first = b""
        directory.on_change(self._forget_first)

    def first_link(self) -> str | None:
        """The secret of a link with which the first person of this home makes an account, as an owner.

        It holds until it is used, somebody has become a user in another way, or this process ends; nothing of it is
        kept. None where there are users already, or no local accounts.
        """
        if not self.allowed or self._directory.users(ORGANIZATION):
            return None
        token = secrets.token_urlsafe(32)
        self._first = _digest(token)
        return token

    async def sign_in(self, email: str, password: str, address: str) -> MemberRow:
        """Who an address and a password belong to. An unknown address takes as long as a wrong password.

        Args:
            email: as the person wrote it.
            password: likewise.
            address: the network address from which they come.

        Raises:
            Unauthenticated: no such account, or another password; the answer does not say which.
            RateLimited: too many tries.
            Forbidden: there are no local accounts.
        """
        self._check_allowed()
        email = normal_email(email)[:MAX_EMAIL]
        self._addresses.begin(address)
        self._accounts.begin(email)
        member = self._directory.user_by_email(email)
        kept = await password_of(self._database, "" if member is None else member.id)
        right = await self._passwords.matches(kept, password[:1024])
        if not right or member is None or kept is None or member.disabled_at is not None:
            raise Unauthenticated("The address or the password is wrong.", code="wrong_password")
        self._accounts.succeeded(email, wholly=True)
        self._addresses.succeeded(address, wholly=False)
        if self._passwords.outdated(kept):
            await put_password(self._database, member.id, await self._passwords.hashed(password), int(self._clock()))
        return member

    async def set_password(self, member: MemberRow, password: str) -> None:
        """Give a user a password; sessions and links from before hold no more.

        Raises:
            InvalidRequest: it is not acceptable.
            Forbidden: there are no local accounts.
        """
        self._check_allowed()
        check_password(password, member.email or "")
        await put_password(self._database, member.id, await self._passwords.hashed(password), int(self._clock()))
        await self._sessions.end_all(member.id)

    async def change_password(self, member: MemberRow, current: str, password: str, address: str) -> None:
        """Give a user who knows the current password another one. Raises: as `sign_in` and `set_password`."""
        await self.sign_in(member.email or "", current, address)
        await self.set_password(member, password)

    async def link(self, member: MemberRow) -> str:
        """The secret of a link with which a user may set a password, once and within a day."""
        self._check_allowed()
        token = secrets.token_urlsafe(32)
        await put_link(self._database, member.id, _digest(token), int(self._clock()) + LINK_LIFETIME_S)
        return token

    async def invited(self, token: str) -> Invited:
        """Whom a link is for.

        Raises:
            NotFound: it was used, has expired, or never was one.
            Forbidden: there are no local accounts.
        """
        self._check_allowed()
        if self._is_first(token):
            return Invited("", new=True)
        member_id = await member_of_link(self._database, _digest(token), int(self._clock()))
        member = self._directory.member(member_id) if member_id is not None else None
        if member is not None:
            return Invited(member.email or "", new=False)
        return Invited(self._invites.by_token(token).email, new=True)

    async def accept(self, token: str, name: str, password: str, email: str = "") -> MemberRow:
        """Use a link: set the password and, if the person was invited, make them a user.

        Args:
            token: the link's secret.
            name: of somebody new.
            password: to set.
            email: of the first person of the home; others have one.

        Raises:
            InvalidRequest: the password or the address is not acceptable; the link stays good.
            NotFound: the link is not good.
        """
        invited = await self.invited(token)
        email = _address(email) if invited.first else invited.email
        check_password(password, email)
        hashed = await self._passwords.hashed(password)
        if invited.first:
            member = await self._begin(token, name.strip() or email, email)
        elif invited.new:
            try:
                member = await self._invites.accept(self._invites.by_token(token), name.strip() or invited.email)
            except Conflict as exc:
                raise NotFound("This link was used before; sign in with your password.") from exc
        else:
            member_id = await take_link(self._database, _digest(token), int(self._clock()))
            found = self._directory.member(member_id) if member_id is not None else None
            if found is None or found.disabled_at is not None:
                raise NotFound("This link was used before; ask for a new one.")
            member = found
        await put_password(self._database, member.id, hashed, int(self._clock()))
        await self._sessions.end_all(member.id)
        return member

    def _forget_first(self) -> None:
        """Once there was a user the link is dead, even if that user goes again."""
        if self._first and self._directory.users(ORGANIZATION):
            self._first = b""

    def _is_first(self, token: str) -> bool:
        same = bool(self._first) and hmac.compare_digest(self._first, _digest(token))
        return same and not self._directory.users(ORGANIZATION)

    async def _begin(self, token: str, name: str, email: str) -> MemberRow:
        """Make the first person an owner; of two who try at once, one."""
        if not self._is_first(token):
            raise NotFound("This link was used before; sign in with your password.")
        self._first = b""
        try:
            return await self._directory.create_user(ORGANIZATION, email, name, [Role.OWNER])
        except BaseException:
            if not self._directory.users(ORGANIZATION):
                self._first = _digest(token)
            raise

    def _check_allowed(self) -> None:
        if not self.allowed:
            raise Forbidden(
                "Passwords are switched off here; sign in through an identity provider.", code="no_local_accounts"
            )


def _address(email: str) -> str:
    """An address that somebody typed, as it is stored.

    Raises:
        InvalidRequest: it is none.
    """
    found = normal_email(email)
    if len(found) > MAX_EMAIL or re.fullmatch(r"[^@\s]+@[^@\s]+", found) is None:
        raise InvalidRequest("Your e-mail must be an address such as you@example.org.", param="email")
    return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
