"""Pictures between PNG files and the painter's arrays, and from the size that is painted to the one that is wanted.

Arrays are float32, 3 x height x width, from -1 to 1. What an edit keeps is copied from the upload, byte for byte.
"""

import base64
import io
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from freehold.engines.painter_traits import SIZES

Array: TypeAlias = npt.NDArray[np.float32]
Picture: TypeAlias = Image.Image


class PictureError(ValueError):
    """A picture that cannot be worked on.

    Args:
        message: what is wrong.
        param: the parameter at fault.
    """

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


def size_of(text: object) -> int:
    """The side of one of `SIZES`, in pixels.

    Raises:
        PictureError: it is none of them.
    """
    if text not in SIZES:
        raise PictureError(f"size: must be one of: {', '.join(SIZES)}", "size")
    return int(str(text).partition("x")[0])


def opened(text: object, side: int, *, mode: str, param: str) -> Image.Image:
    """The PNG in a base64 text.

    Raises:
        PictureError: it is none, or not of that size.
    """
    if not isinstance(text, str):
        raise PictureError(f"{param}: a picture is needed", param)
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",))
        if picture.size != (side, side):
            raise PictureError(f"{param}: must have {side} x {side} pixels", param)
        return picture.convert(mode)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as exc:
        if isinstance(exc, PictureError):
            raise
        raise PictureError(f"{param}: is not a PNG file", param) from exc


def shrunk(picture: Image.Image, side: int) -> Array:
    """An RGB picture as an array of a smaller side."""
    small = picture.resize((side, side), Image.Resampling.BOX)
    return np.ascontiguousarray(np.asarray(small, np.float32).transpose(2, 0, 1) / 127.5 - 1)


def shrunk_mask(mask: Image.Image, side: int) -> Array:
    """A mask as an array of a smaller side: a place is painted anew where any of its pixels is."""
    return (np.asarray(mask.resize((side, side), Image.Resampling.BOX), np.float32) > 0).astype(np.float32)


def enlarged(picture: Array, side: int, enlarge: Callable[[Array], Array], *, draft: bool) -> Image.Image:
    """The painter's picture at a size of `SIZES`; a draft takes the quick way for the last part.

    Args:
        picture: as it was painted.
        side: that is wanted.
        enlarge: makes a picture four times as large.
        draft: whether the picture is unfinished.
    """
    large = enlarge(picture)
    if large.shape[1] < side and not draft:
        large = enlarge(large)
    pixels = np.clip(np.rint((large.transpose(1, 2, 0) + 1) * 127.5), 0, 255).astype(np.uint8)
    found = Image.fromarray(pixels)
    return found if found.width == side else found.resize((side, side), Image.Resampling.LANCZOS)


def file_of(picture: Image.Image) -> str:
    """The picture as a PNG file in base64."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=4)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def merged(painted: Image.Image, original: Image.Image, mask: Image.Image) -> Image.Image:
    """The painted picture where the mask is 255, the original where it is 0, a mixture between."""
    return Image.composite(painted, original, mask)
