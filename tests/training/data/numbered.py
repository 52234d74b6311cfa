"""Records that tell their number, in the form of pictures with captions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from freehold.training.data.records import Field

FIELDS = [Field("picture", "uint8", (4, 4, 3)), Field("caption", "int32")]
PURPOSE = {"seed": 7}
PER_SHARD = 10
COUNT = 47


def records(start: int, count: int) -> dict[str, NDArray[Any]]:
    """Records that tell their number."""
    numbers = np.arange(start, start + count)
    pictures = (numbers[:, None] * 48 + np.arange(48)).astype(np.uint8).reshape(-1, 4, 4, 3)
    return {"picture": pictures, "caption": numbers * 1000}
