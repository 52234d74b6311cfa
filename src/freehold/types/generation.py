"""What engines produce: a stream of deltas, closed by the usage; or embedding vectors.

One grammar for every engine, chat and text alike: zero or more `Delta`s; for each choice exactly one with a
`finish_reason`, after which that choice has no more; then exactly one `Usage`, the last event.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from freehold.types.values import value_class
from freehold.types.verdict import Verdict

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]


@value_class
class TopLogprob:
    """One of the likeliest tokens at a position; `bytes` are its UTF-8 bytes where the engine knows them."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None


@value_class
class TokenLogprob:
    """A produced token, its natural-log probability and the alternatives at its position."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top: tuple[TopLogprob, ...] = ()


@value_class
class ToolCallDelta:
    """A piece of a tool call: the first piece of each `index` has `id` and `name`, later ones add arguments."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@value_class
class Delta:
    """A piece of one choice, or several `pieces` that came together; the content filter adds its verdict on it."""

    choice: int = 0
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    verdict: Verdict | None = None
    pieces: int = 1


@value_class
class Usage:
    """Tokens of one request; `estimated` where the engine reported none and they were counted here."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            estimated=self.estimated or other.estimated,
        )


Event: TypeAlias = Delta | Usage


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors in the order of the inputs, each of unit length, and the tokens that were read."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage
