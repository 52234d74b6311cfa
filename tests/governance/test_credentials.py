"""The one credential normaliser."""

import pytest

from freehold.errors import Unauthenticated
from freehold.governance.credentials import credential_from


@pytest.mark.parametrize(
    ("headers", "credential"),
    [
        ([(b"authorization", b"Bearer fh-abc")], "fh-abc"),
        ([(b"authorization", b"bearer   fh-abc ")], "fh-abc"),
        ([(b"api-key", b"fh-abc")], "fh-abc"),
        ([(b"api-key", b"fh-abc"), (b"authorization", b"Bearer fh-abc")], "fh-abc"),
        ([(b"x-other", b"1")], None),
        ([(b"api-key", b"")], None),
        ([], None),
    ],
)
def test_both_headers_give_the_same_credential(headers: list[tuple[bytes, bytes]], credential: str | None) -> None:
    """A key may come as a bearer token or as `api-key`, and counts the same."""
    assert credential_from(headers) == credential


@pytest.mark.parametrize(
    "headers",
    [
        [(b"api-key", b"one"), (b"authorization", b"Bearer two")],
        [(b"authorization", b"Bearer one"), (b"authorization", b"Bearer two")],
        [(b"authorization", b"Basic b25l")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"")],
    ],
)
def test_doubtful_credentials_are_refused(headers: list[tuple[bytes, bytes]]) -> None:
    """Two different credentials, or a scheme other than Bearer, are refused and never guessed at."""
    with pytest.raises(Unauthenticated):
        credential_from(headers)
