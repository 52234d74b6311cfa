"""Pictures for tests: good ones, and files that are meant to do harm."""

import io
import struct
import zlib
from collections.abc import Callable

from PIL import Image


def file(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    """A file as a picture."""
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def photo(width: int = 64, height: int = 64) -> Image.Image:
    """A picture whose left half is red and whose right half is blue, its top row white."""
    picture = Image.new("RGB", (width, height), (200, 0, 0))
    picture.paste((0, 0, 200), (width // 2, 0, width, height))
    picture.paste((255, 255, 255), (0, 0, width, max(1, height // 8)))
    return picture


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, *chunks: bytes, pixels: bytes = b"") -> bytes:
    """A PNG of RGB pixels that says it has a size, with chunks between its header and its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b"")])


def zeros(length: int) -> bytes:
    """So many zeros, compressed a thousandfold."""
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    packed = [packer.compress(block) for _ in range(length >> 20)]
    return b"".join([*packed, packer.compress(bytes(length % (1 << 20))), packer.flush()])


def gif_of(frames: int) -> bytes:
    """An animated GIF of one pixel a frame."""
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\x02\x02\x44\x01\0"
    return b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + frame * frames + b";"


def hostile() -> dict[str, tuple[Callable[[], bytes], str]]:
    """What makes files that are refused, some of which are large, by what they are; each with words of the refusal."""
    good = file(photo())
    jpeg = file(photo(), "JPEG")
    webp = file(photo(), "WEBP")
    frames = [photo(8, 8), photo(8, 8).transpose(Image.Transpose.ROTATE_180)]
    svg = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
    return {
        "30,000 x 30,000": (lambda: png_of(30_000, 30_000, pixels=zeros(90_030_000)), "30000x30000"),
        "a bomb within its size": (lambda: png_of(64, 64, pixels=b"\x78\x9c" + bytes(100)), "cannot be decoded"),
        "a bomb of a JPEG": (lambda: _resized_jpeg(jpeg, 65_000), "65000x65000"),
        "a GIF of 100,000 frames": (lambda: gif_of(100_000), "is a GIF"),
        "an SVG": (lambda: svg, "SVG"),
        "a PNG cut off": (lambda: good[: len(good) // 2], "cut off"),
        "a PNG without its end": (lambda: good[:-12], "cut off"),
        "a JPEG cut off": (lambda: jpeg[: len(jpeg) // 2], "cut off"),
        "a WebP cut off": (lambda: webp[: len(webp) // 2], "cut off"),
        "a PNG with a page behind it": (lambda: good + b"<html><script>1</script>", "after the end"),
        "a PNG with a ZIP behind it": (lambda: good + b"PK\3\4" + bytes(40), "after the end"),
        "a JPEG with a ZIP behind it": (lambda: jpeg + b"PK\3\4" + bytes(40), "after the end"),
        "a WebP with a ZIP behind it": (lambda: webp + b"PK\3\4" + bytes(40), "after the end"),
        "a page before a PNG": (lambda: b"<html>" + good, "is not a PNG"),
        "an animated PNG": (lambda: file(frames[0], save_all=True, append_images=frames[1:]), "animated"),
        "an animated WebP": (lambda: file(frames[0], "WEBP", save_all=True, append_images=frames[1:]), "animated"),
        "a text chunk of 50 MB": (lambda: png_of(8, 8, chunk(b"tEXt", b"a\0" + b"x" * 50_000_000)), "tEXt"),
        "no pixels": (lambda: png_of(0, 8, pixels=zlib.compress(b"")), "no pixels"),
        "another size inside": (lambda: _two_headers(good), "two headers"),
        "a broken check value": (lambda: good.replace(b"IDAT", b"IDAT\1", 1)[:-1], "cut off"),
        "nothing": (lambda: b"", "is not a PNG"),
        "a PDF": (lambda: b"%PDF-1.7\n", "a PDF"),
        "a TIFF": (lambda: file(photo(), "TIFF"), "a TIFF"),
        "a BMP": (lambda: file(photo(), "BMP"), "a BMP"),
    }


def _two_headers(good: bytes) -> bytes:
    header = good[8:33]
    return good[:33] + header + good[33:]


def _resized_jpeg(jpeg: bytes, side: int) -> bytes:
    """A JPEG that says it has another size."""
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 5] + struct.pack(">HH", side, side) + jpeg[at + 9 :]
