"""A request's body: read within its limit, decoded strictly, turned into a request model."""

import json
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol, TypeVar

import orjson
from pydantic import ValidationError
from starlette.types import Message, Receive, Scope

from freehold.api.problems import describe
from freehold.errors import BodyTooLarge, MalformedBody
from freehold.gateway.flights import ClientGone
from freehold.types.base import RequestModel
from freehold.types.images import Upload

_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
_INTEGERS = (-(2**63), 2**63 - 1)
_INTEGER_DIGITS = 20

ModelT = TypeVar("ModelT", bound=RequestModel)


class Body(Protocol):
    """A request's body, read to its end."""

    @property
    def identity(self) -> bytes:
        """What is the same for two bodies that say the same."""

    @property
    def size(self) -> int:
        """How many bytes were sent."""

    @property
    def files(self) -> Mapping[str, tuple[Upload, ...]] | None:
        """The files in it, by the names of their fields; None where it is no form."""

    def fields(self) -> Mapping[str, Any]:
        """What is not a file, decoded.

        Raises:
            MalformedBody: it cannot be.
        """

    async def aclose(self) -> None:
        """Give back what the files hold."""


class JsonText:
    """A body that is to be a JSON object; decoded when it is asked for."""

    def __init__(self, raw: bytes) -> None:
        self.identity = raw
        self.size = len(raw)
        self.files: Mapping[str, tuple[Upload, ...]] | None = None

    def fields(self) -> Mapping[str, Any]:
        """See `Body.fields`."""
        return decode(self.identity)

    async def aclose(self) -> None:
        """See `Body.aclose`; there is nothing to give back."""


class _NoBody(JsonText):
    """What a request without a body has."""

    def fields(self) -> Mapping[str, Any]:
        """See `Body.fields`."""
        return {}


NO_BODY = _NoBody(b"")


async def read_json(scope: Scope, receive: Receive, limit: int) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        BodyTooLarge: it is longer than `limit` bytes.
        MalformedBody: it is not JSON, not an object, nested too deep, or has a key twice.
        ClientGone: the caller went away while sending.
    """
    return decode(await read_limited(scope, receive, limit))


async def read_limited(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The body as bytes.

    Raises:
        BodyTooLarge: it is longer than `limit` bytes; noticed from the header, or while reading.
        ClientGone: the caller went away while sending.
    """
    _check_declared(scope, limit)
    message = await receive()
    first = _piece_of(message, 0, limit)
    if not message.get("more_body", False):
        return first
    return b"".join([first, *[piece async for piece in _rest(receive, len(first), limit)]])


async def body_pieces(scope: Scope, receive: Receive, limit: int) -> AsyncGenerator[bytes]:
    """The body as it comes in, piece by piece.

    Raises: as `read_limited`.
    """
    _check_declared(scope, limit)
    async for piece in _rest(receive, 0, limit):
        yield piece


async def _rest(receive: Receive, size: int, limit: int) -> AsyncGenerator[bytes]:
    """The pieces of a body from the next one on, after `size` bytes of it."""
    more = True
    while more:
        message = await receive()
        piece = _piece_of(message, size, limit)
        size += len(piece)
        yield piece
        more = message.get("more_body", False)


def _check_declared(scope: Scope, limit: int) -> None:
    """Hold that a request does not say that its body is longer than `limit` bytes."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            if value.isdigit() and int(value) > limit:
                raise _too_large(limit)
            return


def _piece_of(message: Message, size: int, limit: int) -> bytes:
    """The piece of a body that a message brings, after `size` bytes of it."""
    if message["type"] == "http.disconnect":
        raise ClientGone("The connection was closed while the body was read.")
    piece: bytes = message.get("body", b"")
    if size + len(piece) > limit:
        raise _too_large(limit)
    return piece


def decode(body: bytes) -> dict[str, Any]:
    """Decode a JSON object.

    orjson goes first: it refuses deep nesting, NaN, lone surrogates and bad UTF-8 within microseconds. The
    standard library's decoder follows, because it can tell a key that stands twice. It is spared where orjson writes
    what it has read as it was sent, as most clients do: nothing was lost then.

    Raises:
        MalformedBody: says what is wrong.
    """
    if not body or body.isspace():
        raise MalformedBody("The request has no body; send a JSON object.")
    try:
        value = orjson.loads(body)
        if not _is_written_so(value, body):
            value = _STRICT.decode(body.decode())
    except orjson.JSONDecodeError as exc:
        raise MalformedBody(f"We could not parse the JSON body of your request: {exc.msg}.") from exc
    except (RecursionError, ValueError) as exc:
        raise MalformedBody("We could not parse the JSON body of your request: it is nested too deep.") from exc
    if not isinstance(value, dict):
        raise MalformedBody("The body of the request must be a JSON object.")
    return value


def parse(model: type[ModelT], body: Mapping[str, Any]) -> ModelT:
    """Validate a decoded body.

    Raises:
        InvalidRequest: names the parameter that is wrong, and how.
    """
    try:
        return model.model_validate(body)
    except ValidationError as exc:
        raise describe(exc, body) from exc


def origin_of(scope: Scope) -> str:
    """Scheme and host under which the caller reached the server, as the caller says."""
    host = ""
    for name, value in scope["headers"]:
        if name == b"host":
            host = value.decode("latin-1")
            break
    if not _HOST.fullmatch(host):
        name, port = scope.get("server") or ("localhost", None)
        host = name if port is None else f"{name}:{port}"
    return f"{scope.get('scheme', 'http')}://{host}"


def _is_written_so(value: Any, body: bytes) -> bool:
    """Whether a value, in which every integer has at most 53 bits, is written as it was sent."""
    try:
        return orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER) == body
    except orjson.JSONEncodeError:
        return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object's pairs as a dict."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise MalformedBody(f"We could not parse the JSON body of your request: the key '{twice[:64]}' stands twice.")
    return found


def _integer(digits: str) -> int:
    """An integer of at most 64 bits, which is what every part further on can hold and write again."""
    if len(digits) > _INTEGER_DIGITS or not _INTEGERS[0] <= (value := int(digits)) <= _INTEGERS[1]:
        raise MalformedBody(
            f"We could not parse the JSON body of your request: the integer {digits[:24]}… is out of range."
        )
    return value


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than the limit of {limit} bytes.")
