"""Real servers for the catalog's tests: files over HTTP with the faults of real networks, and a small hub."""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from freehold.catalog.catalog import Catalog
from freehold.catalog.download import DownloadLimits
from freehold.config import CatalogSettings
from freehold.store.database import Database
from freehold.types.deployment import SecretRef

QUICK = DownloadLimits(attempts=3, backoff_s=0.01, backoff_max_s=0.02, connect_s=5, silence_s=5)


@dataclass
class FileServer:
    """Serves bytes by path.

    Args:
        files: path → content.
        drops: how many answers break off halfway.
        ranges: whether Range is understood.
        lengths: whether an answer says how long it is.
        gate: where there is one, the second half of a file is sent once it is set.
        types: path → media type.
        moves: path → where it redirects to.
        etags: path → the ETag, instead of one made from the content.
        digests: path → the digest that its redirect names, as hubs do.
        sent: bytes of content sent so far.
        url: where it listens.
        seen: every request's path and headers, in order.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    drops: int = 0
    ranges: bool = True
    lengths: bool = True
    gate: asyncio.Event | None = None
    types: dict[str, str] = field(default_factory=dict)
    moves: dict[str, str] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sent: int = 0
    url: str = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FileServer"]:
        """Listen on a free port of the loopback address."""
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(application, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.path, {key.lower(): value for key, value in request.headers.items()}))
        if request.path in self.moves:
            headers = {"Location": self.moves[request.path]}
            if request.path in self.digests:
                headers["X-Linked-Etag"] = f'"{self.digests[request.path]}"'
            return web.Response(status=302, headers=headers)
        data = self.files.get(request.path)
        if data is None:
            return web.Response(status=404)
        etag = self.etags.get(request.path, f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"')
        start, whole, partial = 0, len(data), False
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        if asked and self.ranges and request.headers.get("If-Range", etag) == etag:
            start = int(asked[1])
            if start >= len(data):
                return web.Response(status=416, headers={"Content-Range": f"bytes */{len(data)}"})
            data, partial = data[: int(asked[2]) + 1] if asked[2] else data, True
        response = web.StreamResponse(status=206 if partial else 200, headers={"ETag": etag})
        if partial:
            response.headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{whole}"
        if request.path in self.types:
            response.content_type = self.types[request.path]
        if self.lengths:
            response.content_length = len(data) - start
        await response.prepare(request)
        end = len(data)
        if self.drops:
            self.drops -= 1
            end = start + (len(data) - start) // 2
        middle = (start + end) // 2 if self.gate and request.path not in self.types else start
        if self.gate and start < middle:
            await response.write(data[start:middle])
            self.sent += middle - start
            await self.gate.wait()
        await response.write(data[middle:end])
        self.sent += end - middle
        if end < len(data):
            assert request.transport is not None
            request.transport.close()
        return response


@asynccontextmanager
async def open_catalog(
    home: Path, *, allow_http: bool = True, hf_endpoint: str = "https://hub.invalid", hf_token: Path | None = None
) -> AsyncIterator[Catalog]:
    """A catalog in a home of its own."""
    _make(home)
    database = await Database.open(home / "freehold.db")
    settings = CatalogSettings(
        hf_endpoint=hf_endpoint,
        allow_http=allow_http,
        hf_token=SecretRef(file=str(hf_token)) if hf_token else None,
    )
    try:
        yield Catalog(database, home / "models", settings, limits=QUICK)
    finally:
        await database.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
