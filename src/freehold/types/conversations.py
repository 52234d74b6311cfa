"""Conversations: what callers send to make, change and list them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

from pydantic import Field

from freehold.types.base import RequestModel
from freehold.types.chat import Metadata
from freehold.types.items import InputItem

MOST_ITEMS: Final = 20
"""That one request adds."""

INCLUDABLE: Final = (
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
)
"""What `include` may name. Items are always told whole, so it changes nothing."""


class ConversationRequest(RequestModel):
    """A conversation that is to be made, and its first items."""

    metadata: Metadata | None = None
    items: Annotated[list[InputItem], Field(max_length=MOST_ITEMS)] | None = None


class ConversationChange(RequestModel):
    """What the metadata of a conversation are to be from now on; null is none."""

    metadata: Metadata | None


class ForkRequest(RequestModel):
    """Up to which item a conversation is copied, and the metadata of the copy; null is none of them."""

    after: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    metadata: Metadata | None = None

    @property
    def last(self) -> str | None:
        """The id of the last item that is copied; empty for none, None for all."""
        return (self.after or "") if "after" in self.model_fields_set else None

    @property
    def labels(self) -> dict[str, str] | None:
        """The metadata of the copy; None for those of the conversation."""
        return (self.metadata or {}) if "metadata" in self.model_fields_set else None


class ItemsRequest(RequestModel):
    """Items that are to be added behind the last."""

    items: Annotated[list[InputItem], Field(min_length=1, max_length=MOST_ITEMS)]


@dataclass(frozen=True, slots=True)
class ConversationQuery:
    """Which conversations are listed.

    Args:
        limit: how many at most.
        newest_first: the order.
        after: the id of the last conversation that the caller has seen.
        metadata: only those that have all of these pairs.
        text: only those in which this text is; empty for all.
        shared: those that others share, instead of the caller's.
    """

    limit: int = 20
    newest_first: bool = True
    after: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    shared: bool = False
