"""What a painter's process is asked for, and how pictures come in and go out, for engines that paint one at a time.

Requests are those of `freehold.engines.picture_http`. Such an engine is a `Painter`, of which
`freehold.engines.picture_server` makes a process.
"""

import base64
import io
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from PIL import Image

GENERATIONS, EDITS, VARIATIONS = "generations", "edits", "variations"
FEATURES = {GENERATIONS: "images", EDITS: "image_edits", VARIATIONS: "image_variations"}
"""Operation → the feature that stands for it."""

EDIT_STRENGTH = 0.8
"""How much is changed where a mask is put over image-to-image; a pipeline that takes the mask has its own default."""
VARIATION_STRENGTH = 0.6
"""How far a variation by image-to-image goes away from its picture."""

Emit: TypeAlias = Callable[[Mapping[str, Any]], None]

_SIDES = ((1, 1), (3, 2), (2, 3))
_LARGE = 1024
_LARGE_SIZES = ("1536x1024", "1024x1536")


class UnusableModel(ValueError):
    """The model cannot be served, with the reason for the operator."""


class WrongRequest(ValueError):
    """The request is answered with status 400."""


class Unsafe(Exception):
    """The model's own safety checker has refused the picture."""


class Abandoned(Exception):
    """Nobody waits for the picture any more."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for: see `freehold.engines.picture_http`."""

    operation: str
    prompt: str
    n: int
    size: tuple[int, int]
    seed: int
    partial_images: int
    image: Image.Image | None
    mask: Image.Image | None


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a loaded model can do.

    Args:
        operations: of `FEATURES`.
        sizes: "WxH", the one that it does best first.
        fingerprint: names the weights.
    """

    operations: frozenset[str]
    sizes: tuple[str, ...]
    fingerprint: str

    @property
    def features(self) -> list[str]:
        """The same, as the contract of engines names it."""
        return sorted([*(FEATURES[operation] for operation in self.operations), "seed"])


class Painter(ABC):
    """Paints one picture after the other, in whatever thread calls it."""

    abilities: Abilities

    @abstractmethod
    def paint(self, order: Order, emit: Emit, stop: threading.Event) -> None:
        """Paint all that an order asks for; picture `i` is that of the seed `order.seed + i`, whatever the others are.

        Args:
            order: what is asked for.
            emit: is told each event.
            stop: when it is set the work ends as soon as the engine can.

        Raises:
            Unsafe, Abandoned: as their names say.
        """


def read_order(operation: str, body: Mapping[str, Any], sizes: tuple[str, ...]) -> Order:
    """The order in a request's body.

    Raises:
        WrongRequest: it is not as the contract has it.
    """
    try:
        if body["size"] not in sizes:
            raise WrongRequest(f"size: there are {', '.join(sizes)}")
        width, height = (int(side) for side in body["size"].split("x"))
        image = None if operation == GENERATIONS else _decoded(body["image"], "RGB", (width, height))
        mask = _decoded(body["mask"], "L", (width, height)) if operation == EDITS else None
        prompt = "" if operation == VARIATIONS else str(body["prompt"])
        count, partials = int(body["n"]), int(body.get("partial_images") or 0)
        return Order(operation, prompt, count, (width, height), int(body["seed"]), partials, image, mask)
    except (KeyError, TypeError, AttributeError) as exc:
        raise WrongRequest(f"the request lacks or garbles {exc}") from exc


def _decoded(text: str, mode: str, size: tuple[int, int]) -> Image.Image:
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",)) as picture:
            if picture.size != size:
                raise WrongRequest("a picture has not the size that is asked for")
            return picture.convert(mode)
    except (ValueError, OSError, SyntaxError) as exc:
        raise exc if isinstance(exc, WrongRequest) else WrongRequest("a picture is no PNG") from exc


def encoded(picture: Image.Image) -> str:
    """The picture as a PNG file in base64."""
    out = io.BytesIO()
    picture.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode("ascii")


def finished(order: Order, picture: Image.Image) -> Image.Image:
    """The picture of the size asked for; of an edit, with what is kept as it was, byte for byte."""
    if picture.size != order.size:
        picture = picture.resize(order.size, Image.Resampling.LANCZOS)
    if order.mask is not None and order.image is not None:
        picture = Image.composite(picture, order.image, order.mask)
    return picture


def partial_event(index: int, partial_index: int, picture: Image.Image) -> dict[str, Any]:
    """The event that shows an unfinished state of picture `index`."""
    event = {"type": "image.partial", "index": index, "partial_image_index": partial_index}
    return {**event, "b64_json": encoded(picture)}


def completed_event(order: Order, index: int, picture: Image.Image) -> dict[str, Any]:
    """The event that brings picture `index`."""
    return {"type": "image.completed", "index": index, "b64_json": encoded(picture), "seed": order.seed + index}


def shapes_of(side: int, multiple: int) -> Iterable[str]:
    """Sizes of about the area of a square with that side, in three shapes, whose sides are multiples of a number."""
    shapes = []
    for across, down in _SIDES:
        unit = (side * side / (across * down)) ** 0.5
        width, height = (max(multiple, round(unit * part / multiple) * multiple) for part in (across, down))
        shapes.append(f"{width}x{height}")
    if side >= _LARGE:
        shapes += _LARGE_SIZES
    return dict.fromkeys(shapes)
