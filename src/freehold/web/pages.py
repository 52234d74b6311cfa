"""The page at the server's own address: what runs here and how to call it."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

_START = (Path(__file__).parent / "start.html").read_text(encoding="utf-8")
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def page_routes() -> list[BaseRoute]:
    """The routes."""

    async def start(_request: Request) -> Response:
        """The start page."""
        return HTMLResponse(_START, headers=_HEADERS)

    return [Route("/", start, methods=["GET"])]
