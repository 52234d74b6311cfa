"""`POST /v1/provenance`: where a picture came from, read from its file.

The body is the file itself, or a form (`multipart/form-data`) with the file in the field `file` or `image`.
"""

from collections.abc import Mapping
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from freehold.api.dialect import Dialect
from freehold.api.openai import MakeOperation
from freehold.api.operation import Call, Handler, Reply
from freehold.errors import InvalidRequest
from freehold.gateway.provenance import Provenance

PATH = "/v1/provenance"
FIELDS = ("file", "image")
_MAX_PARTS = 16


def provenance_routes(operation: MakeOperation, provenance: Provenance) -> list[BaseRoute]:
    """The route; `operation(route, handler, dialect, read=…)` makes an endpoint."""
    return [Route(PATH, operation(PATH, _tell(provenance), Dialect.OPENAI, read=read_file), methods=["POST"])]


def _tell(provenance: Provenance) -> Handler:
    async def tell_provenance(call: Call) -> Reply:
        """What a file says of its origin, and whether it can be believed."""
        return await provenance.read(call.principal, call.body["file"])

    return tell_provenance


def read_file(scope: Scope, raw: bytes) -> Mapping[str, Any]:
    """The file in a body, as `file`.

    Raises:
        InvalidRequest: there is none.
    """
    header = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    kind, options = parse_options_header(header)
    data = _from_form(raw, options.get(b"boundary")) if kind == b"multipart/form-data" else raw
    if not data:
        raise InvalidRequest(
            "Send the picture's file as the body, or as the field 'file' of a form.",
            param="file",
            code="missing_required_parameter",
        )
    return {"file": data}


def _from_form(raw: bytes, boundary: bytes | None) -> bytes | None:
    """The file of a form; None if it has none."""
    form = _Form()
    try:
        parser = MultipartParser(boundary or b"", form.callbacks())
        parser.write(raw)
        parser.finalize()
    except (FormParserError, ValueError) as exc:
        raise InvalidRequest("The form cannot be read.", param="file") from exc
    return form.file


class _Form:
    """Listens to the parser, and keeps the first field of a wanted name."""

    def __init__(self) -> None:
        self.file: bytes | None = None
        self._header = [b"", b""]
        self._wanted = False
        self._data: list[bytes] = []
        self._parts = 0

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_begin": self._new_header,
            "on_header_field": lambda data, start, end: self._add(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._add(1, data[start:end]),
            "on_header_end": self._end_header,
            "on_part_data": self._take,
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise InvalidRequest(f"The form has more than {_MAX_PARTS} fields.", param="file")
        self._wanted = False
        self._data = []

    def _new_header(self) -> None:
        self._header = [b"", b""]

    def _add(self, place: int, data: bytes) -> None:
        self._header[place] += data

    def _end_header(self) -> None:
        if self._header[0].lower() == b"content-disposition":
            _, options = parse_options_header(self._header[1])
            name = options.get(b"name", b"").decode("utf-8", "replace")
            self._wanted = self.file is None and name in FIELDS

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._wanted:
            self._data.append(data[start:end])

    def _end(self) -> None:
        if self._wanted:
            self.file = b"".join(self._data)
