"""`/chat/completions` but for making one: list, look at, label and delete those that are stored."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from freehold.api.body import parse
from freehold.api.reply import Call, Handler, Reply
from freehold.errors import InvalidRequest
from freehold.store.kept_items import Page
from freehold.types.stored_completions import CompletionFilter, MetadataUpdate

_MOST: Final = 100
_DEFAULT: Final = "20"
_PAIR = re.compile(r"metadata\[(.*)\]", re.DOTALL)


async def list_completions(call: Call) -> Reply:
    """The stored completions that are there for the caller, page by page."""
    return await _list(call, call.query.get("model"))


async def list_deployment_completions(call: Call) -> Reply:
    """Those that the deployment in the path made, by its name or an alias, which goes before `model`.

    Microsoft's client asks there if it was made for a deployment.
    """
    return await _list(call, call.gateway.model(call.principal, call.path["deployment"]).name)


async def retrieve_completion(call: Call) -> Reply:
    """One stored completion."""
    return await call.gateway.completions.get(call.principal, call.path["completion_id"])


async def update_completion(call: Call) -> Reply:
    """Replace the metadata of a stored completion."""
    request = parse(MetadataUpdate, call.body)
    return await call.gateway.completions.update(call.principal, call.path["completion_id"], request.metadata or {})


async def delete_completion(call: Call) -> Reply:
    """Remove a stored completion."""
    completion_id = call.path["completion_id"]
    await call.gateway.completions.delete(call.principal, completion_id)
    return {"object": "chat.completion.deleted", "id": completion_id, "deleted": True}


async def list_messages(call: Call) -> Reply:
    """The messages that a stored completion answers, page by page."""
    completion_id = call.path["completion_id"]
    found, more = await call.gateway.completions.messages(call.principal, completion_id, _page(call.query))
    return _listed(found, more=more)


OPERATIONS: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("GET", "chat/completions", list_completions),
    ("GET", "chat/completions/{completion_id}", retrieve_completion),
    ("POST", "chat/completions/{completion_id}", update_completion),
    ("DELETE", "chat/completions/{completion_id}", delete_completion),
    ("GET", "chat/completions/{completion_id}/messages", list_messages),
)
"""Method, path and handler of each."""


async def _list(call: Call, model: str | None) -> Reply:
    wanted = CompletionFilter(model, _pairs(call.query_items))
    found, more = await call.gateway.completions.page(call.principal, wanted, _page(call.query))
    return _listed(found, more=more)


def _listed(data: Sequence[Mapping[str, Any]], *, more: bool) -> dict[str, Any]:
    ends = {"first_id": data[0]["id"] if data else "", "last_id": data[-1]["id"] if data else ""}
    return {"object": "list", "data": data, **ends, "has_more": more}


def _page(query: Mapping[str, str]) -> Page:
    """Which part of a list is asked for.

    Raises:
        InvalidRequest: a value is not one that it may have.
    """
    limit, order = query.get("limit", _DEFAULT), query.get("order", "asc")
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= _MOST):
        raise InvalidRequest(f"'limit' must be a number from 1 to {_MOST}.", param="limit")
    if order not in {"asc", "desc"}:
        raise InvalidRequest("'order' must be 'asc' or 'desc'.", param="order")
    return Page(int(limit), order == "desc", query.get("after"))


def _pairs(items: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The metadata that is asked for, `metadata[key]=value` for each pair.

    Raises:
        InvalidRequest: it is written in another way, names a key twice, or is no metadata.
    """
    pairs: dict[str, str] = {}
    for name, value in items:
        if name.partition("[")[0] != "metadata":
            continue
        named = _PAIR.fullmatch(name)
        if named is None:
            raise InvalidRequest("Write 'metadata[key]=value' for each pair.", param="metadata")
        if named[1] in pairs:
            raise InvalidRequest(f"'metadata' names the key '{named[1][:64]}' twice.", param="metadata")
        pairs[named[1]] = value
    return dict(parse(MetadataUpdate, {"metadata": pairs}).metadata or {})
