import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from freehold.cluster.authority import Authority, new_request
from freehold.cluster.relay import Relay
from freehold.engines.echo import EchoConnection
from freehold.engines.http_stream import Place, Wires, request_head
from freehold.engines.reaching import connector, own_url
from freehold.errors import EngineUnavailable
from freehold.types.address import TlsAddress
from freehold.types.deployment import DeploymentSettings

NAME = "echo-1.7.home.freehold"


async def _answer(request: web.Request) -> web.StreamResponse:
    """An engine that sends a body back, in two pieces."""
    body = await request.read()
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    await response.write(body[len(body) // 2 :])
    return response


@asynccontextmanager
async def _relayed(folder: Path, authority: Authority, name: str = NAME) -> AsyncIterator[TlsAddress]:
    """An engine behind a relay; where a gateway reaches it."""
    application = web.Application(client_max_size=1 << 26)
    application.router.add_post("/v1/echo", _answer)
    runner = web.AppRunner(application)
    await runner.setup()
    socket = folder / "engine.sock"
    await web.UnixSite(runner, str(socket)).start()
    relay = Relay(socket)
    key, request = new_request(name)
    port = await relay.open("127.0.0.1", key, authority.sign(request, name=name), authority.certificate_pem)
    try:
        yield TlsAddress("127.0.0.1", port, name, folder)
    finally:
        relay.close()
        await runner.cleanup()


async def _post(address: TlsAddress, body: bytes) -> bytes:
    """What the raw client reads of the answer."""
    wires = Wires(Place.of("http://localhost/v1", address), connect_s=30.0, read_s=30.0, keepalive_s=4.0)
    try:
        wire = await wires.post(request_head(f"{own_url(address)}/echo", {}), body)
        found = b""
        while piece := await wire.read():
            found += piece
        wires.end(wire)
        return found
    finally:
        wires.close()


def test_both_clients_reach_an_engine_through_a_relay(tmp_path: Path) -> None:
    """A megabyte goes to an engine on another machine and comes back whole, by either client."""
    body = bytes(range(256)) * 4_000

    async def main() -> tuple[bytes, bytes]:
        async with _relayed(tmp_path, Authority.load_or_make(tmp_path)) as address:
            raw, url = await _post(address, body), f"{own_url(address)}/echo"
            session = aiohttp.ClientSession(connector=connector(address, 4.0))
            async with session, session.post(url, data=body) as answer:
                return raw, await answer.read()

    assert asyncio.run(main()) == (body, body)


def test_a_connection_has_the_addresss_own_urls(tmp_path: Path) -> None:
    """Of an engine on another machine, URLs name who its certificate is for."""
    settings = DeploymentSettings(name="echo", engine="echo", model="echo")
    connection = EchoConnection(settings, TlsAddress("10.0.0.7", 4711, NAME, tmp_path))
    assert connection.url("chat/completions") == f"https://{NAME}:4711/v1/chat/completions"
    assert connection.root == f"https://{NAME}:4711"


@pytest.mark.parametrize("wrong", ["another name", "another authority", "no certificate"])
def test_nobody_else_is_spoken_to(tmp_path: Path, wrong: str) -> None:
    """A gateway speaks to no relay of another name or authority, and a relay to nobody without a certificate."""
    other = tmp_path / "other"

    async def main() -> None:
        async with _relayed(tmp_path, Authority.load_or_make(tmp_path)) as address:
            Authority.load_or_make(other)
            if wrong == "no certificate":
                context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
                made = asyncio.open_connection(address.host, address.port, ssl=context, server_hostname=NAME)
                reader, writer = await made
                writer.write(b"POST /v1/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi")
                with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                    await reader.readexactly(1)
                writer.close()
                return
            name, credentials = (NAME, other) if wrong == "another authority" else ("echo-2.freehold", tmp_path)
            with pytest.raises(EngineUnavailable):
                await _post(TlsAddress(address.host, address.port, name, credentials), b"hi")

    asyncio.run(main())
    assert (other / "ca.pem").read_bytes() != (tmp_path / "ca.pem").read_bytes()


def test_an_engine_that_does_not_listen_is_unavailable(tmp_path: Path) -> None:
    """While the engine behind a relay does not listen yet, a request is told that it cannot be reached."""

    async def main() -> None:
        authority = Authority.load_or_make(tmp_path)
        relay = Relay(tmp_path / "nothing.sock")
        key, request = new_request(NAME)
        port = await relay.open("127.0.0.1", key, authority.sign(request), authority.certificate_pem)
        with pytest.raises(EngineUnavailable) as caught:
            await _post(TlsAddress("127.0.0.1", port, NAME, tmp_path), b"hi")
        relay.close()
        assert "could not be reached" in str(caught.value)

    asyncio.run(main())


def test_an_authority_stays_the_same(tmp_path: Path) -> None:
    """The authority is made once, its files are private, and a request for another name is not signed."""
    first = Authority.load_or_make(tmp_path / "cluster")
    again = Authority.load_or_make(tmp_path / "cluster")
    assert first.certificate_pem == again.certificate_pem
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "cluster").iterdir()} == {0o600}
    _, request = new_request("echo-1")
    with pytest.raises(ValueError, match="not what was asked for"):
        again.sign(request, name="echo-2")
