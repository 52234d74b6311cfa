"""What the echo engine paints: simple pictures that are a function of the request alone, so that two runs never differ.

A picture from a text is a handful of ellipses on a plain ground, all chosen by a digest of the text and the seed. A
variation is the picture it was made from with such a pattern shining through; an edit has the pattern where the mask
says so. Pillow is loaded with the first picture: most echo engines never paint one.
"""

import base64
import hashlib
import io
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

SIZES = ("1024x1024", "256x256", "512x512", "1536x1024", "1024x1536", "1792x1024", "1024x1792")
SHAPES = 6
"""Ellipses in a picture."""
SHAPES_BY_QUALITY = {"low": 3, "medium": SHAPES, "high": 12, "hd": 12}
VARIED = 0.3
"""How much of a variation is new."""


def read_request(body: Mapping[str, Any], path: str) -> tuple[str, int, int]:
    """The prompt, the number of pictures and the number of unfinished states of each.

    Raises:
        KeyError, TypeError, ValueError: the request is not as the contract has it.
    """
    prompt = "" if path.endswith("/variations") else str(body["prompt"])
    if body["size"] not in SIZES:
        raise ValueError(f"size: there are {', '.join(SIZES)}")
    int(body["seed"])
    if path.endswith("/edits"):
        _decoded(body, "mask")
    if not path.endswith("/generations"):
        _decoded(body, "image")
    return prompt, int(body["n"]), int(body.get("partial_images") or 0)


def paint(body: Mapping[str, Any], prompt: str, index: int, partials: int) -> Iterator[dict[str, Any]]:
    """The events of one picture: its unfinished states, which have fewer ellipses, and then itself."""
    seed = int(body["seed"]) + index
    for state in range(partials):
        png = _png(_painted(body, prompt, seed, share=(state + 1) / (partials + 1)))
        yield {"type": "image.partial", "index": index, "partial_image_index": state, "b64_json": png}
    yield {"type": "image.completed", "index": index, "b64_json": _png(_painted(body, prompt, seed)), "seed": seed}


def _painted(body: Mapping[str, Any], prompt: str, seed: int, share: float = 1.0) -> "Image":
    """The picture, or as much of its pattern as `share` says."""
    from PIL import Image  # noqa: PLC0415  # most echo engines never paint

    width, height = (int(side) for side in body["size"].split("x"))
    pattern = _pattern(f"{prompt}\n{seed}\n{body.get('style')}", body, (width, height), share)
    if "image" not in body:
        return pattern
    original = _decoded(body, "image").convert("RGB")
    if "mask" in body:
        return Image.composite(pattern.convert("RGB"), original, _decoded(body, "mask").convert("L"))
    return Image.blend(original, pattern.convert("RGB"), VARIED * share)


def _pattern(text: str, body: Mapping[str, Any], size: tuple[int, int], share: float) -> "Image":
    """Ellipses on a ground."""
    from PIL import Image, ImageDraw  # noqa: PLC0415  # as above

    width, height = size
    bright = 255 if body.get("style") == "vivid" else 200
    numbers = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(3 + 7 * max(SHAPES_BY_QUALITY.values()))
    transparent = body.get("background") == "transparent"
    ground = (0, 0, 0, 0) if transparent else (*(value * bright // 255 for value in numbers[:3]), 255)
    picture = Image.new("RGBA", size, ground)
    draw = ImageDraw.Draw(picture)
    for number in range(round(SHAPES_BY_QUALITY.get(str(body.get("quality")), SHAPES) * share)):
        x, y, w, h, *colour = numbers[3 + 7 * number : 10 + 7 * number]
        left, top = x * width // 256, y * height // 256
        box = (left, top, left + 8 + w * width // 512, top + 8 + h * height // 512)
        draw.ellipse(box, fill=(*(value * bright // 255 for value in colour), 255))
    return picture if transparent else picture.convert("RGB")


def _decoded(body: Mapping[str, Any], name: str) -> "Image":
    """A picture of the request, of the size that it names."""
    from PIL import Image  # noqa: PLC0415  # as above

    try:
        picture = Image.open(io.BytesIO(base64.b64decode(body[name], validate=True)), formats=("PNG",))
        picture.load()
    except (OSError, SyntaxError, zlib.error) as exc:
        raise ValueError(f"{name}: is no PNG") from exc
    if "{}x{}".format(*picture.size) != body["size"]:
        raise ValueError(f"{name}: is not of the size {body['size']}")
    return picture


def _png(picture: "Image") -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
