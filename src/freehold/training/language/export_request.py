"""What is to be exported of a training. Needs no torch: who starts the process uses it too."""

from typing import Annotated, Literal

from pydantic import Field

from freehold.types.base import SettingsModel

Dtype = Literal["float32", "bfloat16", "float16"]
Weights = Literal["auto", "averaged", "trained"]


class ExportRequest(SettingsModel):
    """A model to write."""

    run: str
    """The folder of the training."""
    out: str
    """The folder to write."""
    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """What the model is called in its card."""
    step: Annotated[int, Field(ge=1)] | None = None
    """The checkpoint; without it the newest that is whole."""
    weights: Weights = "auto"
    """As they were trained, or their running mean; "auto": the mean if there is one, since that was evaluated."""
    dtype: Dtype = "float32"
    licence: Annotated[str, Field(max_length=256)] = ""
