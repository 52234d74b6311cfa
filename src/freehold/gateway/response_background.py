"""The work on responses in the background: each a task of its own, that counts as a running request."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from freehold.errors import FreeholdError, InternalError, Overloaded
from freehold.gateway.account import Account
from freehold.gateway.flights import Flights
from freehold.gateway.item_store import Holder
from freehold.gateway.response_draft import OPEN
from freehold.gateway.response_live import Live, ResponseCancelled
from freehold.gateway.response_run import Accounts, Run
from freehold.gateway.response_store import ResponseStore
from freehold.gateway.response_writer import StreamEvent
from freehold.types.identity import Principal

log = structlog.get_logger(__name__)

MOST: Final = 1000
"""Of responses that are made at the same time."""
HEED_S: Final = 0.5
"""How often a gateway looks whether others want its responses stopped."""


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
        most: how many responses are made at the same time.
    """

    def __init__(self, store: ResponseStore, accounts: Accounts, flights: Flights, *, most: int = MOST) -> None:
        self._store = store
        self._accounts = accounts
        self._flights = flights
        self._most = most
        self._live: dict[str, Live] = {}
        self._coming = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._heeding: asyncio.Task[None] | None = None

    @contextmanager
    def room(self) -> Iterator[None]:
        """Have room for one more response until it is started in the block.

        Raises:
            Overloaded: too many are being made, or about to be.
        """
        if len(self._live) + self._coming >= self._most:
            raise Overloaded("Too many responses are being made in the background.", retry_after_s=5)
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    def live(self, response_id: str) -> Live | None:
        """A response that is being made; None if it is not."""
        return self._live.get(response_id)

    def live_ids(self) -> frozenset[str]:
        """The responses that are being made."""
        return frozenset(self._live)

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
        if self._store.is_shared and (self._heeding is None or self._heeding.done()):
            self._heeding = asyncio.create_task(self._heed(), name="what others want stopped")
        return live

    async def close(self) -> None:
        """Wait until nothing is being made. Running requests were stopped before, so that is soon."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._heeding is not None:
            self._heeding.cancel()

    async def _heed(self) -> None:
        """Stop what other gateways want stopped, as long as something is being made."""
        failing = False
        while self._live:
            await asyncio.sleep(HEED_S)
            try:
                found = await self._store.to_stop(self._live)
                failing = False
            except FreeholdError as exc:
                if not failing:
                    log.warning("responses_not_heeded", reason=exc.message)
                failing = True
                continue
            for response_id, cancelled in found.items():
                live = self._live.get(response_id)
                if live is None or live.draft.status not in OPEN:
                    continue
                if cancelled:
                    live.cancel()
                else:
                    live.broken(InternalError("Another gateway has let this response fail: it took this one for gone."))

    async def _make(self, work: Work, live: Live) -> None:
        draft, writer = work.run.draft, work.run.writer
        pump = asyncio.create_task(live.pump())
        pump.add_done_callback(partial(_pumped, work, live))
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
            await asyncio.wait({pump})
            if not live.is_broken:  # else it counts as interrupted: what was told of it has to stay as it was
                end = writer.closing()
                if await self._store.finish(work.holder, draft, end if work.streams else None):
                    last = end
                    await work.grow()
        except FreeholdError as exc:  # until the next start of the server says `failed`, whoever asks is told so
            log.warning("response_not_kept", response=work.holder.id, reason=exc.message)
        except Exception:  # likewise
            log.exception("defect", response=work.holder.id)
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
                    await self._store.begun(work.holder)
                    async for event in work.run.events():
                        live.put(event)
                except asyncio.CancelledError:
                    reason = flight.landed()
                    if reason is None:
                        raise
                    raise reason from None
                finally:
                    live.lands()


def _pumped(work: Work, live: Live, pump: "asyncio.Task[None]") -> None:
    """Where events could not be written, let the response fail."""
    exc = None if pump.cancelled() else pump.exception()
    if isinstance(exc, FreeholdError):
        live.broken(exc)
    elif exc is not None:
        log.error("defect", response=work.holder.id, exc_info=exc)
        live.broken(_failure(exc))


def _failure(exc: BaseException) -> InternalError:
    """What callers are told of what should never happen."""
    failure = InternalError("The server had an error while making the response.")
    failure.__cause__ = exc
    return failure
