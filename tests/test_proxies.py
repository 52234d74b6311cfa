"""Who calls, where a proxy says so."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from freehold.listening import BehindProxies


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


async def _send(message: Message) -> None:
    """Take what is answered."""


@pytest.mark.parametrize(
    ("peer", "headers", "client", "scheme"),
    [
        ("127.0.0.1", [], ("127.0.0.1", 7), "http"),
        ("127.0.0.1", [(b"x-forwarded-for", b"10.1.2.3")], ("10.1.2.3", 0), "http"),
        ("127.0.0.1", [(b"host", b"h"), (b"x-forwarded-proto", b"https")], ("127.0.0.1", 7), "https"),
        ("192.0.2.1", [(b"x-forwarded-for", b"10.1.2.3"), (b"x-forwarded-proto", b"https")], ("192.0.2.1", 7), "http"),
    ],
)
def test_only_a_trusted_proxy_is_believed(
    peer: str, headers: list[tuple[bytes, bytes]], client: tuple[str, int], scheme: str
) -> None:
    """Address and scheme are those that a trusted proxy tells; what anybody else says of them counts nothing."""
    seen: list[tuple[object, object]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        seen.append((scope["client"], scope["scheme"]))

    scope: Scope = {"type": "http", "client": (peer, 7), "scheme": "http", "headers": headers}

    async def ask() -> None:
        await BehindProxies(app, "127.0.0.1")(scope, _nothing, _send)

    asyncio.run(ask())
    assert seen == [(client, scheme)]
