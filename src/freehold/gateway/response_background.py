"""The work on responses in the background: each a task of its own, that counts as a running request."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from freehold.errors import FreeholdError, InternalError, Overloaded
from freehold.gateway.account import Account
from freehold.gateway.flights import Flights
from freehold.gateway.item_store import Holder
from freehold.gateway.response_live import Live, ResponseCancelled
from freehold.gateway.response_run import Accounts, Run
from freehold.gateway.response_store import ResponseStore
from freehold.gateway.response_writer import StreamEvent
from freehold.types.identity import Principal

log = structlog.get_logger(__name__)

MOST: Final = 1000
"""Of responses that are made at the same time."""


@dataclass(frozen=True, slots=True)
class Work:
    """A response to make.

    Args:
        principal: who asks.
        account: of the request that asks.
        run: makes it.
        holder: as it is kept.
        streams: whether its events are kept.
        grow: lets its conversation grow by what was answered.
    """

    principal: Principal
    account: Account
    run: Run
    holder: Holder
    streams: bool
    grow: Callable[[], Awaitable[None]]


class Background:
    """Makes responses.

    Args:
        store: where they lie.
        accounts: of the work on each.
        flights: running requests.
    """

    def __init__(self, store: ResponseStore, accounts: Accounts, flights: Flights) -> None:
        self._store = store
        self._accounts = accounts
        self._flights = flights
        self._live: dict[str, Live] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def check_room(self) -> None:
        """Return if one more response can be made.

        Raises:
            Overloaded: too many are.
        """
        if len(self._live) >= MOST:
            raise Overloaded("Too many responses are being made in the background.", retry_after_s=5)

    def live(self, response_id: str) -> Live | None:
        """A response that is being made; None if it is not."""
        return self._live.get(response_id)

    def start(self, work: Work) -> Live:
        """Begin to make a response."""
        holder = work.holder

        async def write(events: Sequence[StreamEvent]) -> None:
            await self._store.put_events(holder, events)

        live = self._live[holder.id] = Live(work.run.draft, write if work.streams else None)
        for event in work.run.writer.opening():
            live.put(event)
        task = asyncio.create_task(self._make(work, live), name=f"response {holder.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return live

    async def close(self) -> None:
        """Wait until nothing is being made. Running requests were stopped before, so that is soon."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _make(self, work: Work, live: Live) -> None:
        draft, writer = work.run.draft, work.run.writer
        pump = asyncio.create_task(self._pump(work, live))
        last: StreamEvent | None = None
        try:
            try:
                await self._run(work, live)
            except ResponseCancelled:
                draft.cancel()
            except FreeholdError as exc:
                draft.fail(exc)
            except Exception as exc:  # the edge of a task: logged in full, told as a failure
                log.exception("defect", response=work.holder.id)
                draft.fail(_failure(exc))
            writer.cut()
            live.close()
            await pump
            if not live.is_broken:  # else it counts as interrupted: what was told of it has to stay as it was
                end = writer.closing()
                last = end if await self._finish(work, end) else None
        finally:
            try:
                pump.cancel()
                await work.run.close()
            finally:
                self._live.pop(work.holder.id, None)
                await live.end(last if work.streams else None)

    async def _run(self, work: Work, live: Live) -> None:
        """Make the response, as a running request."""
        async with self._accounts.open(work.account, work.holder.id) as account:
            with self._flights.open(work.principal, lambda: account.end_user) as flight:
                live.flies(flight)
                try:
                    await work.run.begin(account)
                    async for event in work.run.events():
                        live.put(event)
                except asyncio.CancelledError:
                    reason = flight.landed()
                    if reason is None:
                        raise
                    raise reason from None
                finally:
                    live.lands()

    async def _pump(self, work: Work, live: Live) -> None:
        """Write events; where that fails, the response does."""
        try:
            await live.pump()
        except FreeholdError as exc:
            live.broken(exc)
        except Exception as exc:  # the edge of a task: logged in full, told as a failure
            log.exception("defect", response=work.holder.id)
            live.broken(_failure(exc))

    async def _finish(self, work: Work, last: StreamEvent | None) -> bool:
        """Keep what became of the response; false where that cannot be done, and it counts as interrupted."""
        try:
            await self._store.finish(work.holder, work.run.draft, last if work.streams else None)
        except FreeholdError as exc:
            log.warning("response_not_kept", response=work.holder.id, reason=exc.message)
            return False
        except Exception:  # as above
            log.exception("defect", response=work.holder.id)
            return False
        try:
            await work.grow()
        except FreeholdError as exc:
            log.warning("conversation_not_grown", response=work.holder.id, reason=exc.message)
        except Exception:  # as above
            log.exception("defect", response=work.holder.id)
        return True


def _failure(exc: Exception) -> InternalError:
    """What callers are told of what should never happen."""
    failure = InternalError("The server had an error while making the response.")
    failure.__cause__ = exc
    return failure
