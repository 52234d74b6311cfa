"""Cross-site request forgery: a request that is authenticated by a cookie may change something only from our own pages.

Browsers say in `Origin` and in `Sec-Fetch-Site` where a request comes from, and scripts cannot change either. What says
neither is no browser of these years, and has no business with a cookie.
"""

from starlette.types import Scope

from freehold.api.body import origin_of
from freehold.errors import Forbidden

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def check_same_origin(scope: Scope, public_url: str | None) -> None:
    """Return if a request is safe by its method, or comes from a page of this server.

    Args:
        scope: of the request.
        public_url: where browsers reach the server, if that is set; else as the request says.

    Raises:
        Forbidden: it comes from elsewhere, or does not say from where.
    """
    if scope["method"] in SAFE:
        return
    origins = _all(scope, b"origin")
    sites = _all(scope, b"sec-fetch-site")
    if sites and sites != ["same-origin"]:
        raise _refused()
    if origins:
        if len(origins) > 1 or origins[0] not in own_origins(scope, public_url):
            raise _refused()
    elif not sites:
        raise _refused()


def own_origins(scope: Scope, public_url: str | None) -> set[str]:
    """The origins of our own pages; behind a proxy that ends TLS without saying so, the request looks like http."""
    if public_url is not None:
        return {public_url.lower()}
    origin = origin_of(scope).lower()
    return {origin, f"https://{origin.partition('://')[2]}"}


def _all(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip().lower() for header, value in scope["headers"] if header == name]


def _refused() -> Forbidden:
    return Forbidden(
        "This request does not come from a page of this server. Open the server's own address, and try again there; "
        "programs send an API key or a token instead of a cookie.",
        code="cross_site_request",
    )
