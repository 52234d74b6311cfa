"""`/conversations`: begin, look at, label, list, copy, share and delete conversations, and the items in them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from freehold.api.body import parse
from freehold.api.reply import Call, Handler, Reply
from freehold.errors import InvalidRequest, UnknownParameter
from freehold.gateway.conversation_sharing import Shared
from freehold.gateway.item_store import Holder
from freehold.store.kept_items import Page
from freehold.types.conversations import (
    INCLUDABLE,
    ConversationChange,
    ConversationQuery,
    ConversationRequest,
    ForkRequest,
    ItemsRequest,
)

_MOST: Final = 100
_MOST_PAIRS: Final = 16
_LONGEST_TEXT: Final = 256
_PAIR = re.compile(r"metadata\[(.{1,64})\]", re.DOTALL)
_INCLUDE = re.compile(r"include(\[[0-9]{0,4}\])?")
_VERSION: Final = "api-version"
"""Of Azure's clients, which send it with everything."""


async def create_conversation(call: Call) -> Reply:
    """Begin a conversation."""
    request = parse(ConversationRequest, call.body)
    items = request.items or []
    call.account.parameters = {"items": len(items)}
    made = await call.gateway.conversations.create(call.principal, request.metadata or {}, items)
    return conversation_object(made)


async def list_conversations(call: Call) -> Reply:
    """The caller's conversations, or those that others share, page by page; this is Freehold's own."""
    listing = await call.gateway.conversations.list(call.principal, _conversations(call.query_items))
    shown = _with_owner if "shared" in call.query else _alone
    return _listed([shown(call, each) for each in listing.found], listing.more, listing.last)


async def fork_conversation(call: Call) -> Reply:
    """Begin a conversation with copies of another's items; this is Freehold's own."""
    request = parse(ForkRequest, call.body)
    made, count = await call.gateway.conversations.fork(
        call.principal, call.path["conversation_id"], request.last, request.labels
    )
    call.account.parameters = {"items": count}
    return conversation_object(made)


async def retrieve_share(call: Call) -> Reply:
    """Whether a conversation is shared; this and the next two are Freehold's own."""
    return _share_object(await call.gateway.sharing.get(call.principal, call.path["conversation_id"]))


async def share_conversation(call: Call) -> Reply:
    """Let colleagues read a conversation."""
    return await _set_shared(call, shared=True)


async def unshare_conversation(call: Call) -> Reply:
    """Let colleagues read a conversation no more."""
    return await _set_shared(call, shared=False)


async def retrieve_conversation(call: Call) -> Reply:
    """One conversation, without its items."""
    return conversation_object(await call.gateway.conversations.get(call.principal, call.path["conversation_id"]))


async def update_conversation(call: Call) -> Reply:
    """Replace the metadata of a conversation."""
    change = parse(ConversationChange, call.body)
    conversation_id, metadata = call.path["conversation_id"], change.metadata or {}
    return conversation_object(await call.gateway.conversations.update(call.principal, conversation_id, metadata))


async def delete_conversation(call: Call) -> Reply:
    """Remove a conversation and its items."""
    conversation_id = call.path["conversation_id"]
    await call.gateway.conversations.delete(call.principal, conversation_id)
    return {"id": conversation_id, "object": "conversation.deleted", "deleted": True}


async def create_items(call: Call) -> Reply:
    """Add items to a conversation."""
    _only_include(call.query_items)
    request = parse(ItemsRequest, call.body)
    call.account.parameters = {"items": len(request.items)}
    made = await call.gateway.conversations.add_items(call.principal, call.path["conversation_id"], request.items)
    return _listed(made, more=False)


async def list_items(call: Call) -> Reply:
    """The items of a conversation, page by page."""
    query = _single(_without_include(call.query_items), {"limit", "order", "after"})
    page = Page(_limit(query), _newest_first(query), query.get("after"))
    found, more = await call.gateway.conversations.list_items(call.principal, call.path["conversation_id"], page)
    return _listed(found, more)


async def retrieve_item(call: Call) -> Reply:
    """One item of a conversation."""
    _only_include(call.query_items)
    path = call.path
    return await call.gateway.conversations.get_item(call.principal, path["conversation_id"], path["item_id"])


async def delete_item(call: Call) -> Reply:
    """Remove an item from a conversation; the answer is the conversation."""
    path = call.path
    left = await call.gateway.conversations.delete_item(call.principal, path["conversation_id"], path["item_id"])
    return conversation_object(left)


OPERATIONS: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("POST", "conversations", create_conversation),
    ("GET", "conversations", list_conversations),
    ("GET", "conversations/{conversation_id}", retrieve_conversation),
    ("POST", "conversations/{conversation_id}", update_conversation),
    ("DELETE", "conversations/{conversation_id}", delete_conversation),
    ("POST", "conversations/{conversation_id}/fork", fork_conversation),
    ("GET", "conversations/{conversation_id}/share", retrieve_share),
    ("POST", "conversations/{conversation_id}/share", share_conversation),
    ("DELETE", "conversations/{conversation_id}/share", unshare_conversation),
    ("POST", "conversations/{conversation_id}/items", create_items),
    ("GET", "conversations/{conversation_id}/items", list_items),
    ("GET", "conversations/{conversation_id}/items/{item_id}", retrieve_item),
    ("DELETE", "conversations/{conversation_id}/items/{item_id}", delete_item),
)
"""Method, path and handler of each."""


def conversation_object(holder: Holder) -> dict[str, Any]:
    """A conversation as OpenAI writes it."""
    return {
        "id": holder.id,
        "object": "conversation",
        "created_at": holder.row.created_at,
        "metadata": holder.header["metadata"],
    }


def _alone(_call: Call, holder: Holder) -> dict[str, Any]:
    return conversation_object(holder)


def _with_owner(call: Call, holder: Holder) -> dict[str, Any]:
    """A conversation in a list for which was asked with `shared`: also whether it is, and whose it is."""
    owner = {"id": holder.row.owner_id, "name": call.gateway.sharing.owner_name(holder)}
    return {**conversation_object(holder), "shared": holder.row.more["shared"], "owner": owner}


async def _set_shared(call: Call, *, shared: bool) -> Reply:
    conversation_id, request_id = call.path["conversation_id"], call.account.request_id
    return _share_object(await call.gateway.sharing.set(call.principal, conversation_id, request_id, shared=shared))


def _share_object(found: Shared) -> dict[str, Any]:
    return {
        "object": "conversation.share",
        "conversation_id": found.holder.id,
        "shared": found.shared,
        "mine": found.mine,
        "owner": {"id": found.holder.row.owner_id, "name": found.owner_name},
    }


def _listed(data: Sequence[Mapping[str, Any]], more: bool, last: str | None = None) -> dict[str, Any]:
    """A page; `last`, where it is given, is the id to go on after."""
    ends = {"first_id": data[0]["id"] if data else "", "last_id": last or (data[-1]["id"] if data else "")}
    return {"object": "list", "data": data, **ends, "has_more": more}


def _conversations(items: Sequence[tuple[str, str]]) -> ConversationQuery:
    """Which conversations are asked for.

    Raises:
        InvalidRequest: a value is not one that it may have, or a name stands twice.
    """
    pairs = {name: match[1] for name, _ in items if (match := _PAIR.fullmatch(name))}
    if len(pairs) > _MOST_PAIRS:
        raise InvalidRequest(f"'metadata' can have at most {_MOST_PAIRS} pairs.", param="metadata")
    query = _single(items, {"limit", "order", "after", "query", "shared", *pairs})
    metadata = {key: query[name] for name, key in pairs.items()}
    text = query.get("query")
    if text is not None and not 1 <= len(text) <= _LONGEST_TEXT:
        raise InvalidRequest(f"'query' must be a text of 1 to {_LONGEST_TEXT} characters.", param="query")
    if query.get("shared", "true") not in {"true", "false"}:
        raise InvalidRequest("'shared' must be 'true' or 'false'.", param="shared")
    shared = query.get("shared") == "true"
    return ConversationQuery(_limit(query), _newest_first(query), query.get("after"), metadata, text or "", shared)


def _without_include(items: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Query parameters but for `include`, which clients write in several ways.

    Raises:
        InvalidRequest: `include` names what there is not.
    """
    for name, value in items:
        if _INCLUDE.fullmatch(name) and value not in INCLUDABLE:
            known = ", ".join(f"'{each}'" for each in INCLUDABLE)
            raise InvalidRequest(f"'include' cannot be '{value[:64]}'; it can be {known}.", param="include")
    return [(name, value) for name, value in items if not _INCLUDE.fullmatch(name)]


def _only_include(items: Sequence[tuple[str, str]]) -> None:
    """Return if there is no other query parameter.

    Raises:
        InvalidRequest: there is, or `include` names what there is not.
    """
    _single(_without_include(items), set())


def _single(items: Sequence[tuple[str, str]], known: set[str]) -> dict[str, str]:
    """Query parameters by their names, each there at most once.

    Raises:
        UnknownParameter: the operation has no such parameter.
        InvalidRequest: one stands twice.
    """
    found: dict[str, str] = {}
    for name, value in items:
        if name == _VERSION:
            continue
        if name not in known:
            raise UnknownParameter(f"Unknown parameter: '{name[:64]}'.", param=name[:64])
        if found.setdefault(name, value) != value:
            raise InvalidRequest(f"'{name[:80]}' stands twice, with different values.", param=name[:80])
    return found


def _limit(query: Mapping[str, str]) -> int:
    limit = query.get("limit", "20")
    if not (limit.isascii() and limit.isdecimal()) or not 1 <= int(limit[:9]) <= _MOST:
        raise InvalidRequest(f"'limit' must be a number from 1 to {_MOST}.", param="limit")
    return int(limit)


def _newest_first(query: Mapping[str, str]) -> bool:
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise InvalidRequest("'order' must be 'asc' or 'desc'.", param="order")
    return order == "desc"
