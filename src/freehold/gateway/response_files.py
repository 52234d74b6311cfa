"""Files in a response's input: uploaded pictures become `data:` URLs, and texts become text.

What is kept of a response names the file; only the engine is given what is in it.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

from freehold.errors import InvalidRequest, UnsupportedParameter
from freehold.gateway.files import Files
from freehold.types.identity import Principal

MAX_TEXT_BYTES: Final = 1024 * 1024
"""Of a file that is read as text."""
MAX_PICTURE_BYTES: Final = 20 * 1024 * 1024
MAX_ALL_BYTES: Final = 32 * 1024 * 1024
"""Of all uploaded files that one request reads, each as often as it is named."""
_PICTURES: Final = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp", b"GIF8": "gif"}


class FileReader:
    """Puts files into items.

    Args:
        files: of all projects.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

    async def inlined(self, principal: Principal, items: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The items with what is in their files.

        Raises:
            NotFound: there is no file of that id in the caller's project.
            Forbidden: the caller may not read files.
            InvalidRequest, UnsupportedParameter: a file is too large, or neither a text nor a picture.
        """
        reading = _Reading(self._files, principal)
        return [await reading.item(item) for item in items]


class _Reading:
    """The reading for one request.

    Args:
        files: of all projects.
        principal: who reads.
    """

    def __init__(self, files: Files, principal: Principal) -> None:
        self._files = files
        self._principal = principal
        self._left = MAX_ALL_BYTES

    async def item(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        """An item with what is in its files."""
        for field in ("content", "output"):
            parts = item.get(field)
            if isinstance(parts, list) and any(_has_file(part) for part in parts):
                return {**item, field: [await self._part(part) for part in parts]}
        return item

    async def _part(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        if not _has_file(part):
            return part
        if part["type"] == "input_image":
            _, data = await self._fetch(part["file_id"], MAX_PICTURE_BYTES)
            url = f"data:image/{_picture(data)};base64,{base64.b64encode(data).decode()}"
            return {"type": "input_image", "detail": part.get("detail", "auto"), "image_url": url}
        if part.get("file_url") is not None:
            raise UnsupportedParameter(
                "Unsupported parameter: 'file_url': nothing is fetched. Upload the file and send its id.",
                param="input",
            )
        if part.get("file_id") is not None:
            name, data = await self._fetch(part["file_id"], MAX_TEXT_BYTES)
        else:
            name, data = part.get("filename") or "file", _decoded(part["file_data"])
        return {"type": "input_text", "text": f"{name}:\n{_text(name, data)}"}

    async def _fetch(self, file_id: str, most: int) -> tuple[str, bytes]:
        found, pieces = await self._files.content(self._principal, file_id)
        if found.size > most:
            raise _too_large(found.filename, most)
        self._left -= found.size
        if self._left < 0:
            raise InvalidRequest(
                f"The files of this request are larger than {MAX_ALL_BYTES} bytes together.",
                param="input",
                code="file_too_large",
            )
        return found.filename, b"".join([piece async for piece in pieces])


def _has_file(part: Mapping[str, Any]) -> bool:
    return part.get("type") == "input_file" or part.get("file_id") is not None


def _picture(data: bytes) -> str:
    for head, kind in _PICTURES.items():
        if data.startswith(head):
            return kind
    raise InvalidRequest("An 'input_image' names a file that is no picture.", param="input", code="invalid_image")


def _decoded(text: str) -> bytes:
    """The bytes of a `data:` URL, or of base64 alone."""
    _, _, encoded = text.rpartition(",")
    if len(encoded) > MAX_TEXT_BYTES * 4 // 3 + 4:
        raise _too_large("file", MAX_TEXT_BYTES)
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("'file_data' must be base64, or a data: URL with base64.", param="input") from None


def _text(name: str, data: bytes) -> str:
    if len(data) > MAX_TEXT_BYTES:
        raise _too_large(name, MAX_TEXT_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UnsupportedParameter(
            f"Unsupported value: '{name[:64]}' is not a text. Files are read as text (UTF-8); turn it into text first.",
            param="input",
        )
    return text


def _too_large(name: str, most: int) -> InvalidRequest:
    return InvalidRequest(f"'{name[:64]}' is larger than {most} bytes.", param="input", code="file_too_large")
