"""Bodies that are multipart/form-data (RFC 7578): text fields and files, parsed as they come in.

Starlette's parser over python-multipart, within hard bounds: of the whole body, of fields, of files. A file beyond one
mebibyte lies in a temporary file that has no name, so that uploads cost little memory and leave nothing behind.
"""

import hashlib
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from freehold.api.body import body_pieces
from freehold.errors import MalformedBody
from freehold.types.images import Upload

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

MAX_FIELDS = 32
MAX_FILES = 20
MAX_FIELD_BYTES = 256 * 1024
_PIECE_BYTES = 1024 * 1024


class UploadedFile:
    """A file of a form."""

    def __init__(self, file: UploadFile) -> None:
        self._file = file
        self.size = file.size or 0
        self.name = file.filename or ""

    async def read(self) -> bytes:
        """See `Upload.read`."""
        await self._file.seek(0)
        return await self._file.read()

    async def pieces(self, size: int) -> AsyncGenerator[bytes]:
        """See `Upload.pieces`."""
        await self._file.seek(0)
        while piece := await self._file.read(size):
            yield piece

    async def digest(self) -> bytes:
        """The SHA-256 of its content, in hex."""
        digest = hashlib.sha256()
        async for piece in self.pieces(_PIECE_BYTES):
            digest.update(piece)
        return digest.hexdigest().encode()


class Form:
    """A form that was read; its files stay until `aclose`.

    Args:
        data: what the parser made.
        size: bytes of the whole body.
    """

    def __init__(self, data: FormData, size: int) -> None:
        self._data = data
        self.size = size
        self.identity = b""
        self._fields: dict[str, str] = {}
        self._files: dict[str, list[UploadedFile]] = {}

    @property
    def files(self) -> Mapping[str, tuple[Upload, ...]]:
        """See `Body.files`."""
        return {name: tuple(files) for name, files in self._files.items()}

    async def take_in(self) -> None:
        """Sort the fields by their kind. What identifies the form is its content, not how its parts were divided.

        Raises:
            MalformedBody: a text field stands twice.
        """
        said: list[bytes] = []
        for name, value in self._data.multi_items():
            plain = name.removesuffix("[]")
            if isinstance(value, UploadFile):
                file = UploadedFile(value)
                self._files.setdefault(plain, []).append(file)
                content = b"file " + await file.digest()
            elif plain in self._fields:
                raise MalformedBody(f"The field '{plain[:64]}' of the form stands twice.", code="invalid_form")
            else:
                self._fields[plain] = value
                content = b"text " + value.encode("utf-8", "surrogatepass")
            said.append(b"%d:%b=%d:%b" % (len(plain), plain.encode("utf-8", "replace"), len(content), content))
        self.identity = b"\n".join(said)

    def fields(self) -> Mapping[str, str]:
        """See `Body.fields`."""
        return self._fields

    async def aclose(self) -> None:
        """See `Body.aclose`."""
        await self._data.close()


def is_form(scope: "Scope") -> bool:
    """Whether a request says that its body is a form with files."""
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    return bool(kind.lower().startswith(b"multipart/form-data"))


async def read_form(scope: "Scope", receive: "Receive", limit: int) -> Form:
    """The form of a request.

    Raises:
        BodyTooLarge: it is longer than `limit` bytes; noticed from the header, or while reading.
        MalformedBody: it is no such form, or has too many parts.
        ClientGone: the caller went away while sending.
    """
    size = 0

    async def pieces() -> AsyncGenerator[bytes]:
        nonlocal size
        async for piece in body_pieces(scope, receive, limit):
            size += len(piece)
            yield piece

    parser = MultiPartParser(
        Headers(raw=list(scope["headers"])),
        pieces(),
        max_files=MAX_FILES,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )
    try:
        data = await parser.parse()
    except MultiPartException as exc:
        raise MalformedBody(f"We could not parse the form of your request: {exc.message}", code="invalid_form") from exc
    form = Form(data, size)
    try:
        await form.take_in()
    except BaseException:
        await form.aclose()
        raise
    return form
