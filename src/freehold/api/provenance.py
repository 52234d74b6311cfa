"""`POST /v1/provenance`: where a picture came from, read from its file.

The body is the file itself, or a form (`multipart/form-data`) with the file in the field `file` or `image`.
"""

from collections.abc import Mapping
from typing import Any

from starlette.routing import BaseRoute, Route

from freehold.api.body import JsonText
from freehold.api.dialect import Dialect
from freehold.api.openai import Forms, MakeOperation
from freehold.api.reply import Call, Handler, Reply
from freehold.errors import InvalidRequest
from freehold.gateway.provenance import Provenance
from freehold.types.images import HeldUpload

PATH = "/v1/provenance"
FIELDS = ("file", "image")


def provenance_routes(operation: MakeOperation, provenance: Provenance) -> list[BaseRoute]:
    """The route; `operation(route, handler, dialect, forms=…, plain=…)` makes an endpoint."""
    endpoint = operation(PATH, _tell(provenance), Dialect.OPENAI, forms=Forms.PICTURES, plain=FileBody)
    return [Route(PATH, endpoint, methods=["POST"])]


def _tell(provenance: Provenance) -> Handler:
    async def tell_provenance(call: Call) -> Reply:
        """What a file says of its origin, and whether it can be believed."""
        files = call.files or {}
        found = next((files[name][0] for name in FIELDS if files.get(name)), None)
        if found is None or found.size == 0:
            raise InvalidRequest(
                "Send the picture's file as the body, or as the field 'file' of a form.",
                param="file",
                code="missing_required_parameter",
            )
        return await provenance.read(call.principal, await found.read())

    return tell_provenance


class FileBody(JsonText):
    """A body that is a file."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw)
        self.files = {"file": (HeldUpload(raw),)}

    def fields(self) -> Mapping[str, Any]:
        """See `Body.fields`; there are none."""
        return {}
