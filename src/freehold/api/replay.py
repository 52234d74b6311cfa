"""`Idempotency-Key`: reading it, and sending a kept answer once more, byte for byte."""

from collections.abc import Iterable

from starlette.types import Send

from freehold.errors import InvalidRequest
from freehold.gateway.idempotency import KeptAnswer

_NAME = b"idempotency-key"


def idempotency_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key that the caller sent; None if it sent none.

    Raises:
        InvalidRequest: it sent several.
    """
    found = [value for name, value in headers if name == _NAME]
    if len(found) > 1:
        raise InvalidRequest("The header 'Idempotency-Key' stands more than once.", param="Idempotency-Key")
    return found[0].decode("latin-1") if found else None


class Replay:
    """A kept answer on its way again."""

    def __init__(self, kept: KeptAnswer) -> None:
        self._kept = kept

    async def send(self, send: Send) -> None:
        """Send it; `idempotent-replayed` tells that nothing was done anew."""
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._kept.headers]
        headers += [
            (b"content-length", str(len(self._kept.body)).encode()),
            (b"idempotent-replayed", b"true"),
        ]
        await send({"type": "http.response.start", "status": self._kept.status, "headers": headers})
        await send({"type": "http.response.body", "body": self._kept.body})
