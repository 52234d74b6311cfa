"""What stands before the core's application where workers take the requests.

An answer to a change begins when the change is in force in every worker; what is asked of the service as a whole, its
metrics and whether it is ready, is asked of the workers too.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from freehold.workers.summed import summed

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Crew(Protocol):
    """The workers, as the door knows them; see `freehold.workers.pool.Pool`."""

    async def settled(self) -> None:
        """Wait until every change is in force in all of them."""

    async def expositions(self) -> Sequence[bytes]:
        """What each of them has counted, in Prometheus' text format; and what those had that are gone."""

    def report(self) -> list[dict[str, Any]]:
        """How each of them is."""


class CoreDoor:
    """Serves a request after all, with what workers have to do with it.

    Args:
        app: the application.
        crew: the workers.
    """

    def __init__(self, app: ASGIApp, crew: Crew) -> None:
        self._app = app
        self._crew = crew
        self._gathered: dict[str, Callable[[int, bytes], Awaitable[tuple[int, bytes]]]] = {
            "/metrics": self._metrics,
            "/health/ready": self._ready,
            "/admin/status": self._status,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] not in _READING:
            await self._app(scope, receive, self._settling(send))
            return
        gathered = self._gathered.get(scope["path"])
        if gathered is None or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        answer = _Whole()
        await self._app(scope, receive, answer.send)
        status, body = await gathered(answer.status, b"".join(answer.body))
        headers = [(name, value) for name, value in answer.headers if name != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _settling(self, send: Send) -> Send:
        async def settle(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._crew.settled()
            await send(message)

        return settle

    async def _metrics(self, status: int, body: bytes) -> tuple[int, bytes]:
        return (status, summed([body, *await self._crew.expositions()])) if status == 200 else (status, body)

    async def _status(self, status: int, body: bytes) -> tuple[int, bytes]:
        return status, orjson.dumps({**orjson.loads(body), "workers": self._crew.report()}) if status == 200 else body

    async def _ready(self, status: int, body: bytes) -> tuple[int, bytes]:
        workers = self._crew.report()
        told = {**orjson.loads(body), "workers": workers}
        if status == 200 and any(worker["state"] != "ready" for worker in workers):
            told["status"], status = "starting", 503
        return status, orjson.dumps(told)


class _Whole:
    """An answer, taken in whole."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: list[tuple[bytes, bytes]] = []
        self.body: list[bytes] = []

    async def send(self, message: Message) -> None:
        """Take a part of it."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", ()))
        else:
            self.body.append(message.get("body", b""))
