"""Responses as they are kept: the response, what it was asked, what it answered, and the events of its stream."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeAlias

import orjson

from freehold.errors import Conflict, InvalidRequest, NotFound, Unavailable
from freehold.gateway.item_store import Holder, Item, ItemStore
from freehold.gateway.response_draft import OPEN, Draft, interrupted
from freehold.gateway.response_replay import output_of
from freehold.gateway.response_writer import StreamEvent
from freehold.gateway.together import Together
from freehold.store.gateway_rows import GONE_S
from freehold.store.kept_items import HolderRow, Page
from freehold.store.kept_responses import (
    EventsRow,
    ask_to_stop,
    end_interrupted,
    events_from,
    finish_response,
    mark_begun,
    next_number,
    put_events,
    to_stop,
)
from freehold.types.content import Tenant
from freehold.types.identity import Principal

ALL: Final = 1_000_000
"""More items than a response has."""
ROWS: Final = 64
"""Of events, read at a time."""


LOOK_S: Final = 0.25
"""How often the events of a response are looked for that another gateway makes."""
STOP_S: Final = GONE_S + 15
"""For how long it is waited that another gateway stops one: if it is gone, the response has failed by then."""

Again: TypeAlias = Callable[[], Awaitable[Holder]]


class ResponseStore:
    """Keeps responses.

    Args:
        store: where they lie.
    """

    def __init__(self, store: ItemStore) -> None:
        self.store = store
        self._events_of_all = Together(partial(put_events, store.database))

    async def add(self, principal: Principal, draft: Draft, given: Sequence[Item], *, background: bool) -> Holder:
        """Keep a response with what it was asked, and what it has answered so far."""
        items = [("input", item) for item in given] + [("output", item) for item in draft.output]
        header = {"response": draft.resource(output=[])}
        where = self.store.database.gateway
        return await self.store.create(
            principal, draft.id, header, items, status=draft.status, background=background, gateway=where
        )

    async def finish(self, holder: Holder, draft: Draft, last: StreamEvent | None) -> bool:
        """Keep what a response has come to; false if it was deleted meanwhile."""
        row = holder.row
        tenant = Tenant(row.organization_id, row.project_id, row.owner_id)
        header = await self.store.sealed_header(row, {"response": draft.resource(output=[])})
        items = await self.store.sealed(tenant, row, [("output", item) for item in draft.output])
        events = None if last is None else await self._sealed(row, [last])
        values = {"header": header, "status": draft.status}
        return await finish_response(self.store.database, row, values, items, events)

    async def begun(self, holder: Holder) -> None:
        """Let other gateways know, where there are any, that a response is being made."""
        if self.is_shared:
            with suppress(Unavailable):  # then they think that it has not begun
                await mark_begun(self.store.database, holder.id)

    async def to_stop(self, ids: Collection[str]) -> dict[str, bool]:
        """Which responses are not to go on; see `freehold.store.kept_responses.to_stop`."""
        return await to_stop(self.store.database, ids)

    @property
    def is_shared(self) -> bool:
        """Whether other gateways may make responses too."""
        return self.store.database.is_shared

    async def put_events(self, holder: Holder, events: Sequence[StreamEvent]) -> None:
        """Keep events of a response's stream."""
        await self._events_of_all.add((holder.row, await self._sealed(holder.row, events)))

    async def get(self, principal: Principal, response_id: str) -> Holder:
        """A response that is there for the caller.

        Raises:
            NotFound: it is not.
        """
        found = await self.store.get(principal, response_id)
        if found is None:
            raise NotFound(f"Response with id '{response_id[:64]}' not found.", param="response_id")
        return found

    async def resource(self, holder: Holder) -> dict[str, Any]:
        """A response as callers see it that is not being made: one that never came to its end has failed."""
        told: dict[str, Any] = dict(holder.header["response"])
        if self.is_made_elsewhere(holder):
            return told | {"status": holder.row.more["status"], "output": await output_of(self._events(holder, 0))}
        if told["status"] in OPEN:
            return interrupted(told) | {"output": await output_of(self._events(holder, 0))}
        output, _ = await self.store.items(holder, Page(ALL, newest_first=False), side="output", most_bytes=None)
        return {**told, "output": output}

    def is_made_elsewhere(self, holder: Holder) -> bool:
        """Whether another gateway makes a response, as far as the database knows."""
        more = holder.row.more
        return more["status"] in OPEN and more["gateway"] != self.store.database.gateway

    async def stopped(self, holder: Holder, again: Again, *, patience_s: float = STOP_S) -> Holder:
        """A response that is being made nowhere any more: if another gateway makes it, that one is asked to stop.

        Args:
            holder: the response.
            again: reads it again.
            patience_s: for how long it is waited.

        Raises:
            Conflict: it does not, and nobody has found it to be gone.
        """
        if not self.is_made_elsewhere(holder):
            return holder
        await ask_to_stop(self.store.database, holder.id)
        deadline = asyncio.get_running_loop().time() + patience_s
        while self.is_made_elsewhere(holder):
            if asyncio.get_running_loop().time() > deadline:
                raise Conflict(
                    f"The gateway '{holder.row.more['gateway']}' is making this response and has not stopped it yet; "
                    "try again.",
                    retry_after_s=1.0,
                )
            await asyncio.sleep(LOOK_S)
            holder = await again()
        return holder

    async def items(self, holder: Holder) -> list[dict[str, Any]]:
        """All that was asked and answered."""
        found, _ = await self.store.items(holder, Page(ALL, newest_first=False), most_bytes=None)
        return found

    async def check_streamed(self, holder: Holder) -> None:
        """Return if a response has a stream.

        Raises:
            InvalidRequest: it has none.
        """
        if not await next_number(self.store.database, holder.id):
            raise not_streamed()

    async def events(self, holder: Holder, after: int, again: Again) -> AsyncGenerator[StreamEvent]:
        """The events of a response that is not being made here, from the one behind `after` on.

        Args:
            holder: the response.
            after: the number of the last event that the caller has seen.
            again: reads the response again, while another gateway makes it.
        """
        while True:
            elsewhere = self.is_made_elsewhere(holder)
            async for event in self._events(holder, after + 1):
                after = event["sequence_number"]
                yield event
            if not elsewhere:
                break
            await asyncio.sleep(LOOK_S)
            holder = await again()
        end = await next_number(self.store.database, holder.id)
        if holder.header["response"]["status"] in OPEN and end > after:
            yield {"type": "response.failed", "response": await self.resource(holder), "sequence_number": end}

    async def _events(self, holder: Holder, number: int) -> AsyncGenerator[StreamEvent]:
        """The events that are kept, from this number on."""
        while rows := await events_from(self.store.database, holder.id, number, ROWS):
            for row in rows:
                for event in await self._opened(holder.row, row):
                    if event["sequence_number"] >= number:
                        yield event
            number = rows[-1].first + rows[-1].count

    async def end_interrupted(self) -> int:
        """Let responses have failed that were being made when the server ended; how many there were."""
        return await end_interrupted(self.store.database)

    async def _sealed(self, row: HolderRow, events: Sequence[StreamEvent]) -> EventsRow:
        first = events[0]["sequence_number"]
        content = await self.store.seal_part(row, f"events/{first}", orjson.dumps(events))
        return EventsRow(first, len(events), content)

    async def _opened(self, row: HolderRow, events: EventsRow) -> list[StreamEvent]:
        found: list[StreamEvent] = orjson.loads(
            await self.store.open_part(row, f"events/{events.first}", events.content)
        )
        return found


def not_streamed() -> InvalidRequest:
    """The error where there is no stream to go on with."""
    return InvalidRequest(
        "This response has no stream: only one that was created with 'background' and 'stream' set to true does.",
        param="stream",
        code="response_not_streamed",
    )
