"""The one place that turns request headers into a credential."""

from collections.abc import Iterable

from freehold.errors import Unauthenticated

CARRIERS = frozenset({b"authorization", b"api-key"})


def carries_credential(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request has a header for a credential, be it empty: then nothing else counts, such as a cookie."""
    return any(name in CARRIERS for name, _ in headers)


def credential_from(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The API key or token in `Authorization: Bearer …` or `api-key: …`; None if there is neither.

    Args:
        headers: names in lower case and values, as ASGI gives them.

    Raises:
        Unauthenticated: several credentials that differ, or an `Authorization` that is not `Bearer`.
    """
    found: set[str] = set()
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").strip().partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                raise Unauthenticated("The Authorization header must have the form 'Bearer <key>'.")
            found.add(token.strip())
        elif name == b"api-key":
            found.add(value.decode("latin-1").strip())
    if len(found) > 1:
        raise Unauthenticated("The request carries several different credentials; send one.")
    return next(iter(found), None) or None
