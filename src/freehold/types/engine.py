"""What an engine can do, as values that routing and validation read."""

from collections.abc import Iterable
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
    IMAGES = "images"
    """Paints pictures from a text."""
    IMAGE_EDITS = "image_edits"
    IMAGE_VARIATIONS = "image_variations"
    IMAGE_QUALITY = "image_quality"
    """Takes `quality`; without it only the values that ask for nothing special are accepted."""
    IMAGE_STYLE = "image_style"
    IMAGE_BACKGROUND = "image_background"
    """Paints on a transparent background (`background`)."""


PICTURE_FEATURES = frozenset(
    {
        Feature.IMAGES,
        Feature.IMAGE_EDITS,
        Feature.IMAGE_VARIATIONS,
        Feature.IMAGE_QUALITY,
        Feature.IMAGE_STYLE,
        Feature.IMAGE_BACKGROUND,
    }
)
"""What is of use only for pictures. A model paints or writes: an engine that could do either is told by the
deployment's task which it does (`features_for`)."""


def features_for(task: str, features: Iterable[Feature] = frozenset(Feature)) -> frozenset[Feature]:
    """Of some features those that matter to a task: for `images` those of pictures and seeds, else all others."""
    if task == "images":
        return frozenset(features) & (PICTURE_FEATURES | {Feature.SEED})
    return frozenset(features) - PICTURE_FEATURES


class Tier(StrEnum):
    """How urgent a request is, the most urgent first: who goes first where requests wait, and who is refused last."""

    PRIORITY = "priority"
    DEFAULT = "default"
    FLEX = "flex"


@dataclass(frozen=True, slots=True)
class Traits:
    """What a running engine turned out to be.

    Args:
        features: what it can do.
        context_length: tokens of prompt and completion together that one request may use; None if unknown.
        embedding_dimensions: length of its vectors, for an embedding model.
        fingerprint: names engine version and weights; the `system_fingerprint` of answers.
        parallel: requests that it works on at once, beyond which they had better wait; None if it sets no bound.
        template_sha256: digest of the chat template that it uses, where it is known.
        sizes: of the pictures that it paints, such as "256x256", the one it does best first; empty if it takes any.
    """

    features: frozenset[Feature]
    context_length: int | None = None
    embedding_dimensions: int | None = None
    fingerprint: str = ""
    parallel: int | None = None
    template_sha256: str | None = None
    sizes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineCounters:
    """What an engine process says that it has done since it started.

    Args:
        since: when it started, seconds since the epoch.
        requests: sequences or embedding calls that it finished; None where it does not count them.
        prompt_tokens: tokens that it read, cached ones included.
        completion_tokens: tokens that it made.
        exact: whether that is all that it did for callers, and no more.
    """

    since: float
    requests: int | None
    prompt_tokens: int
    completion_tokens: int
    exact: bool = True
