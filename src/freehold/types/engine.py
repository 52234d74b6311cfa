"""What an engine can do, as values that routing and validation read."""

from dataclasses import dataclass
from enum import StrEnum


class Feature(StrEnum):
    """One thing that a request can ask for and an engine may or may not do."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDINGS = "embeddings"
    N = "n"
    """Takes `n` itself; for engines without it the gateway asks n times."""
    SEED = "seed"
    STOP = "stop"
    PENALTIES = "penalties"
    LOGPROBS = "logprobs"
    LOGIT_BIAS = "logit_bias"
    JSON_OBJECT = "json_object"
    JSON_SCHEMA = "json_schema"
    TOOLS = "tools"
    TOKEN_PROMPT = "token_prompt"
    """Takes a prompt or an embedding input as token ids."""
    VISION = "vision"
    SUFFIX = "suffix"
    DIMENSIONS = "dimensions"
    """Takes `dimensions` for embeddings: shortens the vector and makes it unit length again."""
    REASONING = "reasoning"


@dataclass(frozen=True, slots=True)
class Traits:
    """What a running engine turned out to be.

    Args:
        features: what it can do.
        context_length: tokens of prompt and completion together that one request may use; None if unknown.
        embedding_dimensions: length of its vectors, for an embedding model.
        fingerprint: names engine version and weights; the `system_fingerprint` of answers.
    """

    features: frozenset[Feature]
    context_length: int | None = None
    embedding_dimensions: int | None = None
    fingerprint: str = ""
