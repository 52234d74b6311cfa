"""What one process of a pre-training is told. Needs no torch: who starts the process uses it too."""

from typing import Annotated, Literal

from pydantic import Field

from freehold.training.language.recipes import LanguageRecipe
from freehold.types.base import SettingsModel

DeviceKind = Literal["auto", "cpu", "cuda"]


class Task(SettingsModel):
    """A process's part of a training."""

    recipe: LanguageRecipe
    data: str
    """The folder of the token shards."""
    out: str
    """The folder for checkpoints and logs, which all processes see."""
    device: DeviceKind = "auto"
    """"auto": a GPU if there is one."""
    rank: Annotated[int, Field(ge=0)] = 0
    """Which of the processes it is."""
    local_rank: Annotated[int, Field(ge=0)] = 0
    """Which of those on its machine."""
    world: Annotated[int, Field(ge=1)] = 1
    """How many there are."""
    rendezvous: str = ""
    """Where they find each other."""
    price_per_hour: Annotated[float, Field(ge=0)] | None = None
    """Of one device, for the log."""
