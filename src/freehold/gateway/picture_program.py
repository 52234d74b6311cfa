"""The process that decodes uploaded pictures, so that no decoder runs within the gateway.

Run as `python -m freehold.gateway.picture_program MEMORY_BYTES`. It binds its own address space before it loads a
decoder, writes no files, and answers one job after the other until its input ends: on stdin and stdout alike four
bytes of length, so much JSON (a job or its result, with `parts`, the lengths of what follows), and the parts.

An upload is looked at by `picture_headers` before Pillow sees it. Orientation is applied, all metadata goes.
"""

import contextlib
import io
import math
import resource
import struct
import sys
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson

from freehold.gateway.picture_headers import MAX_PIXELS, RefusedPictureError, read_header

if TYPE_CHECKING:
    from PIL.Image import Image

LENGTH = struct.Struct(">I")
FAULTS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What decoders raise at broken files."""
_DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L"})


def sources(job: Mapping[str, Any], upload: bytes, mask: bytes | None) -> tuple[dict[str, Any], list[bytes]]:
    """An upload, and for an edit its mask, as engines take them: PNGs of the size that suits best.

    Of an edit the parts are the picture, the mask in grey and the mask as transparency.

    Args:
        job: `edit`, whether a mask is needed, and `sizes`, pairs to choose from; without any, the upload's own.
        upload: the file.
        mask: the file whose transparent part is to be painted anew. Without it the upload's own transparent part is;
            if it has none, all of it.

    Raises:
        RefusedPictureError: the first word of its text is the name of the file at fault.
    """
    picture = _decoded("image", upload)
    width, height = picture.size
    size = _nearest(picture.size, [(w, h) for w, h in job["sizes"]]) if job["sizes"] else picture.size
    parts = [_png(_fitted(_opaque(picture), size, smooth=True))]
    if job["edit"]:
        shape = picture if mask is None else _decoded("mask", mask)
        if shape.size != (width, height):
            raise RefusedPictureError(f"mask has {shape.width}x{shape.height} pixels, the picture {width}x{height}.")
        if mask is not None and "A" not in shape.getbands():
            raise RefusedPictureError("mask has no transparent part; what is transparent in it is painted anew.")
        repainted = _fitted(_repainted(shape), size, smooth=False)
        parts += [_png(repainted), _png(_cleared(repainted))]
    return {"size": size}, parts


def _decoded(name: str, data: bytes) -> "Image":
    """The upright picture in a file, RGB or RGBA, after everything that can be told without decoding was in order."""
    from PIL import Image, ImageOps  # noqa: PLC0415  # loaded after the memory is bound

    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        header = read_header(data)
    except RefusedPictureError as exc:
        raise RefusedPictureError(f"{name} {exc}") from exc
    try:
        picture = Image.open(io.BytesIO(header.clean), formats=(header.format,))
        return _bare(ImageOps.exif_transpose(picture))
    except FAULTS as exc:
        raise RefusedPictureError(f"{name} cannot be decoded: it is cut off or broken.") from exc
    except MemoryError as exc:
        raise RefusedPictureError(f"{name} needs more memory than a picture may.") from exc


def _bare(picture: "Image") -> "Image":
    """The pixels, RGB or RGBA, and nothing else that the file had."""
    if picture.mode in _DEEP_MODES:
        picture = picture.convert("F").point(lambda value: value / 256).convert("L")
    transparent = "A" in picture.getbands() or "transparency" in picture.info
    bare = picture.convert("RGBA" if transparent else "RGB")
    bare.info.clear()
    return bare


def _nearest(size: tuple[int, int], sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The size whose shape is nearest, and of several whose area is."""

    def distance(candidate: tuple[int, int]) -> tuple[float, float]:
        shape = math.log(candidate[0] * size[1] / (candidate[1] * size[0]))
        area = math.log(candidate[0] * candidate[1] / (size[0] * size[1]))
        return round(abs(shape), 6), abs(area)

    return min(sizes, key=distance)


def _fitted(picture: "Image", size: tuple[int, int], *, smooth: bool) -> "Image":
    """The picture filling the size: scaled, and cut to its middle where the shapes differ."""
    from PIL import Image, ImageOps  # noqa: PLC0415  # loaded after the memory is bound

    if picture.size == size:
        return picture
    return ImageOps.fit(picture, size, Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST)


def _opaque(picture: "Image") -> "Image":
    """The picture on white."""
    from PIL import Image  # noqa: PLC0415  # loaded after the memory is bound

    if "A" not in picture.getbands():
        return picture.convert("RGB")
    ground = Image.new("RGB", picture.size, (255, 255, 255))
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground


def _repainted(shape: "Image") -> "Image":
    """255 where the picture is fully transparent, else 0; 255 all over if it is so nowhere."""
    from PIL import Image  # noqa: PLC0415  # loaded after the memory is bound

    if "A" in shape.getbands() and shape.getchannel("A").getextrema()[0] == 0:
        return shape.getchannel("A").point([255] + [0] * 255)
    return Image.new("L", shape.size, 255)


def _cleared(repainted: "Image") -> "Image":
    """A black picture, transparent where it is to be painted anew."""
    from PIL import Image, ImageOps  # noqa: PLC0415  # loaded after the memory is bound

    picture = Image.new("RGBA", repainted.size, (0, 0, 0, 255))
    picture.putalpha(ImageOps.invert(repainted))
    return picture


def _png(picture: "Image") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def answered(job: Mapping[str, Any], parts: Sequence[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """The result of a job; a file that is refused is told as `refused`. Any other error ends the process."""
    try:
        return sources(job, parts[0], parts[1] if len(parts) > 1 else None)
    except RefusedPictureError as exc:
        return {"refused": str(exc)}, []


def read_message(stream: BinaryIO) -> tuple[dict[str, Any], list[bytes]] | None:
    """The next message; None at the end of the input."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    message = orjson.loads(stream.read(*LENGTH.unpack(head)))
    return message, [stream.read(length) for length in message["parts"]]


def packed(message: Mapping[str, Any], lengths: Sequence[int]) -> bytes:
    """A message as bytes, without its parts, which follow and have these lengths."""
    body = orjson.dumps({**message, "parts": lengths})
    return LENGTH.pack(len(body)) + body


def bind(memory_bytes: int) -> None:
    """Bind what this process may use: address space where the system can, no files, no core dumps."""
    for name, value in (("RLIMIT_AS", memory_bytes), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0)):
        with contextlib.suppress(ValueError, OSError):  # macOS takes no bound of the address space
            resource.setrlimit(getattr(resource, name), (value, value))


def main() -> None:
    """Answer jobs until the input ends."""
    bind(int(sys.argv[1]))
    while (message := read_message(sys.stdin.buffer)) is not None:
        result, parts = answered(*message)
        for piece in (packed(result, [len(part) for part in parts]), *parts):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
