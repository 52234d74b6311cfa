"""`/uploads`: files that come in parts."""

from typing import Any, Final

from freehold.api.body import parse
from freehold.api.files import file_object, only_file
from freehold.api.reply import Call, Handler, Reply
from freehold.errors import UnknownParameter
from freehold.types.files import CompleteRequest, StoredUpload, UploadRequest


async def create_upload(call: Call) -> Reply:
    """Begin a file that comes in parts."""
    request = parse(UploadRequest, call.body)
    call.account.parameters = {"purpose": request.purpose.value, "bytes": request.bytes}
    return _upload_object(await call.gateway.uploads.begin(call.principal, request))


async def add_part(call: Call) -> Reply:
    """Add a part."""
    sent = only_file(call, "data")
    for name in call.body:
        raise UnknownParameter(f"Unknown parameter: '{name[:64]}'.", param=name[:64])
    call.account.parameters = {"bytes": sent.size}
    part = await call.gateway.uploads.add(call.principal, call.path["upload_id"], sent)
    return {"id": part.id, "object": "upload.part", "created_at": part.created_at, "upload_id": part.upload_id}


async def complete_upload(call: Call) -> Reply:
    """Put the parts together."""
    request = parse(CompleteRequest, call.body)
    return _upload_object(await call.gateway.uploads.complete(call.principal, call.path["upload_id"], request))


async def cancel_upload(call: Call) -> Reply:
    """Give it up."""
    return _upload_object(await call.gateway.uploads.cancel(call.principal, call.path["upload_id"]))


OPERATIONS: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("POST", "uploads", create_upload),
    ("POST", "uploads/{upload_id}/parts", add_part),
    ("POST", "uploads/{upload_id}/complete", complete_upload),
    ("POST", "uploads/{upload_id}/cancel", cancel_upload),
)
"""Method, path and handler of each."""


def _upload_object(found: StoredUpload) -> dict[str, Any]:
    """An upload as OpenAI writes it."""
    told: dict[str, Any] = {
        "id": found.id,
        "object": "upload",
        "bytes": found.size,
        "created_at": found.created_at,
        "expires_at": found.expires_at,
        "filename": found.filename,
        "purpose": found.purpose.value,
        "status": found.status,
    }
    return told if found.file is None else {**told, "file": file_object(found.file)}
