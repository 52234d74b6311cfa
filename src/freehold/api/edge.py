"""The outermost layer: every request has an id, every failure the envelope of its dialect."""

from collections.abc import Awaitable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from freehold.api.body import decode, read_limited
from freehold.api.dialect import Dialect
from freehold.api.sse import send_error
from freehold.errors import FreeholdError, InternalError
from freehold.types.ids import random_hex

log = structlog.get_logger("freehold.edge")


class Edge:
    """Names the request (`x-request-id`) and turns what escapes the application into an error answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{random_hex(16)}"
        scope.setdefault("state", {})["request_id"] = request_id
        named = [(b"x-request-id", request_id.encode())]
        if scope["path"].startswith("/openai/"):
            named.append((b"apim-request-id", request_id.encode()))
            named += [(name, value) for name, value in scope["headers"] if name == b"x-ms-client-request-id"]
        started = False

        def named_send(message: Message) -> Awaitable[None]:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message.get("headers", ()), *named]}
            return send(message)

        try:
            await self._app(scope, receive, named_send)
        except FreeholdError as exc:
            if not started:
                await send_error(named_send, exc, dialect_of(scope), {})
        except Exception:  # the edge of the process: logged in full, told as a 500
            log.exception("defect", request_id=request_id, path=scope["path"])
            if not started:
                error = InternalError("The server had an error while processing your request.")
                await send_error(named_send, error, dialect_of(scope), {})


class JsonBody:
    """Reads a body within its limit, and sees that it is strict JSON, before a framework that is laxer sees it."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body read.

        Raises:
            BodyTooLarge: the body is over the limit.
            MalformedBody: there is a body, and it is not a JSON object.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await read_limited(scope, receive, self._limit)
        if body:
            decode(body)
        handed = False

        async def replay() -> Message:
            nonlocal handed
            if handed:
                return await receive()
            handed = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)


def dialect_of(scope: Scope) -> Dialect:
    """Whose shape an error gets on a path: a matter of looks, nothing is decided by it."""
    return Dialect.AZURE if scope["path"].startswith("/openai/") else Dialect.OPENAI
