"""The body of `POST /completions`, as in OpenAI's specification (`CreateCompletionRequest`)."""

from typing import Annotated, TypeAlias

from pydantic import Field, model_validator

from freehold.types.base import RequestModel
from freehold.types.chat import LogitBias, Stop, StreamOptions

TokenId: TypeAlias = Annotated[int, Field(ge=0, lt=2**31)]
Tokens: TypeAlias = Annotated[list[TokenId], Field(min_length=1)]
Prompt: TypeAlias = str | Tokens
Prompts: TypeAlias = (
    Prompt
    | Annotated[list[str], Field(min_length=1, max_length=2048)]
    | Annotated[list[Tokens], Field(min_length=1, max_length=2048)]
)


class CompletionRequest(RequestModel):
    """One text completion to make, for one prompt or several, each as text or as token ids."""

    model: Annotated[str, Field(min_length=1)]
    prompt: Prompts | None = None
    suffix: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    best_of: Annotated[int, Field(ge=1, le=20)] | None = None
    echo: bool | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    stop: Stop | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    logit_bias: LogitBias | None = None
    user: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "CompletionRequest":
        """Hold what the specification says about parameters that depend on each other."""
        if self.best_of is not None and self.best_of < (self.n or 1):
            raise ValueError("best_of: must be at least 'n'")
        if self.best_of is not None and self.best_of > (self.n or 1) and self.stream:
            raise ValueError("best_of: cannot be streamed; set 'stream' to false")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: is only allowed when 'stream' is true")
        return self

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts, one by one; without any, the end-of-text token that the specification names."""
        match self.prompt:
            case None:
                return ["<|endoftext|>"]
            case str():
                return [self.prompt]
            case [int(), *_]:
                return [self.prompt]  # type: ignore[list-item]  # the pattern has told a token array
            case _:
                return list(self.prompt)  # type: ignore[arg-type]
