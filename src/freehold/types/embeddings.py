"""The body of `POST /embeddings`, as in OpenAI's specification (`CreateEmbeddingRequest`)."""

from typing import Annotated, Any, Literal

from pydantic import Field

from freehold.types.base import RequestModel
from freehold.types.completions import Prompt, Tokens


class EmbeddingRequest(RequestModel):
    """Texts, or token arrays, to turn into vectors of unit length."""

    model: Annotated[str, Field(min_length=1)]
    input: (
        Annotated[str, Field(min_length=1)]
        | Tokens
        | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=2048)]
        | Annotated[list[Tokens], Field(min_length=1, max_length=2048)]
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: str | None = None
    input_type: Any = None

    @property
    def inputs(self) -> list[Prompt]:
        """The inputs, one by one."""
        match self.input:
            case str():
                return [self.input]
            case [int(), *_]:
                return [self.input]  # type: ignore[list-item]  # the pattern has told a token array
            case _:
                return list(self.input)  # type: ignore[arg-type]
