"""`/files`: upload, list, look at, fetch and delete the files of a project."""

import re
from typing import Any, Final

from freehold.api.body import parse
from freehold.api.reply import Call, Download, Handler, Reply
from freehold.errors import InvalidRequest, UnsupportedParameter
from freehold.types.files import FileQuery, FileRequest, Purpose, StoredFile
from freehold.types.images import Upload

_MOST: Final = 10_000
_NESTED = re.compile(r"expires_after\[(anchor|seconds)\]")


async def create_file(call: Call) -> Reply:
    """Keep an uploaded file."""
    sent = only_file(call, "file")
    request = parse(FileRequest, _unfolded(call.body))
    call.account.parameters = {"purpose": request.purpose.value, "bytes": sent.size}
    return file_object(await call.gateway.files.create(call.principal, sent, request))


async def list_files(call: Call) -> Reply:
    """The files of the caller's project, page by page."""
    found, more = await call.gateway.files.list(call.principal, _query(call.query))
    data = [file_object(each) for each in found]
    ends = {"first_id": data[0]["id"] if data else "", "last_id": data[-1]["id"] if data else ""}
    return {"object": "list", "data": data, **ends, "has_more": more}


async def retrieve_file(call: Call) -> Reply:
    """One file, without its content."""
    return file_object(await call.gateway.files.get(call.principal, call.path["file_id"]))


async def download_file(call: Call) -> Reply:
    """The content of a file."""
    found, pieces = await call.gateway.files.content(call.principal, call.path["file_id"])
    return Download(found.filename, found.size, pieces)


async def delete_file(call: Call) -> Reply:
    """Remove a file."""
    file_id = call.path["file_id"]
    await call.gateway.files.delete(call.principal, file_id)
    return {"id": file_id, "object": "file", "deleted": True}


OPERATIONS: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("POST", "files", create_file),
    ("GET", "files", list_files),
    ("GET", "files/{file_id}", retrieve_file),
    ("DELETE", "files/{file_id}", delete_file),
    ("GET", "files/{file_id}/content", download_file),
)
"""Method, path and handler of each."""


def only_file(call: Call, field: str) -> Upload:
    """The one file of a form.

    Raises:
        InvalidRequest: there is none of that name, or there are others.
    """
    files = call.files or {}
    others = sorted(set(files) - {field})
    if others:
        name = others[0][:64]
        raise UnsupportedParameter(f"The form has a file '{name}'; send one, as '{field}'.", param=name)
    sent = files.get(field, ())
    if len(sent) != 1:
        raise InvalidRequest(
            f"Send one file, in the field '{field}' of a form (multipart/form-data).",
            param=field,
            code="missing_required_parameter",
        )
    return sent[0]


def file_object(found: StoredFile) -> dict[str, Any]:
    """A file as OpenAI writes it."""
    return {
        "id": found.id,
        "object": "file",
        "bytes": found.size,
        "created_at": found.created_at,
        "expires_at": found.expires_at,
        "filename": found.filename,
        "purpose": found.purpose.value,
        "status": "processed",
    }


def _unfolded(fields: Any) -> dict[str, Any]:
    """The fields of the form, `expires_after[seconds]` and its like put together."""
    body: dict[str, Any] = {}
    for name, value in fields.items():
        nested = _NESTED.fullmatch(name)
        if nested is None:
            body[name] = value
            continue
        number = nested[1] == "seconds" and value.isdecimal() and len(value) < 12
        body.setdefault("expires_after", {})[nested[1]] = int(value) if number else value
    return body


def _query(query: dict[str, str]) -> FileQuery:
    """What is asked for.

    Raises:
        InvalidRequest: a value is not one that it may have.
    """
    purpose, limit, order = query.get("purpose"), query.get("limit", str(_MOST)), query.get("order", "desc")
    if purpose is not None and purpose not in set(Purpose):
        raise InvalidRequest(f"'purpose' must be one of {', '.join(Purpose)}.", param="purpose")
    if not limit.isdecimal() or not 1 <= int(limit[:9]) <= _MOST:
        raise InvalidRequest(f"'limit' must be a number from 1 to {_MOST}.", param="limit")
    if order not in {"asc", "desc"}:
        raise InvalidRequest("'order' must be 'asc' or 'desc'.", param="order")
    return FileQuery(Purpose(purpose) if purpose else None, int(limit), order == "desc", query.get("after"))
