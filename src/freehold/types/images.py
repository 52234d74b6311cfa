"""Pictures: the bodies of `/images/…` as in OpenAI's specification, what an engine is asked, and what it produces.

The engine's side has one grammar, as `freehold.types.generation` has for text: for each of `n` pictures zero or more
`PartialPicture`s and one `Picture`, in any interleaving over the pictures, then exactly one `Usage`.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self, TypeAlias

from pydantic import Field, model_validator

from freehold.types.base import RequestModel
from freehold.types.generation import Usage

DEFAULT_MODEL = "dall-e-2"
"""What a request asks for that names no model, as in OpenAI's specification; a deployment may have it as an alias."""
MAX_PICTURES = 10
MAX_PROMPT_CHARACTERS = 32_000
MAX_PARTIALS = 3
MAX_SEED = 2**31 - 1

Quality: TypeAlias = Literal["standard", "hd", "low", "medium", "high", "auto"]
EditQuality: TypeAlias = Literal["standard", "low", "medium", "high", "auto"]
Background: TypeAlias = Literal["transparent", "opaque", "auto"]
OutputFormat: TypeAlias = Literal["png", "jpeg", "webp"]


class PictureOperation(StrEnum):
    """What is made of what."""

    GENERATION = "generation"
    EDIT = "edit"
    VARIATION = "variation"


class Upload(Protocol):
    """A file that a caller sends, read once when it is needed."""

    @property
    def size(self) -> int:
        """Its length in bytes."""

    @property
    def name(self) -> str:
        """What the caller calls it; empty where it has no name."""

    async def read(self) -> bytes:
        """All of it, from its beginning."""

    def pieces(self, size: int) -> AsyncGenerator[bytes]:
        """The same in pieces of `size` bytes, the last one shorter; one piece at a time is in memory."""


class HeldUpload:
    """A file that is in memory.

    Args:
        data: its content.
        name: what it is called.
    """

    def __init__(self, data: bytes, name: str = "") -> None:
        self.name = name
        self._data = data
        self.size = len(data)

    async def read(self) -> bytes:
        """See `Upload.read`."""
        return self._data

    async def pieces(self, size: int) -> AsyncGenerator[bytes]:
        """See `Upload.pieces`."""
        for start in range(0, self.size, size):
            yield self._data[start : start + size]


class ImageRef(RequestModel):
    """A picture by reference, in the JSON form of an edit: exactly one of the two."""

    image_url: Annotated[str, Field(min_length=1)] | None = None
    file_id: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.image_url is None) == (self.file_id is None):
            raise ValueError("image_url: give either 'image_url' or 'file_id'")
        return self


class ImageRequest(RequestModel):
    """What the three operations share. `seed` is Freehold's own: the same seed paints the same picture."""

    operation: ClassVar[PictureOperation]

    model: Annotated[str, Field(min_length=1)] = DEFAULT_MODEL
    n: Annotated[int, Field(ge=1, le=MAX_PICTURES)] | None = None
    size: Annotated[str, Field(pattern=r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$")] | None = None
    response_format: Literal["url", "b64_json"] | None = None
    output_format: OutputFormat | None = None
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    user: str | None = None

    @property
    def count(self) -> int:
        """How many pictures are wanted."""
        return self.n or 1

    @property
    def format(self) -> OutputFormat:
        """The format of the files."""
        return self.output_format or "png"

    @property
    def by_url(self) -> bool:
        """Whether pictures are answered as addresses, which is the default except for models named gpt-image."""
        if self.response_format is None:
            return not self.model.startswith(("gpt-image", "chatgpt-image"))
        return self.response_format == "url"


class PromptedImageRequest(ImageRequest):
    """What generations and edits share."""

    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS)]
    quality: Quality | None = None
    background: Background | None = None
    moderation: Literal["low", "auto"] | None = None
    stream: bool | None = None
    partial_images: Annotated[int, Field(ge=0, le=MAX_PARTIALS)] | None = None

    @property
    def by_url(self) -> bool:
        """Whether pictures are answered as addresses, which a stream never does."""
        return not self.stream and super().by_url


class ImageGenerationRequest(PromptedImageRequest):
    """The body of `POST /images/generations` (`CreateImageRequest`)."""

    operation: ClassVar[PictureOperation] = PictureOperation.GENERATION

    style: Literal["vivid", "natural"] | None = None


class ImageEditRequest(PromptedImageRequest):
    """The body of `POST /images/edits`, less the pictures of its multipart form (`CreateImageEditRequest`)."""

    operation: ClassVar[PictureOperation] = PictureOperation.EDIT

    quality: EditQuality | None = None
    images: Annotated[list[ImageRef], Field(min_length=1, max_length=16)] | None = None
    """Only in the JSON form (`EditImageBodyJsonParam`), as is a `mask` here."""
    mask: ImageRef | None = None
    input_fidelity: Any = None


class ImageVariationRequest(ImageRequest):
    """The body of `POST /images/variations`, less the picture (`CreateImageVariationRequest`)."""

    operation: ClassVar[PictureOperation] = PictureOperation.VARIATION


@dataclass(frozen=True, slots=True)
class PaintRequest:
    """What an engine is asked to paint.

    Args:
        operation: from a text alone, from a text and a picture, or from a picture alone.
        prompt: empty for variations.
        n: how many pictures.
        size: "WIDTHxHEIGHT" in pixels; "auto" only for an engine that told no sizes.
        seed: the picture of index i is painted with seed + i.
        seed_given: whether the caller chose the seed.
        partial_images: how many unfinished states of each picture to show on the way.
        image: for edits and variations: an RGB PNG of that size.
        mask: for edits: a PNG of that size, 8 bits of grey; 255 is to be painted anew, 0 to be kept.
        alpha_mask: the same as endpoints of OpenAI's kind take it: an RGBA PNG, transparent where to paint anew.
        extras: `quality`, `style` and `background`, as far as they are given and the engine declared the feature.
    """

    operation: PictureOperation
    prompt: str
    n: int
    size: str
    seed: int
    seed_given: bool = True
    partial_images: int = 0
    image: bytes | None = field(default=None, repr=False)
    mask: bytes | None = field(default=None, repr=False)
    alpha_mask: bytes | None = field(default=None, repr=False)
    extras: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartialPicture:
    """An unfinished state of the picture `index`; `data` is a PNG where an engine gives it."""

    index: int
    partial_index: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Picture:
    """A finished picture.

    Args:
        index: which of the `n`.
        data: where an engine gives it, a PNG without loss; where a caller gets it, the file.
        seed: with which this picture alone can be painted again; None where the engine has none.
        revised_prompt: what was painted instead of the prompt, where the engine made another of it.
    """

    index: int
    data: bytes = field(repr=False)
    seed: int | None = None
    revised_prompt: str | None = None


PaintEvent: TypeAlias = PartialPicture | Picture | Usage


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What is known of a picture, for whoever marks where it comes from.

    Args:
        request_id: of the request; also names its receipt.
        operation: what was made of what.
        deployment: which served.
        model: the deployment's.
        weights_sha256: digest of the model's file; empty where there is none.
        prompt_digest: the keyed digest that the receipt has.
        seed: of this picture; None where the engine told none, as of an unfinished state.
        created: seconds since the epoch.
        parents: the files that it was made from, as they were uploaded.
        unfinished: of a state on the way to the picture which one, from 0; None for the picture itself.
    """

    request_id: str
    operation: PictureOperation
    deployment: str
    model: str
    weights_sha256: str
    prompt_digest: str
    seed: int | None
    created: int
    parents: tuple[bytes, ...] = field(default=(), repr=False)
    unfinished: int | None = None


def size_text(width: int, height: int) -> str:
    """A size as the API writes it."""
    return f"{width}x{height}"


def size_pixels(size: str) -> tuple[int, int]:
    """Width and height of a size in pixels; `auto` has none.

    Raises:
        ValueError: it is not "WIDTHxHEIGHT".
    """
    width, _, height = size.partition("x")
    return int(width), int(height)
