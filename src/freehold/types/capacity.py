"""Provisioned capacity: units that a deployment is to carry, whose they are, and what work comes to in units.

A unit is an amount of work a minute, the same on every machine: 100 tokens of completions a minute of a deployment that
writes, 1,000 tokens a minute of one that embeds, a picture in ten minutes of one that paints. What else a request
needs, such as its prompt, is weighed against that by what was measured (`freehold.serving.calibrations`).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator

from freehold.types.base import SettingsModel
from freehold.types.values import value_class

UNIT_MINUTE: Final = 60_000_000
"""The work of one unit in a minute, as it is counted; a unit does one of these in a microsecond, so all is whole."""
COMPLETION_TOKENS_PER_UNIT: Final = 100
"""A minute, of a deployment that writes."""
EMBEDDED_TOKENS_PER_UNIT: Final = 1000
"""A minute, of a deployment that embeds."""
PICTURES_PER_UNIT: Final = 0.1
"""A minute, of a deployment that paints."""
MOST_UNITS: Final = 1_000_000

Units = Annotated[int, Field(ge=1, le=MOST_UNITS)]


class CapacitySettings(SettingsModel):
    """Units that a deployment serves with, and what becomes of requests beyond them."""

    units: Units
    project: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """The id of the project whose all of them are; anybody's where it is not given."""
    reserved: dict[str, Units] = Field(default_factory=dict)
    """Project's id → units that are its own. The rest is for everybody, for those projects too."""
    spillover: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """The deployment that takes what goes beyond; without one it is refused."""
    burst_s: Annotated[float, Field(ge=1, le=600)] = 10.0
    """The units' work of so many seconds may be taken at once."""

    @model_validator(mode="after")
    def _shares_no_more_than_there_is(self) -> Self:
        if self.project is not None and self.reserved:
            raise ValueError("give either 'project', whose all units are, or 'reserved'")
        if sum(self.reserved.values()) > self.units:
            raise ValueError(f"reserved: {sum(self.reserved.values())} units are reserved of {self.units}")
        return self

    @property
    def owned(self) -> Mapping[str, int]:
        """Project's id → units that are its own."""
        return {self.project: self.units} if self.project is not None else self.reserved

    @property
    def shared(self) -> int:
        """Units that are everybody's."""
        return self.units - sum(self.owned.values())


@value_class
class Work:
    """What a request needs, or needed; `cached_tokens` are part of the prompt's."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    images: int = 0

    @classmethod
    def of(cls, receipt: Mapping[str, Any]) -> "Work":
        """What a request needed, as its receipt has it; nothing of one that was not served."""
        return cls(
            *(receipt.get(name, 0) for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "images"))
        )


@value_class
class Weights:
    """What one token or picture comes to, in parts of `UNIT_MINUTE`."""

    prompt: int
    cached: int
    completion: int
    image: int

    def amount(self, work: Work) -> int:
        """What work comes to."""
        return (
            (work.prompt_tokens - work.cached_tokens) * self.prompt
            + work.cached_tokens * self.cached
            + work.completion_tokens * self.completion
            + work.images * self.image
        )


_COMPLETION: Final = UNIT_MINUTE // COMPLETION_TOKENS_PER_UNIT
_EMBEDDED: Final = UNIT_MINUTE // EMBEDDED_TOKENS_PER_UNIT

UNMEASURED: Final[Mapping[str, Weights]] = {
    "chat": Weights(_COMPLETION // 4, 0, _COMPLETION, 0),
    "embeddings": Weights(_EMBEDDED, _EMBEDDED, 0, 0),
    "images": Weights(0, 0, 0, round(UNIT_MINUTE / PICTURES_PER_UNIT)),
}
"""Task → weights until they are measured: a token of a prompt a quarter of one of a completion, cached ones nothing."""


def measured_weights(
    task: str, *, prompt_per_s: float, cached_per_s: float | None, completion_per_s: float, images_per_s: float
) -> Weights:
    """Weights by what replicas do in a second of nothing else; 0 for what they do not do.

    A token of a prompt weighs as much of a completion's as can be written in the time in which it is read.
    """
    if task != "chat" or not prompt_per_s or not completion_per_s:
        return UNMEASURED[task]
    prompt = round(_COMPLETION * completion_per_s / prompt_per_s)
    cached = prompt if cached_per_s is None else min(prompt, round(_COMPLETION * completion_per_s / cached_per_s))
    image = round(_COMPLETION * completion_per_s / images_per_s) if images_per_s else 0
    return Weights(prompt, cached, _COMPLETION, image)


def units_of(task: str, *, prompt_per_s: float, completion_per_s: float, images_per_s: float) -> int:
    """How many whole units replicas carry that do so much in a second."""
    match task:
        case "embeddings":
            return int(prompt_per_s * 60 / EMBEDDED_TOKENS_PER_UNIT)
        case "images":
            return int(images_per_s * 60 / PICTURES_PER_UNIT)
        case _:
            return int(completion_per_s * 60 / COMPLETION_TOKENS_PER_UNIT)
