from typing import Any

import pytest

from freehold.workers.front import is_own

KEY = (b"authorization", b"Bearer fh-1234567890")
TOKEN = (b"authorization", b"Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkcCJ9.c2lnbmF0dXJl")


def scope(path: str, *headers: tuple[bytes, bytes], method: str = "POST") -> dict[str, Any]:
    """A request."""
    return {"type": "http", "method": method, "path": path, "headers": list(headers)}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/openai/v1/chat/completions",
        "/openai/deployments/some-name/chat/completions",
        "/openai/deployments/some-name/embeddings",
    ],
)
def test_what_is_asked_most_is_served_by_workers(path: str) -> None:
    """Texts and vectors for callers with a key are a worker's own, in both dialects."""
    assert is_own(scope(path, KEY))
    assert is_own(scope(path, (b"api-key", b"fh-1234567890")))
    assert is_own(scope(path)), "that there is no credential is told by the worker"


@pytest.mark.parametrize(
    "asked",
    [
        scope("/v1/chat/completions", KEY, method="GET"),
        scope("/v1/chat/completions/abc", KEY),
        scope("/v1/chat/completions/", KEY),
        scope("/v1/responses", KEY),
        scope("/v1/files", KEY),
        scope("/openai/deployments/a/b/chat/completions", KEY),
        scope("/openai/deployments/a/images/generations", KEY),
        scope("/admin/keys", KEY),
        scope("/", KEY),
        scope("/v1/chat/completions", KEY, (b"idempotency-key", b"once")),
        scope("/v1/chat/completions", TOKEN),
        scope("/v1/chat/completions", (b"cookie", b"freehold=abc")),
    ],
)
def test_everything_else_is_the_cores(asked: dict[str, Any]) -> None:
    """Other routes and methods, kept answers, tokens and sessions are passed on."""
    assert not is_own(asked)
