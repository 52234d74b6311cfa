"""Chat completions that callers have stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from freehold.types.base import RequestModel
from freehold.types.chat import Metadata


class MetadataUpdate(RequestModel):
    """What can be changed of a stored completion; null and no pairs are the same."""

    metadata: Metadata | None


@dataclass(frozen=True, slots=True)
class CompletionFilter:
    """Which stored completions are listed.

    Args:
        model: only those that it made; None for all.
        metadata: only those that have all of these pairs.
    """

    model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
