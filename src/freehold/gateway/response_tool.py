"""What every tool has that is carried out here, on the way of a response, and not by the caller."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, ClassVar

from freehold.types.chat import Tool

if TYPE_CHECKING:
    from freehold.gateway.response_writer import StreamEvent, ToolCall, Writer


class ServerTool(ABC):
    """A tool that the model calls and the service carries out."""

    arguments_event: ClassVar[str | None] = None
    """What the events about its arguments are called; None where there are none."""
    counts: ClassVar[bool] = True
    """Whether a call of it is one of those that a response may have."""

    @abstractmethod
    def function(self) -> Tool:
        """What the model is told of it."""

    @abstractmethod
    def item(self) -> dict[str, Any]:
        """A new item for a call of it."""

    def opening(self) -> tuple[str, ...]:
        """The types of the events that say that a call of it has begun."""
        return ()

    @abstractmethod
    def run(self, call: "ToolCall", writer: "Writer") -> "AsyncGenerator[StreamEvent]":
        """Carry a call out: sets what its item says and what the model is told (`call.result`).

        A call that fails says so in its item and to the model; it does not end the response. Where `call.result` is
        None at the end, the model is not asked again: somebody has to decide first.

        Raises (while iterating):
            FreeholdError: the response cannot go on, as when the caller's rights have gone.
        """
