"""What an uploaded picture says of itself, read from its structure without decoding a pixel.

Formats go by content: PNG (https://www.w3.org/TR/png-3/), JPEG (ITU-T T.81, annex B) and WebP (RFC 9649). Nothing here
allocates more than the file has. What is decoded afterwards is `clean`: of a PNG and a JPEG only what the pixels
need and the orientation, so that no text, profile or trailing data reaches a decoder.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

MAX_SIDE = 16_384
MAX_PIXELS = 50_000_000
"""A picture of 8,160 x 6,120, as a telephone takes it, has fewer."""
MAX_BLOCK_BYTES = 4 * 1024 * 1024
"""One block of metadata: a colour profile has at most about half of that."""
MAX_METADATA_BYTES = 8 * 1024 * 1024
MAX_CHUNKS = 100_000
MAX_SCANS = 64
"""Of a progressive JPEG; encoders make about ten, and each costs a pass over all pixels."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"})
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_JPEG_OTHER_FRAMES = frozenset({0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)})
_JPEG_KEPT = frozenset({0xE0, 0xE1, 0xEE})
"""JFIF, Exif and Adobe, which tell how to read the colours and the orientation."""
_OTHERS = (
    (re.compile(rb"GIF8[79]a"), "a GIF"),
    (re.compile(rb"\s*(<\?xml|<!doctype svg|<svg|<!--)", re.IGNORECASE), "an SVG or another text file"),
    (re.compile(rb"BM"), "a BMP"),
    (re.compile(rb"II\*\x00|MM\x00\*"), "a TIFF"),
    (re.compile(rb"....ftyp", re.DOTALL), "a HEIC, an AVIF or a film"),
    (re.compile(rb"%PDF"), "a PDF"),
)


class RefusedPictureError(ValueError):
    """The file is not taken; the text says what is wrong: the end of a sentence that begins with the file's name."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself. `width` and `height` are pixels, before its orientation is applied."""

    format: Literal["PNG", "JPEG", "WEBP"]
    width: int
    height: int
    clean: bytes


def read_header(data: bytes) -> Header:
    """The header of a picture that may be decoded.

    Raises:
        RefusedPictureError: it is none, is broken, or is over a limit.
    """
    if data.startswith(_PNG):
        header = _png(data)
    elif data.startswith(b"\xff\xd8\xff"):
        header = _jpeg(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        header = _webp(data)
    else:
        other = next((name for pattern, name in _OTHERS if pattern.match(data)), None)
        if other is None:
            raise RefusedPictureError("is not a PNG, JPEG or WebP picture.")
        raise RefusedPictureError(f"is {other}; send a PNG, JPEG or WebP picture.")
    _check_size(header.width, header.height)
    return header


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise RefusedPictureError("has no pixels.")
    if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
        raise RefusedPictureError(
            f"has {width}x{height} pixels; at most {MAX_PIXELS:,} are taken, and at most {MAX_SIDE:,} a side."
        )


class _Metadata:
    """Counts the bytes that are no pixels."""

    def __init__(self) -> None:
        self._total = 0

    def add(self, what: str, size: int) -> None:
        self._total += size
        if size > MAX_BLOCK_BYTES:
            raise RefusedPictureError(f"has {size} bytes in {what}; at most {MAX_BLOCK_BYTES} are taken.")
        if self._total > MAX_METADATA_BYTES:
            raise RefusedPictureError(f"has more than {MAX_METADATA_BYTES} bytes of metadata.")


# PNG


def _png(data: bytes) -> Header:
    kept: list[bytes] = [_PNG]
    metadata = _Metadata()
    size: tuple[int, int] | None = None
    pixels = False
    for number, (kind, start, end) in enumerate(_png_chunks(data)):
        if number >= MAX_CHUNKS:
            raise RefusedPictureError(f"has more than {MAX_CHUNKS:,} chunks.")
        if number == 0:
            if kind != b"IHDR" or end - start != 25:
                raise RefusedPictureError("is a broken PNG: it does not begin with a header.")
            size = int.from_bytes(data[start + 8 : start + 12]), int.from_bytes(data[start + 12 : start + 16])
            _check_size(*size)
        elif kind == b"IHDR":
            raise RefusedPictureError("is a broken PNG: it has two headers.")
        if kind in {b"acTL", b"fcTL", b"fdAT"}:
            raise RefusedPictureError("is animated; send a single picture.")
        if kind not in {b"IHDR", b"IDAT", b"PLTE", b"IEND"}:
            metadata.add(f"a chunk '{_letters(kind)}'", end - start - 12)
        pixels = pixels or kind == b"IDAT"
        if kind in _PNG_KEPT:
            kept.append(data[start:end])
        if kind == b"IEND":
            if end != len(data):
                raise RefusedPictureError(f"has {len(data) - end} bytes after the end of the picture.")
            if not pixels or size is None:
                raise RefusedPictureError("is a broken PNG: it has no pixels.")
            return Header("PNG", *size, b"".join(kept))
    raise RefusedPictureError("is cut off: its end is missing.")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The chunks: kind, and where each begins and ends, its length and check value included."""
    at = len(_PNG)
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if at + 12 > len(data) or end > len(data):
            raise RefusedPictureError("is cut off: its end is missing.")
        yield data[at + 4 : at + 8], at, end
        at = end


def _letters(kind: bytes) -> str:
    return "".join(chr(code) if chr(code).isalpha() and code < 128 else "?" for code in kind)


# JPEG


def _jpeg(data: bytes) -> Header:
    kept: list[bytes] = [data[:2]]
    metadata = _Metadata()
    size: tuple[int, int] | None = None
    scans, at = 0, 2
    while True:
        marker, start = _jpeg_marker(data, at)
        if marker == 0xD9:
            if not scans or size is None:
                raise RefusedPictureError("is a broken JPEG: it has no pixels.")
            _check_trailer(data[start + 2 :])
            return Header("JPEG", *size, b"".join([*kept, data[start : start + 2]]))
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        if end > len(data) or end < start + 4:
            raise RefusedPictureError("is cut off: its end is missing.")
        if marker in _JPEG_OTHER_FRAMES or (marker in _JPEG_FRAMES and size is not None) or marker == 0xD8:
            raise RefusedPictureError("is a JPEG of a kind that is not taken.")
        if marker in _JPEG_FRAMES:
            size = int.from_bytes(data[start + 7 : start + 9]), int.from_bytes(data[start + 5 : start + 7])
            _check_size(*size)
        if marker == 0xDA:
            scans += 1
            if scans > MAX_SCANS:
                raise RefusedPictureError(f"has more than {MAX_SCANS} scans.")
            end = _end_of_scan(data, end)
        is_metadata = 0xE0 <= marker <= 0xEF or marker == 0xFE
        if is_metadata:
            metadata.add("a segment", end - start - 4)
        if not is_metadata or marker in _JPEG_KEPT:
            kept.append(data[start:end])
        at = end


def _jpeg_marker(data: bytes, at: int) -> tuple[int, int]:
    """The marker that stands there, behind any fill bytes, and where."""
    while data[at : at + 2] == b"\xff\xff":
        at += 1
    if at + 2 > len(data):
        raise RefusedPictureError("is cut off: its end is missing.")
    if data[at] != 0xFF or data[at + 1] == 0:
        raise RefusedPictureError("is a broken JPEG.")
    return data[at + 1], at


def _end_of_scan(data: bytes, at: int) -> int:
    """Where the compressed pixels end, which is at the next marker."""
    found = _JPEG_MARKER.search(data, at)
    if found is None:
        raise RefusedPictureError("is cut off: its end is missing.")
    return found.start()


def _check_trailer(rest: bytes) -> None:
    """Cameras put smaller copies behind a JPEG, each a JPEG, and fill up with zeros; nothing else may follow."""
    if rest.strip(b"\x00") and not rest.lstrip(b"\x00").startswith(b"\xff\xd8\xff"):
        raise RefusedPictureError(f"has {len(rest)} bytes after the end of the picture.")


# WebP


def _webp(data: bytes) -> Header:
    if len(data) != int.from_bytes(data[4:8], "little") + 8:
        raise RefusedPictureError("is cut off, or has something after the end of the picture.")
    metadata = _Metadata()
    sizes: list[tuple[int, int]] = []
    at = 12
    for _ in range(MAX_CHUNKS):
        if at >= len(data):
            break
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        start, end = at + 8, at + 8 + length + length % 2
        if end > len(data):
            raise RefusedPictureError("is cut off: its end is missing.")
        if kind in {b"ANIM", b"ANMF"}:
            raise RefusedPictureError("is animated; send a single picture.")
        if kind in {b"VP8 ", b"VP8L", b"VP8X"}:
            sizes.append(_webp_size(kind, data[start : start + 10]))
        elif kind != b"ALPH":
            metadata.add("a chunk", length)
        at = end
    if not sizes or at < len(data):
        raise RefusedPictureError("is a broken WebP.")
    return Header("WEBP", max(width for width, _ in sizes), max(height for _, height in sizes), data)


def _webp_size(kind: bytes, head: bytes) -> tuple[int, int]:
    """Width and height, as the beginning of a chunk has them."""
    if len(head) < (5 if kind == b"VP8L" else 10):
        raise RefusedPictureError("is a broken WebP.")
    if kind == b"VP8 ":
        return (
            int.from_bytes(head[6:8], "little") & 0x3FFF,
            int.from_bytes(head[8:10], "little") & 0x3FFF,
        )
    if kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
