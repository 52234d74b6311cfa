"""Which passwords are accepted, and how they are kept."""

import asyncio

import pytest
from argon2 import PasswordHasher, extract_parameters

from freehold.errors import InvalidRequest, Overloaded
from freehold.identity.passwords import AT_ONCE, MAX_WAITING, Passwords, check_password

GOOD = "correct horse battery staple"


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "at least 12"),
        ("x" * 257, "at most 256"),
        ("aaaaaaaaaaaaaaaa", "same few characters"),
        ("alice@example.org", "e-mail address"),
        ("Alice@Example.org1", "e-mail address"),
        ("alice.example.2026", "e-mail address"),
        ("with a \x00 in it....", "control character"),
    ],
)
def test_poor_passwords_are_refused(password: str, why: str) -> None:
    """Short, endless and monotonous ones, and those made of the person's address, are refused with a reason."""
    with pytest.raises(InvalidRequest, match=why) as refused:
        check_password(password, "alice@example.org")
    assert refused.value.param == "password"
    assert password not in refused.value.message


@pytest.mark.parametrize("password", [GOOD, "alice likes good horses", "пароль из нескольких слов", "x1!" * 4 + "yz"])
def test_good_passwords_are_accepted(password: str) -> None:
    """Any characters will do, if there are enough of them."""
    assert check_password(password, "alice@example.org") is None  # type: ignore[func-returns-value]


def test_a_password_is_kept_as_argon2id() -> None:
    """The hash is Argon2id with at least 64 MiB, and only the same password matches, however it was typed."""

    async def scenario() -> None:
        passwords = Passwords()
        kept = await passwords.hashed("\uff26ull width and \ufb01 ligatures")
        assert kept.startswith("$argon2id$")
        assert extract_parameters(kept).memory_cost >= 64 * 1024
        assert await passwords.matches(kept, "Full width and fi ligatures")
        assert not await passwords.matches(kept, "full width and fi ligatures")
        assert not await passwords.matches("no hash", GOOD)
        assert not await passwords.matches(None, GOOD)
        assert not passwords.outdated(kept)
        assert passwords.outdated(PasswordHasher(time_cost=1, memory_cost=8 * 1024).hash(GOOD))

    asyncio.run(scenario())


def test_hashing_is_bounded() -> None:
    """More tries at once than may wait are told to come back, and the others are answered."""

    async def scenario() -> tuple[int, int]:
        passwords = Passwords()
        passwords._hasher = PasswordHasher(time_cost=1, memory_cost=8 * 1024)
        tries = (passwords.matches(None, GOOD) for _ in range(2 * MAX_WAITING))
        results = await asyncio.gather(*tries, return_exceptions=True)
        refused = sum(isinstance(result, Overloaded) for result in results)
        return refused, sum(result is False for result in results)

    refused, answered = asyncio.run(scenario())
    assert refused == MAX_WAITING
    assert answered == MAX_WAITING
    assert AT_ONCE < MAX_WAITING
