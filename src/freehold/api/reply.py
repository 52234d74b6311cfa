"""What a handler of an operation is given, and what it may answer with."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

from freehold.api.dialect import Dialect
from freehold.errors import FreeholdError
from freehold.gateway.account import Account
from freehold.gateway.pipeline import Gateway
from freehold.types.identity import Principal
from freehold.types.images import Upload
from freehold.types.values import value_class


@value_class
class Call:
    """A request that has passed the door: who asks, and what.

    Args:
        gateway: serves it.
        principal: who asks.
        body: the decoded body, of a form its text fields; empty where there is none.
        path: the parameters in the path.
        query_items: all query parameters in their order.
        dialect: whose client is calling.
        account: told of what there is to know of the request.
        files: the files of a form, by the names of their fields; None where the body is no form.
        origin: scheme and host under which the caller reaches the server.
    """

    gateway: Gateway
    principal: Principal
    body: Mapping[str, Any]
    path: Mapping[str, str]
    query_items: tuple[tuple[str, str], ...]
    dialect: Dialect
    account: Account
    files: Mapping[str, tuple[Upload, ...]] | None = None
    origin: str = ""

    @property
    def query(self) -> dict[str, str]:
        """The query parameters by name; of a repeated one the last."""
        return dict(self.query_items)


class Created(dict[str, Any]):
    """A whole answer that says that something was made: HTTP's 201."""


@dataclass(frozen=True, slots=True)
class Download:
    """An answer that is a file.

    Args:
        name: what it is called.
        size: its length in bytes.
        pieces: its content.
        media_type: what it is.
    """

    name: str
    size: int
    pieces: AsyncGenerator[bytes]
    media_type: str = "application/octet-stream"

    def headers(self) -> dict[str, str]:
        """Those that keep a browser from showing the file, whatever it holds."""
        return {
            "content-disposition": f"attachment; filename*=UTF-8''{quote(self.name, safe='')}",
            "content-security-policy": "default-src 'none'; sandbox",
            "x-content-type-options": "nosniff",
            "cache-control": "private, no-store",
        }


@dataclass(frozen=True, slots=True)
class EventStream:
    """An answer that is a stream of events which say themselves what they are, and when they are over.

    Args:
        events: each with its `type`.
        last: whether an event ends the stream; it waits for the receipt.
        failure: the event that ends a stream with an error.
        close: gives up what the events come from, also where none of them was taken.
    """

    events: AsyncGenerator[dict[str, Any]]
    last: Callable[[dict[str, Any]], bool]
    failure: Callable[[FreeholdError], dict[str, Any]]
    close: Callable[[], Awaitable[None]]


Reply: TypeAlias = dict[str, Any] | AsyncGenerator[dict[str, Any]] | EventStream | Download
"""A whole answer, the events of a stream, or a file."""

Handler: TypeAlias = Callable[[Call], Awaitable[Reply]]
