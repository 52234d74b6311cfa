"""A master key that is an external service's, over a real socket."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from freehold.encryption.key_service import ServiceMasterKey
from freehold.errors import ContentUnreadable, KeyServiceUnavailable
from freehold.types.encryption import KeyServiceSettings
from tests.encryption.transit import KEY, TOKEN, TransitServer

CONTEXT = b"a context"


def with_key(service: TransitServer, trial: Callable[[ServiceMasterKey], Awaitable[None]], token: str = TOKEN) -> None:
    """Run a trial on a key of the service."""

    async def main() -> None:
        key = ServiceMasterKey(service.url, KEY, token, timeout_s=0.5)
        try:
            await trial(key)
        finally:
            await key.close()

    asyncio.run(main())


def test_a_key_is_wrapped_and_unwrapped_by_the_service() -> None:
    """What the service wrapped it unwraps in the same context, and the two requests are as documented."""

    async def trial(key: ServiceMasterKey) -> None:
        wrapped = await key.wrap(b"k" * 32, CONTEXT)
        assert wrapped.startswith(b"vault:v1:")
        assert b"k" * 32 not in wrapped
        assert await key.unwrap(wrapped, CONTEXT) == b"k" * 32

    with TransitServer() as service:
        with_key(service, trial)
        paths = [path for path, _ in service.requests]
        assert paths == [f"/v1/transit/encrypt/{KEY}", f"/v1/transit/decrypt/{KEY}"]
        assert [set(body) for _, body in service.requests] == [
            {"plaintext", "associated_data"},
            {"ciphertext", "associated_data"},
        ]


def test_another_context_is_refused() -> None:
    """What was wrapped in one context is unreadable in another, and so is what nobody wrapped."""

    async def trial(key: ServiceMasterKey) -> None:
        wrapped = await key.wrap(b"k" * 32, CONTEXT)
        for text, context in ((wrapped, b"other"), (b"vault:v1:AAAA", CONTEXT), (b"", CONTEXT), (b"\xff", CONTEXT)):
            with pytest.raises(ContentUnreadable):
                await key.unwrap(text, context)

    with TransitServer() as service:
        with_key(service, trial)


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"{}"),
        (503, b""),
        (307, b""),
        (200, b"no json"),
        (200, b"[]"),
        (200, b'{"data": 3}'),
        (200, b'{"data": {}}'),
        (200, b'{"data": {"ciphertext": 7, "plaintext": "%%"}}'),
        (200, b'{"data": {"ciphertext": "' + b"x" * 100_000 + b'"}}'),
    ],
)
def test_an_answer_that_is_none_means_not_available(answer: tuple[int, bytes]) -> None:
    """An error, a redirect, nonsense or an endless answer is a 503 with `retry-after`, never an unreadable key."""

    async def trial(key: ServiceMasterKey) -> None:
        for done in (key.wrap(b"k" * 32, CONTEXT), key.unwrap(b"vault:v1:AAAA", CONTEXT)):
            with pytest.raises(KeyServiceUnavailable) as caught:
                await done
            assert caught.value.status == 503
            assert caught.value.retry_after_s

    with TransitServer() as service:
        service.answer = answer
        with_key(service, trial)
        assert not any(path.endswith("elsewhere") for path, _ in service.requests)


def test_a_wrong_token_a_slow_service_and_none_mean_not_available() -> None:
    """A credential that is refused, no answer in time and nobody listening are a 503, and the token is not told."""

    async def refused(key: ServiceMasterKey) -> None:
        with pytest.raises(KeyServiceUnavailable) as caught:
            await key.wrap(b"k" * 32, CONTEXT)
        assert TOKEN not in caught.value.message

    with TransitServer() as service:
        with_key(service, refused, token="wrong")
        service.hang = True
        with_key(service, refused)
    with_key(service, refused)


def test_the_address_must_be_encrypted_unless_it_is_here() -> None:
    """`http://` is taken for the loopback only."""
    token = {"env": "TOKEN"}
    for url in ("https://vault.example.org/v1/transit", "http://127.0.0.1:8200/v1/transit"):
        assert KeyServiceSettings.model_validate({"url": url, "key": "k", "token": token}).url == url
    with pytest.raises(ValueError, match="https"):
        KeyServiceSettings.model_validate({"url": "http://vault.example.org/v1", "key": "k", "token": token})
