"""Work on responses in the background that fails, and what is asked of it at its very end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from freehold.errors import EngineFailed, HomeError, Overloaded
from freehold.gateway.account import Account
from freehold.gateway.flights import Flights
from freehold.gateway.item_store import Holder, ItemStore
from freehold.gateway.response_background import Background, Work
from freehold.gateway.response_draft import INTERRUPTED, Draft
from freehold.gateway.response_live import Live
from freehold.gateway.response_run import Accounts, Run
from freehold.gateway.response_store import ResponseStore
from freehold.gateway.response_writer import StreamEvent, Writer
from freehold.governance.digests import Digests
from freehold.store.database import Database
from freehold.store.kept_items import RESPONSE_TABLES
from freehold.types.content import RESPONSES
from freehold.types.generation import Delta
from freehold.types.identity import DATA_PLANE, Principal
from freehold.types.responses import ResponseRequest
from tests.gateway.kept import items_of

APP = Principal("org", "proj_a", "app", actions=DATA_PLANE)


class SlowAccounts(Accounts):
    """Accounts whose receipts come to the disk when they are let."""

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self.may_close = asyncio.Event()

    @asynccontextmanager
    async def open(self, parent: Account, response_id: str) -> AsyncIterator[Account]:  # noqa: ARG002  # see `Accounts`
        """See `Accounts.open`."""
        try:
            yield parent
        finally:
            self.closing.set()
            await self.may_close.wait()


class BrokenStore(ResponseStore):
    """A store in which some things cannot be written.

    Args:
        store: where responses lie.
        errors: by the names of what cannot be done.
    """

    def __init__(self, store: ItemStore, errors: Mapping[str, Exception]) -> None:
        super().__init__(store)
        self._errors = errors

    async def put_events(self, holder: Holder, events: Sequence[StreamEvent]) -> None:
        """See `ResponseStore.put_events`."""
        if "put_events" in self._errors:
            raise self._errors["put_events"]
        await super().put_events(holder, events)

    async def finish(self, holder: Holder, draft: Draft, last: StreamEvent | None) -> bool:
        """See `ResponseStore.finish`."""
        if "finish" in self._errors:
            raise self._errors["finish"]
        return await super().finish(holder, draft, last)


class FakeRun:
    """The making of a response: some events, then an error."""

    def __init__(self, draft: Draft, error: Exception, events: int = 0) -> None:
        self.draft = draft
        self.writer = Writer(draft, lambda _: None)
        self.is_closed = False
        self._error = error
        self._count = events

    async def begin(self, _: Account) -> None:
        """See `Run.begin`."""

    async def events(self) -> AsyncGenerator[StreamEvent]:
        """See `Run.events`."""
        for _ in range(self._count):
            for event in self.writer.take(Delta(text="x")):
                yield event
            await asyncio.sleep(0)
        raise self._error

    async def close(self) -> None:
        """See `Run.close`."""
        self.is_closed = True


@dataclass(frozen=True, slots=True)
class Trial:
    """What a test has."""

    background: Background
    store: ResponseStore
    accounts: SlowAccounts

    async def start(self, error: Exception, *, events: int = 0) -> tuple[Holder, Live, FakeRun]:
        """Begin a response whose making ends with an error."""
        asked = {"model": "m", "input": "x", "background": True, "stream": True}
        draft = Draft(ResponseRequest.model_validate(asked), "resp_1", "m")
        run = FakeRun(draft, error, events)
        holder = await self.store.add(APP, draft, [], background=True)

        async def grow() -> None:
            pass

        account = Account("req_1", "/v1/responses", "openai", Digests(b"pepper"))
        work = Work(APP, account, cast("Run", run), holder, streams=True, grow=grow)
        return holder, self.background.start(work), run


def run(folder: Path, trial: Callable[[Trial], Awaitable[None]], **errors: Exception) -> None:
    """Run a trial on a new home, in which two responses are made at a time; one that waits for ever fails."""

    async def main() -> None:
        database = await Database.open(folder / "freehold.db")
        store = BrokenStore(items_of(database, lambda: 1_800_000_000.0, RESPONSES, RESPONSE_TABLES), errors)
        accounts = SlowAccounts()
        background = Background(store, accounts, Flights(60), most=2)
        try:
            async with asyncio.timeout(20):
                await trial(Trial(background, store, accounts))
                await background.close()
        finally:
            await database.close()

    asyncio.run(main())


async def kept(here: Trial) -> dict[str, Any]:
    """The response as it is kept."""
    return await here.store.resource(await here.store.get(APP, "resp_1"))


def test_a_response_that_is_cancelled_when_it_has_just_failed_has_failed(tmp_path: Path) -> None:
    """While its receipt is written nothing is left to cancel: what became of it is kept, and everything is closed."""

    async def trial(here: Trial) -> None:
        _, live, made = await here.start(EngineFailed("The engine broke."))
        await here.accounts.closing.wait()
        live.cancel()
        await asyncio.sleep(0)
        here.accounts.may_close.set()
        await live.done.wait()
        found = await kept(here)
        assert (found["status"], found["error"]["message"]) == ("failed", "The engine broke.")
        assert made.is_closed

    run(tmp_path, trial)


def test_events_that_cannot_be_written_for_a_defect_stop_the_work(tmp_path: Path) -> None:
    """Nobody is told what is not written, the engine is not kept busy for it, and the response has failed."""

    async def trial(here: Trial) -> None:
        here.accounts.may_close.set()
        holder, live, made = await here.start(EngineFailed("it came to its end"), events=10_000)
        told = [event async for event in live.follow(-1)]
        assert told == []
        assert made.writer.sequence < 1000, "it was stopped"
        assert here.background.live(holder.id) is None
        assert (await kept(here))["status"] == "failed"
        assert made.is_closed

    run(tmp_path, trial, put_events=TypeError("not JSON"))


@pytest.mark.parametrize("error", [HomeError("The disk is full."), TypeError("not JSON")])
def test_an_end_that_cannot_be_written_is_not_told(tmp_path: Path, error: Exception) -> None:
    """A follower is never told of an end that is not there afterwards, whatever kept it from being written."""

    async def trial(here: Trial) -> None:
        here.accounts.may_close.set()
        _, live, _ = await here.start(EngineFailed("The engine broke."), events=1)
        told = [event["type"] async for event in live.follow(-1)]
        assert told[-1] == "response.output_text.delta"
        found = await kept(here)
        assert (found["status"], found["error"]["message"]) == ("failed", INTERRUPTED)

    run(tmp_path, trial, finish=error)


def test_who_has_room_keeps_it_until_the_work_has_begun(tmp_path: Path) -> None:
    """Many that come at once are no more than may be made: those that are about to begin count as well."""

    async def trial(here: Trial) -> None:
        with here.background.room():
            with here.background.room(), pytest.raises(Overloaded), here.background.room():
                pass
            _, live, _ = await here.start(EngineFailed("The engine broke."))
        with here.background.room(), pytest.raises(Overloaded), here.background.room():
            pass
        here.accounts.may_close.set()
        await live.done.wait()
        with here.background.room(), here.background.room():
            pass

    run(tmp_path, trial)
