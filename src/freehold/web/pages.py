"""The product's pages: one application of static files, built from `web/` at the top of the repository.

The files with a digest in their names are kept by browsers for good; the page that names them is asked for each time.
Which files there are is found out once, at the start: no path of a request reaches the file system.
"""

import mimetypes
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

DIST: Final = Path(__file__).parent / "dist"
"""Where the package's build puts the files."""

PATHS: Final = (
    "/",
    "/account",
    "/chat/{id}",
    "/console",
    "/console/{rest:path}",
    "/playground",
    "/studio",
    "/studio/{id}",
)
"""What the application shows pages for; the same list is in `web/src/routes.ts`."""

_POLICY: Final = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data: blob:",
    "font-src 'self'",
    "connect-src 'self'",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types svelte-trusted-html dompurify freehold",
)
POLICY: Final = "; ".join(_POLICY)
"""What the pages may load and do: their own files and calls of this server; no script or style that is not a file."""

_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # With `no-referrer` browsers would send what pages ask for with `Origin: null`.
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_PAGE: Final = {**_HEADERS, "content-security-policy": POLICY, "cache-control": "no-cache"}
_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_FOR_A_DAY: Final = "public, max-age=86400"
_NOT_BUILT: Final = (
    "The pages of this server have not been built. Install Freehold from its wheel, or run `make web` in its source. "
    "The API is there all the same: /docs tells how to call it.\n"
)


@dataclass(frozen=True, slots=True)
class _Asset:
    """One file.

    Args:
        path: where it lies.
        packed: the same, compressed by gzip; None where that makes it no smaller.
        media_type: what it is.
        headers: that it is sent with.
    """

    path: Path
    packed: Path | None
    media_type: str
    headers: dict[str, str]

    def answer(self, request: Request) -> Response:
        """The file, or that the browser has it already."""
        headers = dict(self.headers)
        if self.packed is not None:
            headers["vary"] = "accept-encoding"
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        if self.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            return FileResponse(self.packed, headers=headers, media_type=self.media_type)
        return FileResponse(self.path, headers=headers, media_type=self.media_type)


def page_routes(dist: Path = DIST) -> list[BaseRoute]:
    """The routes of the pages and of their files.

    Args:
        dist: where the built files are. Where there are none, the pages say how to build them.
    """
    assets = _assets(dist)
    page = assets.pop("/index.html", None)

    async def show(request: Request) -> Response:
        """The application, which reads the path itself."""
        return page.answer(request) if page is not None else PlainTextResponse(_NOT_BUILT, 503, _PAGE)

    async def send(request: Request) -> Response:
        """A file of the application."""
        return assets[request.scope["path"]].answer(request)

    return [
        *(Route(path, show, methods=["GET"]) for path in PATHS),
        *(Route(path, send, methods=["GET"]) for path in assets),
    ]


def _assets(dist: Path) -> dict[str, _Asset]:
    """The files by the paths that they are asked for under."""
    found: dict[str, _Asset] = {}
    for file in sorted(dist.rglob("*")):
        if file.is_file() and file.suffix != ".gz" and not file.name.startswith("."):
            name = f"/{file.relative_to(dist).as_posix()}"
            found[name] = _asset(file, name)
    return found


def _asset(file: Path, name: str) -> _Asset:
    packed = file.with_name(f"{file.name}.gz")
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    etag = f'"{sha256(file.read_bytes()).hexdigest()[:32]}"'
    if name == "/index.html":
        headers = {**_PAGE, "etag": etag}
    else:
        age = _FOR_GOOD if name.startswith("/assets/") else _FOR_A_DAY
        headers = {**_HEADERS, "cache-control": age, "etag": etag}
    return _Asset(file, packed if packed.is_file() else None, media_type, headers)
