"""Conversations: what was said, kept by us, so that a caller need not send it again with each request.

A person's are that person's alone, a service account's are its project's: what is not there for the caller is told of
as what never was. What a person shares with colleagues they read, and cannot change. Deleting a conversation deletes
its items.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement
from sqlalchemy.exc import IntegrityError

from freehold.errors import Forbidden, InvalidRequest, NotFound
from freehold.gateway.conversation_search import Search
from freehold.gateway.item_store import Holder, ItemStore
from freehold.gateway.items import kept
from freehold.governance.authorization import require
from freehold.store.kept_items import CONVERSATION_TABLES, HolderRow, Page
from freehold.types.conversations import ConversationQuery
from freehold.types.identity import Action, MemberKind, Principal
from freehold.types.ids import new_id
from freehold.types.items import InputItem, ItemReference

PREFIX: Final = "conv_"
"""What the id of a conversation begins with."""

LOOKED_AT: Final = 1000
"""How many conversations one request looks at, at most, to find those with some metadata: each is decrypted for it."""

MOST_COPIED: Final = 256 * 1024 * 1024
"""Of a conversation, as it is stored: a copy costs its caller nothing, and the disk all of it."""

KeptItems: TypeAlias = list[dict[str, Any]]
"""Items as they are kept and told."""

_BATCH: Final = 100
_INSTEAD: Final = "Send all that was said with each request instead."


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of conversations.

    Args:
        found: the conversations.
        more: whether there may be more behind it.
        last: the id after which the next page begins; None where there is nothing.
    """

    found: Sequence[Holder]
    more: bool
    last: str | None


class Conversations:
    """The conversations of one home.

    Every method may raise Forbidden where the caller may not do it, ContentUnreadable, ProjectKeyRevoked or
    KeyServiceUnavailable where content cannot be encrypted or decrypted, and HomeError where the database cannot be
    used. `NotFound` is the same for what is not there, has expired, is another project's or somebody else's alone;
    Forbidden also says of what changes a conversation that it is somebody else's, who shares it.

    Args:
        store: where they lie.
    """

    def __init__(self, store: ItemStore) -> None:
        self._store = store

    async def create(
        self, principal: Principal, metadata: Mapping[str, str], items: Sequence[InputItem] = ()
    ) -> Holder:
        """Begin a conversation.

        Raises:
            InvalidRequest: an item is a reference to another, or two have the same id.
            ZeroRetention: nothing is kept for the project.
        """
        require(principal, Action.WRITE_CONVERSATIONS, "conversations")
        self._store.check_keeping(principal, "items", _INSTEAD)
        made = _sided(_kept(items))
        try:
            header = {"metadata": dict(metadata)}
            return await self._store.create(principal, new_id(PREFIX), header, made, shared=False)
        except IntegrityError as exc:
            raise _twice() from exc

    async def fork(
        self, principal: Principal, conversation_id: str, last: str | None, metadata: Mapping[str, str] | None
    ) -> tuple[Holder, int]:
        """Begin a conversation of the caller's with copies of another's items, under their ids; and how many.

        Args:
            principal: who asks.
            conversation_id: names the other one, which the caller may read.
            last: the id of the last item that is copied; empty for none, None for all.
            metadata: of the new one; None for those of the other.

        Raises:
            NotFound: there is no conversation of that id.
            InvalidRequest: it has no item `last`; the parameter is `after`.
            ZeroRetention: nothing is kept for the project.
        """
        source = await self.get(principal, conversation_id)
        require(principal, Action.WRITE_CONVERSATIONS, "conversations")
        self._store.check_keeping(principal, "conversation_id", _INSTEAD)
        header = source.header if metadata is None else {"metadata": dict(metadata)}
        if last != "" and (await self._store.sizes([source])).get(source.id, 0) > MOST_COPIED:
            raise InvalidRequest(
                f"This conversation is too large to be copied: over {MOST_COPIED} bytes.", param="conversation_id"
            )
        made = await self._store.copy(principal, source, new_id(PREFIX), header, last, shared=False)
        if made is None:
            raise InvalidRequest(f"There is no item '{(last or '')[:64]}' in this conversation.", param="after")
        if await self._store.get(principal, source.id) is None:  # it went while it was copied, perhaps not wholly
            await self._store.delete(made[0])
            raise absent(conversation_id)
        return made

    async def get(self, principal: Principal, conversation_id: str) -> Holder:
        """One conversation, without its items.

        Raises:
            NotFound: there is none of that id.
        """
        require(principal, Action.READ_CONVERSATIONS, _resource(conversation_id))
        return await self._found(principal, conversation_id)

    async def list(self, principal: Principal, query: ConversationQuery) -> Listing:
        """The caller's conversations in the order of time: a person's own, or those of the project's service accounts.

        Or those that others share. With metadata asked for, at most `LOOKED_AT` conversations are looked at, and with a
        text as many as `Search` allows; where that is not all, there may be more, and the next page begins behind the
        last that was looked at.

        Raises:
            InvalidRequest: `after` is no id of a conversation.
        """
        require(principal, Action.READ_CONVERSATIONS, "conversations")
        if query.after is not None and not query.after.startswith(PREFIX):
            raise InvalidRequest(f"There is no conversation '{query.after[:64]}'.", param="after")
        found: list[Holder] = []
        last, looked = None, 0
        search = Search(self._store, query.text) if query.text else None
        async with aclosing(self._walk(principal, query)) as holders, aclosing(_judged(holders, query, search)) as all_:
            async for holder, fits in all_:
                if looked == LOOKED_AT:
                    return Listing(found, more=True, last=last)
                looked += 1
                if fits:
                    if len(found) == query.limit:
                        return Listing(found, more=True, last=found[-1].id)
                    found.append(holder)
                last = holder.id
        if search is not None and search.is_cut:
            return Listing(found, more=True, last=last)
        return Listing(found, more=False, last=found[-1].id if found else None)

    async def update(self, principal: Principal, conversation_id: str, metadata: Mapping[str, str]) -> Holder:
        """Give a conversation other metadata in the place of those that it has.

        Raises:
            NotFound: there is none of that id.
        """
        holder = await self.owned(principal, conversation_id)
        header = {**holder.header, "metadata": dict(metadata)}
        if not await self._store.update(holder, header):
            raise absent(conversation_id)
        return Holder(holder.row, header)

    async def delete(self, principal: Principal, conversation_id: str) -> None:
        """Remove a conversation with its items.

        Raises:
            NotFound: there is none of that id.
        """
        if not await self._store.delete(await self.owned(principal, conversation_id)):
            raise absent(conversation_id)

    async def add_items(self, principal: Principal, conversation_id: str, items: Sequence[InputItem]) -> KeptItems:
        """Add items behind the last, all of them or none; as they are kept.

        Raises:
            NotFound: there is no conversation of that id.
            InvalidRequest: an item is a reference to another, or its id is in the conversation already.
            ZeroRetention: nothing is kept for the project.
        """
        require(principal, Action.WRITE_CONVERSATIONS, _resource(conversation_id))
        self._store.check_keeping(principal, "items", _INSTEAD)
        holder, made = await self.owned(principal, conversation_id), _kept(items)
        if not await self.append(principal, holder, made):
            raise absent(conversation_id)
        return made

    async def list_items(self, principal: Principal, conversation_id: str, page: Page) -> tuple[KeptItems, bool]:
        """Items of a conversation in the order in which they were added, and whether there are more.

        Raises:
            NotFound: there is no conversation of that id.
            InvalidRequest: the conversation has no item `page.after`.
        """
        return await self._store.items(await self.get(principal, conversation_id), page)

    async def get_item(self, principal: Principal, conversation_id: str, item_id: str) -> dict[str, Any]:
        """One item of a conversation.

        Raises:
            NotFound: there is no conversation of that id, or it has no such item.
        """
        found = await self._store.item(await self.get(principal, conversation_id), item_id)
        if found is None:
            raise _no_item(item_id)
        return found

    async def delete_item(self, principal: Principal, conversation_id: str, item_id: str) -> Holder:
        """Remove one item of a conversation; the conversation.

        Raises:
            NotFound: there is no conversation of that id, or it has no such item.
        """
        holder = await self.owned(principal, conversation_id)
        if not await self._store.remove(holder, item_id):
            raise _no_item(item_id)
        return holder

    async def context(self, principal: Principal, conversation_id: str) -> Holder:
        """The conversation that a response is to go on with, which reads and adds to it.

        Raises:
            NotFound: there is none of that id; its parameter is `conversation`.
        """
        require(principal, Action.READ_CONVERSATIONS, _resource(conversation_id))
        return await self.owned(principal, conversation_id, "conversation")

    async def owned(self, principal: Principal, conversation_id: str, param: str = "conversation_id") -> Holder:
        """A conversation that the caller may change.

        Raises:
            NotFound: there is none of that id.
            Forbidden: it is somebody else's.
        """
        require(principal, Action.WRITE_CONVERSATIONS, _resource(conversation_id))
        holder = await self._found(principal, conversation_id, param)
        if not is_changeable(principal, holder):
            raise Forbidden(
                "This conversation is somebody else's, who shares it for reading. Go on with a copy of your own: "
                f"POST /v1/conversations/{holder.id}/fork.",
                param=param,
            )
        return holder

    async def share(self, holder: Holder, *, shared: bool) -> HolderRow:
        """Have a conversation be read by whoever may read in its project, or no more; as it is stored then.

        Raises:
            NotFound: it is gone.
        """
        if not await self._store.set(holder, shared=shared):
            raise absent(holder.id)
        return replace(holder.row, more={**holder.row.more, "shared": shared})

    async def append(self, principal: Principal, holder: Holder, items: Sequence[Mapping[str, Any]]) -> bool:
        """Add items that have their ids behind the last; false if the conversation is gone.

        Raises:
            InvalidRequest: an id is in the conversation already; none of the items was added.
        """
        try:
            return await self._store.append(principal, holder, _sided(items))
        except IntegrityError as exc:
            raise _twice() from exc

    async def page(self, holder: Holder, page: Page) -> tuple[KeptItems, bool]:
        """Items of a conversation that was found before, and whether there are more."""
        return await self._store.items(holder, page)

    async def find(self, principal: Principal, item_id: str) -> dict[str, Any] | None:
        """An item of any conversation that is there for the caller; None if there is none."""
        return await self._store.find(principal, item_id)

    async def _found(self, principal: Principal, conversation_id: str, param: str = "conversation_id") -> Holder:
        holder = await self._store.get(principal, conversation_id)
        if holder is None:
            raise absent(conversation_id, param)
        return holder

    async def _walk(self, principal: Principal, query: ConversationQuery) -> AsyncGenerator[Holder]:
        """The caller's conversations from `query.after` on, in batches, and one more than are looked at."""
        after, left = query.after, LOOKED_AT + 1
        while True:
            size = min(_BATCH if query.metadata or query.text else query.limit + 1, left)
            page = Page(size, query.newest_first, after)
            conditions = shared_by_others(principal) if query.shared else (owned(principal),)
            holders = await self._store.page(principal, page, *conditions)
            for holder in holders:
                yield holder
            left -= size
            if len(holders) < size or left == 0:
                return
            after = holders[-1].id


async def _judged(
    holders: AsyncGenerator[Holder], query: ConversationQuery, search: Search | None
) -> AsyncGenerator[tuple[Holder, bool]]:
    """Conversations, and whether each is one of those that are asked for."""

    def fits(holder: Holder) -> bool:
        labels: Mapping[str, str] = holder.header["metadata"]
        return query.metadata.items() <= labels.items()

    if search is None:
        async for holder in holders:
            yield holder, fits(holder)
        return
    async with aclosing(search.over(holders, fits)) as found:
        async for told in found:
            yield told


def absent(conversation_id: str, param: str = "conversation_id") -> NotFound:
    """The one answer to a question for a conversation that is not there for the caller."""
    return NotFound(f"Conversation with id '{conversation_id[:64]}' not found.", param=param)


def owned(principal: Principal) -> ColumnElement[bool]:
    """What holds for the rows of a caller's own conversations, beside that he sees them."""
    table = CONVERSATION_TABLES.holders
    if principal.kind is MemberKind.USER:
        return table.c.owner_id == principal.id
    return table.c.private.is_(False)


def shared_by_others(principal: Principal) -> tuple[ColumnElement[bool], ...]:
    """What holds for the rows of conversations that others share with a caller."""
    table = CONVERSATION_TABLES.holders
    return table.c.shared.is_(True), table.c.owner_id != principal.id


def is_changeable(principal: Principal, holder: Holder) -> bool:
    """Whether a conversation that a caller sees is its own, or its project's."""
    return not holder.row.private or holder.row.owner_id == principal.id


def _resource(conversation_id: str) -> str:
    return f"conversations/{conversation_id[:64]}"


def _kept(items: Sequence[InputItem]) -> KeptItems:
    """Items of a request as they are kept."""
    made = []
    for number, item in enumerate(items):
        if isinstance(item, ItemReference):
            raise InvalidRequest(
                "An item cannot be added to a conversation by its id alone ('item_reference'); send the item itself.",
                param=f"items[{number}]",
            )
        made.append(kept(item))
    return made


def _sided(items: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    return [("", item) for item in items]


def _no_item(item_id: str) -> NotFound:
    return NotFound(f"Item with id '{item_id[:64]}' not found.", param="item_id")


def _twice() -> InvalidRequest:
    """Only what asks for approval brings its id along."""
    return InvalidRequest(
        "Two items of type 'mcp_approval_request' would have the same 'id' in this conversation; each needs its own.",
        param="items",
    )
