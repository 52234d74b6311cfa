"""What came before a response: the responses that it follows, or the conversation that it belongs to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from freehold.errors import InvalidRequest, NotFound
from freehold.gateway.conversations import Conversations
from freehold.gateway.item_store import Holder, Item
from freehold.gateway.items import kept, message, named_anew
from freehold.gateway.response_draft import OPEN
from freehold.gateway.response_store import ResponseStore
from freehold.governance.authorization import require
from freehold.store.kept_items import Page
from freehold.types.identity import Action, Principal
from freehold.types.items import ItemReference
from freehold.types.responses import ResponseRequest

MAX_BYTES: Final = 8 * 1024 * 1024
"""Of what came before, as JSON. No model here reads as much."""
MAX_CHAIN: Final = 1000
"""Of responses that follow each other."""
PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Thread:
    """What a response goes on with.

    Args:
        items: in their order.
        conversation: that the response belongs to.
    """

    items: Sequence[Item] = ()
    conversation: Holder | None = None


class Threads:
    """Finds what came before, and lets conversations grow.

    Args:
        responses: where responses lie.
        conversations: where conversations lie.
        being_made: whether a response of that id is being made now.
    """

    def __init__(
        self, responses: ResponseStore, conversations: Conversations, being_made: Callable[[str], bool]
    ) -> None:
        self._responses = responses
        self._conversations = conversations
        self._being_made = being_made

    async def before(self, principal: Principal, request: ResponseRequest) -> Thread:
        """What the request wants to go on with.

        Raises:
            NotFound: there is no such conversation.
            InvalidRequest: there is no such response, or more than can be read.
            Forbidden: the caller may not read it.
        """
        if request.conversation_id is not None:
            return await self._conversation(principal, request, request.conversation_id)
        if request.previous_response_id is not None:
            return Thread(await self._chain(principal, request, request.previous_response_id))
        return Thread()

    async def given(self, principal: Principal, request: ResponseRequest, before: Sequence[Item] = ()) -> list[Item]:
        """The request's own input, as it is kept.

        Args:
            principal: who asks.
            request: what is asked.
            before: what the response goes on with.

        Raises:
            NotFound: there is no item that it refers to.
            InvalidRequest: an item is there twice, or came before; what it refers to is too large.
            Forbidden: the caller may not read it.
        """
        if request.input is None or isinstance(request.input, str):
            return [message(request.input)] if request.input else []
        seen = {item["id"] for item in before}
        found: list[Item] = []
        size = 0
        for place, given in enumerate(request.input):
            param = f"input[{place}]"
            item = await self._found(principal, given, param) if isinstance(given, ItemReference) else kept(given)
            if item["id"] in seen:
                raise InvalidRequest(
                    f"The item '{item['id'][:64]}' is there twice. Leave out of 'input' what came before.",
                    param=param,
                )
            seen.add(item["id"])
            if isinstance(given, ItemReference):
                size += len(orjson.dumps(item))
                item = named_anew(dict(item))
            if size > MAX_BYTES:
                raise InvalidRequest(
                    f"The items that 'input' refers to are larger than {MAX_BYTES} bytes together.",
                    param="input",
                    code="context_length_exceeded",
                )
            found.append(item)
        return found

    async def grown(self, principal: Principal, thread: Thread, items: Sequence[Item]) -> None:
        """Add what was said to the conversation, if there is one still."""
        if thread.conversation is not None:
            await self._conversations.append(principal, thread.conversation, items)

    async def _conversation(self, principal: Principal, request: ResponseRequest, conversation_id: str) -> Thread:
        holder = await self._conversations.context(principal, conversation_id)
        items: list[dict[str, Any]] = []
        size, more, after = 0, True, None
        while more:
            page, more = await self._conversations.page(holder, Page(PAGE, newest_first=True, after=after))
            for item in page:
                size += len(orjson.dumps(item))
                if size > MAX_BYTES:
                    return Thread(_cut(request, items[::-1], "conversation"), holder)
                items.append(item)
            after = page[-1]["id"] if page else None
        return Thread(items[::-1], holder)

    async def _chain(self, principal: Principal, request: ResponseRequest, response_id: str) -> Sequence[Item]:
        links: list[list[dict[str, Any]]] = []
        size, name = 0, response_id
        for _ in range(MAX_CHAIN):
            holder = await self._link(principal, name)
            if holder is None and links and request.truncation == "auto":
                break
            if holder is None:
                raise _lost(name, first=not links)
            items = await self._responses.items(holder)
            size += sum(len(orjson.dumps(item)) for item in items)
            if size > MAX_BYTES:
                break
            links.append(items)
            before: str | None = holder.header["response"]["previous_response_id"]
            if before is None:
                return [item for link in reversed(links) for item in link]
            name = before
        return _cut(request, [item for link in reversed(links) for item in link], "previous_response_id")

    async def _link(self, principal: Principal, response_id: str) -> Holder | None:
        """A response that came before; None where it is not there."""
        param = "previous_response_id"
        require(principal, Action.READ_CONVERSATIONS, f"responses/{response_id[:64]}")
        holder = await self._responses.store.get(principal, response_id)
        if holder is None:
            return None
        made_here = holder.row.more["status"] in OPEN and self._being_made(holder.id)  # else its end was not written
        if made_here or self._responses.is_made_elsewhere(holder):
            raise InvalidRequest(f"The response '{response_id[:64]}' is still being made.", param=param)
        conversation = holder.header["response"].get("conversation")
        if conversation is not None:
            raise InvalidRequest(
                f"The response '{response_id[:64]}' belongs to the conversation '{conversation['id']}'; go on with "
                "'conversation'.",
                param=param,
            )
        return holder

    async def _found(self, principal: Principal, reference: ItemReference, param: str) -> Item:
        require(principal, Action.READ_CONVERSATIONS, f"items/{reference.id[:64]}")
        for kept_in in (self._responses.store, self._conversations):
            found = await kept_in.find(principal, reference.id)
            if found is not None:
                return found
        raise NotFound(f"Item with id '{reference.id[:64]}' not found.", param=param)


def _lost(response_id: str, *, first: bool) -> InvalidRequest:
    """The error for a response that came before and is not there: the one that was named, or one before it."""
    message = f"Previous response with id '{response_id[:64]}' not found."
    if not first:
        message += " It came before the one that was named; set 'truncation' to 'auto' to go on without it."
    return InvalidRequest(message, param="previous_response_id", code="previous_response_not_found")


def _cut(request: ResponseRequest, items: Sequence[Item], param: str) -> Sequence[Item]:
    """The newest items, where more came before than can be read.

    Raises:
        InvalidRequest: the request wants all of them.
    """
    if request.truncation == "auto":
        return items
    raise InvalidRequest(
        "What came before is too long to be read. Set 'truncation' to 'auto' to go on without the oldest items.",
        param=param,
        code="context_length_exceeded",
    )
