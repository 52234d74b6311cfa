"""Passwords: which are accepted, and how they are kept (Argon2id, RFC 9106).

Hashing takes memory and a processor on purpose; it happens in threads, few at a time, and who would have to wait
too long for a turn is told to come back.
"""

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from freehold.errors import InvalidRequest, Overloaded

P = ParamSpec("P")
T = TypeVar("T")

MIN_LENGTH = 12
MAX_LENGTH = 256
AT_ONCE = 2
MAX_WAITING = 32
_FEW = 5
"""A password of fewer different characters is no password."""
_REST = 8
"""How much must be left of a password without what the person's address has of it."""


class Passwords:
    """Hashes and verifies, with the parameters of RFC 9106 for machines with little memory: 64 MiB, three passes."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4, type=Type.ID)
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._decoy: str | None = None

    async def hashed(self, password: str) -> str:
        """The hash to keep. Raises Overloaded if too many wait."""
        return await self._in_turn(self._hasher.hash, normal(password))

    async def matches(self, kept: str | None, password: str) -> bool:
        """Whether it is the password. Without a hash it takes as long, and is not.

        Raises:
            Overloaded: too many wait.
        """
        if self._decoy is None:
            self._decoy = await self._in_turn(self._hasher.hash, secrets.token_urlsafe(24))
        found = await self._in_turn(self._verify, kept or self._decoy, normal(password))
        return found and kept is not None

    def outdated(self, kept: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(kept)

    def _verify(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_turn(self, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        if self._waiting >= MAX_WAITING:
            raise Overloaded("Too many people are signing in at this moment; try again in a few seconds.")
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(work, *args, **more)
        finally:
            self._waiting -= 1


def normal(password: str) -> str:
    """A password as it is hashed: the same characters typed on any keyboard are the same text (NFKC)."""
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, email: str) -> None:
    """See that a new password is acceptable.

    Raises:
        InvalidRequest: says what is wrong with it.
    """
    text = normal(password)
    if len(text) < MIN_LENGTH:
        raise _weak(f"it must have at least {MIN_LENGTH} characters; several words in a row are easy to remember")
    if len(text) > MAX_LENGTH:
        raise _weak(f"it must have at most {MAX_LENGTH} characters")
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in text):
        raise _weak("it contains a control character")
    plain = rest = text.casefold()
    name, _, domain = email.casefold().partition("@")
    for part in (email.casefold(), domain, name, *domain.split(".")):
        rest = rest.replace(part, "") if len(part) > 2 else rest
    if rest != plain and len(rest) < _REST:
        raise _weak("it is made of your e-mail address")
    if len(set(plain)) < _FEW:
        raise _weak("it repeats the same few characters")


def _weak(why: str) -> InvalidRequest:
    return InvalidRequest(f"The password is not accepted: {why}.", param="password", code="password_not_accepted")
