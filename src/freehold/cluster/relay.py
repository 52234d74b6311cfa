"""A relay on a node: from a TCP port, over mutual TLS, to the Unix socket of one engine."""

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

HIGH_WATER: Final = 256 * 1024
"""So many bytes may wait to be sent before the other side is not listened to any more."""


class Relay:
    """Listens from `open` to `close`.

    Args:
        socket: where the engine listens, or will.
        heard: called whenever a gateway sends something.
    """

    def __init__(self, socket: Path, heard: Callable[[], None] = lambda: None) -> None:
        self._socket = socket
        self._heard = heard
        self._server: asyncio.Server | None = None
        self._ends: set[_End] = set()

    async def open(self, host: str, key: bytes, certificate: bytes, authority: bytes) -> int:
        """Listen on that address for who has a certificate of the authority; the port.

        Raises:
            OSError: the address cannot be listened on.
        """
        context = server_context(key, certificate, authority)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._caller, host, 0, ssl=context)
        return int(self._server.sockets[0].getsockname()[1])

    def _caller(self) -> "_Caller":
        return _Caller(self._socket, self._ends, self._heard)

    def close(self) -> None:
        """Stop listening, and break off what is relayed."""
        if self._server is not None:
            self._server.close()
        for end in tuple(self._ends):
            end.break_off()


def server_context(key: bytes, certificate: bytes, authority: bytes) -> ssl.SSLContext:
    """TLS for one who is called, and lets nobody in without a certificate of the authority; all in PEM form."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.decode("ascii"))
    with tempfile.TemporaryDirectory(prefix="fh-") as folder:  # the library reads keys from files only
        file = Path(folder) / "key.pem"
        file.touch(mode=0o600)
        file.write_bytes(key + certificate)
        context.load_cert_chain(file)
    return context


class _End(asyncio.Protocol):
    """One side of a relayed connection."""

    def __init__(self, ends: "set[_End]") -> None:
        self._ends = ends
        self._transport: asyncio.Transport | None = None
        self.other: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self._ends.add(self)

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)

    def eof_received(self) -> bool:
        """Pass the end on; TLS and HTTP have no use for half a connection."""
        if self.other is not None:
            self.other.finish()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ends.discard(self)
        self._transport = None
        if self.other is not None:
            if exc is None:
                self.other.finish()
            else:
                self.other.break_off()

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.listen(wanted=False)

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.listen(wanted=True)

    def listen(self, *, wanted: bool) -> None:
        """Read from this side, or not."""
        if self._transport is None or self._transport.is_closing():
            return
        with contextlib.suppress(RuntimeError):  # it does so already
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def write(self, data: bytes) -> None:
        """Send to this side."""
        if self._transport is not None:
            self._transport.write(data)

    def finish(self) -> None:
        """Close this side when it has been sent everything."""
        if self._transport is not None:
            self._transport.close()

    def break_off(self) -> None:
        """Close this side at once."""
        if self._transport is not None:
            self._transport.abort()


class _Caller(_End):
    """The side of the gateway; what comes before the engine has been reached waits."""

    def __init__(self, socket: Path, ends: set[_End], heard: Callable[[], None]) -> None:
        super().__init__(ends)
        self._socket = socket
        self._heard = heard
        self._reaching: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.listen(wanted=False)
        self._reaching = asyncio.get_running_loop().create_task(self._reach())

    def data_received(self, data: bytes) -> None:
        self._heard()
        super().data_received(data)

    async def _reach(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            _, engine = await loop.create_unix_connection(lambda: _End(self._ends), str(self._socket))
        except OSError:  # it does not listen yet, or no more
            self.break_off()
            return
        if self._transport is None:
            engine.break_off()
            return
        self.other, engine.other = engine, self
        self.listen(wanted=True)
