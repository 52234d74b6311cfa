"""The body of `POST /moderations`, as in OpenAI's specification (`CreateModerationRequest`)."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from freehold.types.base import RequestModel
from freehold.types.chat import TextPart

DEFAULT_MODEL = "omni-moderation-latest"


class ModerationImageURL(RequestModel):
    """Where a picture is."""

    url: str


class ModerationImage(RequestModel):
    """A picture to classify."""

    type: Literal["image_url"]
    image_url: ModerationImageURL


ModerationPart: TypeAlias = Annotated[TextPart | ModerationImage, Field(discriminator="type")]


class ModerationRequest(RequestModel):
    """Texts to classify: one, several, or the parts of one."""

    input: (
        str
        | Annotated[list[str], Field(min_length=1, max_length=2048)]
        | Annotated[list[ModerationPart], Field(min_length=1, max_length=2048)]
    )
    model: Annotated[str, Field(min_length=1)] = DEFAULT_MODEL
