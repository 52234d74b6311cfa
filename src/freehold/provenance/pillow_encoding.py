"""Pictures to and from files, with Pillow. Runs in the worker only."""

import io
import warnings

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

MAX_PIXELS = 64 << 20
"""The largest picture that is written, the square of 8192; of a larger one the XMP packet is not looked for."""
PNG_XMP = "XML:com.adobe.xmp"
DEFAULT_QUALITY = 95
"""Of JPEG and WebP, where no compression is asked for; more than this only makes files larger."""
PNG_COMPRESSION = 4
"""Of PNG, which loses nothing at any level: half the time of zlib's usual 6, for a tenth more bytes."""

Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)

FAILURES = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
    OSError,
    SyntaxError,
    ValueError,
    MemoryError,
    OverflowError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
)
"""What Pillow raises on files that are damaged, hostile or too large."""


class UnreadablePicture(ValueError):
    """The bytes are no picture that can be read here."""


def encode(png: bytes, format_name: str, compression: int | None, xmp: bytes) -> bytes:
    """The pixels of a PNG as a file with nothing beside them but the XMP packet.

    Args:
        png: what an engine made; other metadata in it is left behind.
        format_name: `png`, `jpeg` (transparency becomes white) or `webp`.
        compression: the quality of JPEG and WebP from 0 to 100; PNG has none.
        xmp: the packet.

    Raises:
        UnreadablePicture: it is no PNG, or too large.
    """
    picture = _decode(png)
    out = io.BytesIO()
    quality = DEFAULT_QUALITY if compression is None else max(1, min(100, compression))
    match format_name:
        case "png":
            info = PngInfo()
            info.add_itxt(PNG_XMP, xmp.decode())
            picture.save(out, "PNG", pnginfo=info, compress_level=PNG_COMPRESSION)
        case "jpeg":
            _opaque(picture).save(out, "JPEG", quality=quality, xmp=xmp)
        case _:
            picture.save(out, "WEBP", quality=quality, xmp=xmp)
    return out.getvalue()


def identify(data: bytes) -> str:
    """The format of a file by how it begins.

    Raises:
        UnreadablePicture: it is neither PNG, JPEG nor WebP.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    raise UnreadablePicture("it is neither a PNG, a JPEG nor a WebP file")


def xmp_of(data: bytes) -> bytes:
    """The XMP packet of a file; empty if it has none, or cannot be read so far. No pixel is decoded."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
            packet = picture.info.get("xmp") or picture.info.get(PNG_XMP) or b""
    except FAILURES:
        return b""
    return packet.encode() if isinstance(packet, str) else packet


def _decode(png: bytes) -> Image.Image:
    """The pixels alone: RGB, or RGBA where there is transparency."""
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as source:
            source.load()
            alpha = "A" in source.getbands() or "transparency" in source.info
            picture = source.convert("RGBA" if alpha else "RGB")
    except FAILURES as exc:
        raise UnreadablePicture("the engine's picture is no PNG, damaged or too large") from exc
    picture.info.clear()
    return picture


def _opaque(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture.getchannel("A"))
    return white
