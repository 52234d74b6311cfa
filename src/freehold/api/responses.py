"""`/responses`: make, look at, follow, cancel and delete responses."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final, get_args

from freehold.api.body import parse
from freehold.api.paging import page_of
from freehold.api.rendering import padding
from freehold.api.reply import Call, EventStream, Handler, Reply
from freehold.errors import FreeholdError, InvalidRequest, UnsupportedParameter
from freehold.gateway.response_writer import StreamEvent
from freehold.types.responses import Include, ResponseRequest, TokenCountRequest

_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_MOST: Final = 100


async def create_response(call: Call) -> Reply:
    """Make a response: whole, as a stream, or in the background."""
    request = parse(ResponseRequest, call.body)
    call.account.called_by(request.safety_identifier or request.user)
    call.account.metadata = request.metadata
    made = await call.gateway.responses.create(call.principal, request, call.account)
    if made.events is None:
        return made.draft.resource()
    if not request.stream:
        return await _whole(made.events)
    options = request.stream_options
    follower = _Follower(made.events, -1, padded=options is not None and bool(options.include_obfuscation))

    def failure(error: FreeholdError) -> StreamEvent:
        return made.failure(error) or follower.failure(error)

    return EventStream(follower.events(), _ends, failure, made.close)


async def count_input_tokens(call: Call) -> Reply:
    """How many tokens a model would read."""
    if parse(TokenCountRequest, call.body).personality is not None:
        raise UnsupportedParameter(
            "Unsupported parameter: 'personality': no model has presets of its style; use 'instructions'.",
            param="personality",
        )
    asked = {name: value for name, value in call.body.items() if name != "personality"}
    request = parse(ResponseRequest, {**asked, "store": False})
    tokens = await call.gateway.responses.count_input(call.principal, request, call.account)
    return {"object": "response.input_tokens", "input_tokens": tokens}


async def retrieve_response(call: Call) -> Reply:
    """A response, or its stream from some event on."""
    _check_include(call)
    response_id, query = call.path["response_id"], call.query
    flags = {name: _flag(query, name) for name in ("stream", "include_obfuscation")}
    if not flags["stream"]:
        if "starting_after" in query:
            raise InvalidRequest("'starting_after' needs 'stream' to be true.", param="starting_after")
        return await call.gateway.responses.get(call.principal, response_id)
    after = _after(query.get("starting_after"))
    events = await call.gateway.responses.stream(call.principal, response_id, after)
    follower = _Follower(events, after, padded=flags["include_obfuscation"])
    return EventStream(follower.events(), _ends, follower.failure, events.aclose)


async def list_input_items(call: Call) -> Reply:
    """What a response was asked, page by page."""
    _check_include(call)
    page = page_of(call.query, most=_MOST)
    data, more = await call.gateway.responses.items(call.principal, call.path["response_id"], page)
    ends = {"first_id": data[0]["id"] if data else "", "last_id": data[-1]["id"] if data else ""}
    return {"object": "list", "data": data, **ends, "has_more": more}


async def cancel_response(call: Call) -> Reply:
    """Stop a response in the background."""
    return await call.gateway.responses.cancel(call.principal, call.path["response_id"])


async def delete_response(call: Call) -> Reply:
    """Remove a response."""
    response_id = call.path["response_id"]
    await call.gateway.responses.delete(call.principal, response_id)
    return {"id": response_id, "object": "response", "deleted": True}


OPERATIONS: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("POST", "responses", create_response),
    ("POST", "responses/input_tokens", count_input_tokens),
    ("GET", "responses/{response_id}", retrieve_response),
    ("DELETE", "responses/{response_id}", delete_response),
    ("POST", "responses/{response_id}/cancel", cancel_response),
    ("GET", "responses/{response_id}/input_items", list_input_items),
)
"""Method, path and handler of each."""


class _Follower:
    """Passes events on, and knows the number of the last.

    Args:
        events: to pass on.
        last: the number of the event before them.
        padded: whether pieces of texts get a random length.
    """

    def __init__(self, events: AsyncGenerator[StreamEvent], last: int, *, padded: bool) -> None:
        self._events = events
        self._last = last
        self._padded = padded

    async def events(self) -> AsyncGenerator[StreamEvent]:
        """The events as they are."""
        async with aclosing(self._events) as events:
            async for event in events:
                self._last = event["sequence_number"]
                yield {**event, **padding()} if self._padded and event["type"].endswith(".delta") else event

    def failure(self, error: FreeholdError) -> StreamEvent:
        """The event that says why there are no more here. It has no number of its own: the stream goes on elsewhere."""
        told = {"code": error.code, "message": error.message, "param": error.param}
        return {"type": "error", **told, "sequence_number": self._last}


async def _whole(events: AsyncGenerator[StreamEvent]) -> dict[str, Any]:
    """The response that a stream ends with."""
    found: dict[str, Any] = {}
    async with aclosing(events):
        async for event in events:
            if _ends(event):
                found = event["response"]
    return found


def _ends(event: StreamEvent) -> bool:
    return event["type"] in _ENDS


def _flag(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "false")
    if value not in {"true", "false"}:
        raise InvalidRequest(f"'{name}' must be 'true' or 'false'.", param=name)
    return value == "true"


def _after(text: str | None) -> int:
    """The number of the last event that the caller has seen; -1 for none."""
    if text is None or text == "-1":
        return -1
    if not text.isdecimal() or len(text) > 9:
        raise InvalidRequest("'starting_after' must be the sequence number of an event.", param="starting_after")
    return int(text)


def _check_include(call: Call) -> None:
    """Refuse what cannot be included; everything that can be is told anyway.

    Raises:
        InvalidRequest: names it.
    """
    for name, value in call.query_items:
        if name.removesuffix("[]") == "include" and value not in get_args(Include):
            known = ", ".join(f"'{each}'" for each in get_args(Include))
            raise InvalidRequest(f"'include' cannot be '{value[:64]}'; it can be {known}.", param="include")
