"""A provider's keys: how long they are believed, and how often they are asked for."""

import asyncio
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey

from freehold.errors import IdentityProviderUnavailable, Unauthenticated
from freehold.identity.keyset import FRESH_S, PAUSE_S, RETRY_S, USABLE_S, KeySource, usable_keys
from freehold.identity.tokens import Header
from tests.identity.issuer import rsa_key
from tests.identity.parts import Clock


class _Published:
    """What a provider publishes, and how often it was asked."""

    def __init__(self, *kids: str) -> None:
        self.kids = list(kids)
        self.asked = 0
        self.down = False
        self.at_once = 0
        self.most_at_once = 0

    async def __call__(self) -> dict[str, Any]:
        """One fetch."""
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        if self.down:
            raise IdentityProviderUnavailable("down")
        return {"keys": [rsa_key(kid).as_dict(private=False) for kid in self.kids]}


def _source(published: _Published) -> tuple[KeySource, Clock]:
    clock = Clock(1000.0)
    return KeySource(published, ["RS256"], clock=clock), clock


def _named(kid: str | None) -> Header:
    return Header("RS256", kid)


def test_keys_are_fetched_once_and_again_when_they_are_old() -> None:
    """Known keys cause no request while they are fresh, and one when they are not."""

    async def scenario() -> list[int]:
        published = _Published("a")
        source, clock = _source(published)
        counts = []
        for passed in (0.0, FRESH_S - 1, 1.0, 1.0):
            clock.now += passed
            await source.key(_named("a"))
            counts.append(published.asked)
        return counts

    assert asyncio.run(scenario()) == [1, 1, 2, 2]


def test_a_new_key_is_found_and_a_flood_of_unknown_ones_asks_once() -> None:
    """An unknown key's name has the keys fetched again, at most once in a while, however many tokens bear one."""

    async def scenario() -> list[int]:
        published = _Published("a")
        source, clock = _source(published)
        await source.key(_named("a"))
        published.kids.append("b")
        clock.now += PAUSE_S
        await source.key(_named("b"))
        counts = [published.asked]
        for number in range(100):
            with pytest.raises(Unauthenticated):
                await source.key(_named(f"unknown-{number}"))
        counts.append(published.asked)
        clock.now += PAUSE_S
        with pytest.raises(Unauthenticated):
            await source.key(_named("unknown"))
        return [*counts, published.asked]

    assert asyncio.run(scenario()) == [2, 2, 3]


def test_there_is_never_more_than_one_fetch_at_a_time() -> None:
    """A hundred tokens that come at once wait for one fetch together."""

    async def scenario() -> tuple[int, int]:
        published = _Published("a")
        source, _ = _source(published)
        await asyncio.gather(*(source.key(_named("a")) for _ in range(100)))
        return published.asked, published.most_at_once

    assert asyncio.run(scenario()) == (1, 1)


def test_a_withdrawn_key_is_believed_no_longer_than_keys_are_fresh() -> None:
    """A key that the provider no longer publishes is refused once the keys were fetched again."""

    async def scenario() -> None:
        published = _Published("a", "b")
        source, clock = _source(published)
        await source.key(_named("a"))
        published.kids.remove("a")
        clock.now += FRESH_S
        with pytest.raises(Unauthenticated):
            await source.key(_named("a"))

    asyncio.run(scenario())


def test_a_provider_that_is_down_is_no_refusal() -> None:
    """Without keys the answer is that the provider cannot be asked, and when to try again; it is not asked often."""

    async def scenario() -> tuple[int, float | None]:
        published = _Published("a")
        published.down = True
        source, clock = _source(published)
        for _ in range(50):
            with pytest.raises(IdentityProviderUnavailable) as failed:
                await source.key(_named("a"))
        asked = published.asked
        published.down = False
        clock.now += RETRY_S
        await source.key(_named("a"))
        return asked, failed.value.retry_after_s

    assert asyncio.run(scenario()) == (1, RETRY_S)


def test_known_keys_outlast_an_outage_but_not_for_ever() -> None:
    """While the provider is down, known keys stay good for some hours; unknown ones are not called wrong meanwhile."""

    async def scenario() -> None:
        published = _Published("a")
        source, clock = _source(published)
        await source.key(_named("a"))
        published.down = True
        clock.now += FRESH_S
        await source.key(_named("a"))
        with pytest.raises(IdentityProviderUnavailable):
            await source.key(_named("b"))
        clock.now += USABLE_S
        with pytest.raises(IdentityProviderUnavailable):
            await source.key(_named("a"))

    asyncio.run(scenario())


def test_a_token_without_a_key_name_is_taken_only_if_there_is_no_choice() -> None:
    """One fitting key is the one that is meant; of two, neither."""

    async def scenario() -> None:
        one, _ = _source(_Published("a"))
        await one.key(_named(None))
        two, _ = _source(_Published("a", "b"))
        with pytest.raises(Unauthenticated):
            await two.key(_named(None))

    asyncio.run(scenario())


def test_only_strong_public_signing_keys_are_used() -> None:
    """Shared secrets, keys for encryption, short RSA keys, other curves, other algorithms and nonsense are left out."""
    good = rsa_key("good").as_dict(private=False)
    entries = [
        good,
        {**OctKey.generate_key(256).as_dict(), "kid": "shared"},
        {**good, "use": "enc", "kid": "for encryption"},
        {**good, "alg": "RS512", "kid": "for another algorithm"},
        {**good, "n": good["n"][:171], "kid": "short"},
        ECKey.generate_key("P-384", {"kid": "another curve"}).as_dict(private=False),
        {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "broken"},
        {"kty": "new", "kid": "unknown kind"},
        "nonsense",
    ]
    assert [key.kid for key in usable_keys({"keys": entries}, ["RS256", "ES256"])] == ["good"]
    with pytest.raises(IdentityProviderUnavailable):
        usable_keys({"keys": "none"}, ["RS256"])
