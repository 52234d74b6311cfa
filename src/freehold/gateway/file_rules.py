"""What a file may be: its name, and for each purpose its kind, told by its first bytes where they tell it.

No file is unpacked or run here, so an archive costs what its bytes cost; what cannot be used for its purpose is refused
when it comes, not when it is needed.
"""

import re
from collections.abc import Mapping
from typing import Final

import orjson

from freehold.errors import InvalidRequest
from freehold.types.files import Purpose

MAX_NAME: Final = 255
"""Code points of a name."""
_FORBIDDEN = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_PICTURES: Final[Mapping[str, tuple[bytes, ...]]] = {
    "png": (b"\x89PNG\r\n\x1a\n",),
    "jpg": (b"\xff\xd8\xff",),
    "jpeg": (b"\xff\xd8\xff",),
    "gif": (b"GIF87a", b"GIF89a"),
    "webp": (b"RIFF",),
}
_DOCUMENTS: Final = frozenset({
    "c", "cc", "cpp", "cs", "css", "csv", "doc", "docx", "go", "h", "hpp", "html", "java", "js", "json", "jsonl", "log",
    "md", "pdf", "php", "pptx", "py", "rb", "rs", "rst", "sh", "sql", "tex", "toml", "ts", "tsv", "txt", "xlsx", "xml",
    "yaml", "yml",
})  # fmt: skip
_OF_LINES: Final = frozenset({Purpose.BATCH, Purpose.FINE_TUNE, Purpose.EVALS})
FIRST_BYTES: Final = 65_536
"""So much of a file's beginning is looked at."""


def check_name(name: str) -> str:
    """The name, if a file may have it.

    Raises:
        InvalidRequest: it is empty or too long, or has characters that lead elsewhere or that nobody sees.
    """
    if not name or len(name) > MAX_NAME or _FORBIDDEN.search(name) or name in {".", ".."}:
        raise InvalidRequest(
            f"The file needs a plain name of 1 to {MAX_NAME} characters, without '/', '\\' and control characters.",
            param="file",
            code="invalid_file_name",
        )
    return name


def check_kind(name: str, purpose: Purpose, first: bytes) -> None:
    """Return if a file can be used for its purpose.

    Args:
        name: of the file.
        purpose: what it is for.
        first: its first bytes, at most `FIRST_BYTES`.

    Raises:
        InvalidRequest: it is of another kind than the purpose needs, or than its name says.
    """
    suffix = name.rpartition(".")[2].lower() if "." in name else ""
    if purpose in _OF_LINES:
        if suffix != "jsonl":
            raise _unfit(purpose, "needs a file of JSON lines whose name ends in '.jsonl'")
        _check_lines(purpose, first)
        return
    if suffix in _PICTURES:
        if not first.startswith(_PICTURES[suffix]) or (suffix == "webp" and first[8:12] != b"WEBP"):
            raise _unfit(purpose, f"was sent a file that is no '.{suffix}' by its content")
        return
    if purpose is Purpose.VISION:
        raise _unfit(purpose, "needs a picture: .png, .jpg, .jpeg, .gif or .webp")
    if suffix not in _DOCUMENTS:
        raise _unfit(purpose, f"takes documents and pictures, not '.{suffix[:16]}' files")
    if suffix == "pdf" and not first.startswith(b"%PDF-"):
        raise _unfit(purpose, "was sent a file that is no '.pdf' by its content")


def _check_lines(purpose: Purpose, first: bytes) -> None:
    """Return if the first line, if all of it is there, is a JSON object.

    Raises:
        InvalidRequest: it is not.
    """
    line, ended, _ = first.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").partition(b"\n")
    if not ended and len(first) >= FIRST_BYTES:
        if b"\0" in line:
            raise _unfit(purpose, "needs JSON objects, one a line; the file is not text")
        return
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise _unfit(purpose, "needs JSON objects, one a line; line 1 cannot be parsed") from exc
    if not isinstance(found, dict):
        raise _unfit(purpose, "needs JSON objects, one a line; line 1 is none")


def _unfit(purpose: Purpose, why: str) -> InvalidRequest:
    return InvalidRequest(f"The purpose '{purpose.value}' {why}.", param="file", code="invalid_file_format")
