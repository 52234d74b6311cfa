"""The cookies of sign-in. Their names begin with `__Host-`: browsers take and send them for this host alone.

A sibling domain cannot set them (RFC 6265bis, 4.1.3.2), scripts cannot read them, and other sites' forms do not send
them.
"""

from starlette.types import Scope

from freehold.errors import Unauthenticated

SESSION = "__Host-freehold"
SIGNIN = "__Host-freehold-signin"
_MAX = 512


def cookie_from(scope: Scope, name: str) -> str | None:
    """The value of a cookie; None if the request does not bear it.

    Raises:
        Unauthenticated: it is there twice with different values.
    """
    found: set[str] = set()
    for header, value in scope["headers"]:
        if header == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                key, _, content = pair.strip().partition("=")
                if key == name and content:
                    found.add(content)
    if len(found) > 1:
        raise Unauthenticated("The request carries the cookie of a session twice.", code="session_ended")
    value = next(iter(found), None)
    return value if value is not None and len(value) <= _MAX else None


def set_cookie(name: str, value: str, max_age_s: int) -> tuple[str, str]:
    """The header that gives a browser a cookie; an age of 0 takes it away."""
    return "set-cookie", f"{name}={value}; Path=/; Max-Age={max_age_s}; Secure; HttpOnly; SameSite=Lax"
