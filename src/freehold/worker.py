"""A worker of a server that has several: takes requests, and ends with its core.

Started by the core (`freehold.workers.seat`), never by a person. On SIGTERM it lets its requests finish and ends; the
core then starts another one, unless it ends itself.
"""

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
import uvloop

from freehold.app_worker import WorkerApp, open_worker
from freehold.c_memory import share_arenas
from freehold.errors import ConfigError, HomeError, Unavailable
from freehold.listening import first, on_signals, serving, spare_collector, untracked_generators
from freehold.log_lines import configure_logging
from freehold.store.home import Home
from freehold.workers.front import Front
from freehold.workers.link import Link, gone
from freehold.workers.order import Order, given
from freehold.workers.passage import Passage
from freehold.workers.remote_desk import RemoteDesk
from freehold.workers.remote_lender import RemoteLender
from freehold.workers.seat import LINGER_S
from freehold.workers.wire import error_of

log = structlog.get_logger(__name__)

_PASSED_S: Final = 2.0
"""How long what was passed on may go on beyond the time in which requests are to finish."""
_USED_S: Final = 5.0
"""How often the core is told which keys were used."""


class Worker:
    """A worker's end of the link: hears what the core says.

    Args:
        order: what it was told at its start.
    """

    def __init__(self, order: Order) -> None:
        loop = asyncio.get_running_loop()
        self.order = order
        self.desk = RemoteDesk()
        self.lender = RemoteLender()
        self.lost: asyncio.Future[None] = loop.create_future()
        """Done when the core is gone, or wants nothing more."""
        self.broken: asyncio.Future[None] = loop.create_future()
        """Done when this worker does not know any more what holds."""
        self.link = Link(self._heard, self._lose)
        self.app: WorkerApp | None = None
        self.passage: Passage | None = None
        self._early: list[tuple[int, Sequence[str], Mapping[str, Any]]] = []
        self._turn = asyncio.Lock()
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, app: WorkerApp, passage: Passage, state: Mapping[str, Any]) -> None:
        """Take in what the core said at first, and what it has said since."""
        self.app, self.passage = app, passage
        async with self._turn:
            await self._take(state)
        early, self._early = self._early, []
        for notice in early:
            await self._notice(*notice)

    async def settled(self) -> None:
        """Wait until everything that was heard is in force."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def drain(self, deadline_s: float) -> int:
        """Take no more requests, let the running ones finish, then cut off the rest; how many those were."""
        assert self.app is not None, "a worker that is asked to end has begun"
        assert self.passage is not None, "likewise"
        began = time.monotonic()
        cut_off = await self.app.flights.drain(deadline_s)
        with contextlib.suppress(TimeoutError):  # what the core works on, it ends itself, but for what has no end
            await asyncio.wait_for(self.passage.idle(), max(_PASSED_S, deadline_s - (time.monotonic() - began)))
        return cut_off

    async def tell_used(self) -> None:
        """Tell the core now and then which keys were used."""
        assert self.app is not None, "told after the beginning"
        while True:
            await asyncio.sleep(_USED_S)
            self._tell_used(self.app)

    def _tell_used(self, app: WorkerApp) -> None:
        used = app.people.keys.take_used()
        if used:
            self.link.post("used", used)

    def _heard(self, number: int, kind: str, values: Sequence[Any]) -> None:
        match kind:
            case "notice" if self.app is None:
                self._early.append((number, *values))
            case "notice":
                self._begin(self._notice(number, *values))
            case "look":
                self.link.answer(number)
            case "metrics":
                self._metrics(number)
            case "drain":
                self._begin(self._drained(number, *values))
            case "abort" if self.app is not None:
                self.app.flights.abort_all()

    async def _notice(self, number: int, tables: Sequence[str], state: Mapping[str, Any]) -> None:
        """Have what has changed in force, and say so."""
        assert self.app is not None, "heard before the beginning, it is kept until then"
        async with self._turn:
            try:
                if tables:
                    await self.app.reading.again(tables)
                await self._take(state)
            except (HomeError, ConfigError, Unavailable) as exc:
                log.critical("copies_not_read", reason=exc.message)
                if not self.broken.done():
                    self.broken.set_result(None)
                return
        self.link.answer(number)

    async def _take(self, state: Mapping[str, Any]) -> None:
        assert self.app is not None, "as above"
        if state["number"] < self._number:
            return
        self._number = state["number"]
        self.desk.objection = None if state["objection"] is None else error_of(state["objection"])
        for digest in state["over"]:
            self.app.canaries.end(digest)
        self.app.versions.stays = set(state["stays"])
        await self.lender.told(state["statuses"])

    def _metrics(self, number: int) -> None:
        if self.app is None:
            self.link.answer(number, "")
            return
        self.app.metrics.in_flight.set(len(self.app.flights))
        self.link.answer(number, self.app.metrics.exposition().decode())

    async def _drained(self, number: int, deadline_s: float) -> None:
        cut_off = await self.drain(deadline_s)
        if self.app is not None:
            self._tell_used(self.app)
        self.link.answer(number, cut_off)

    def _begin(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _lose(self) -> None:
        self.desk.objection = gone()
        if not self.lost.done():
            self.lost.set_result(None)


async def _serve(order: Order) -> int:
    stop = on_signals(signal.SIGTERM)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)  # the core's, which says what to do
    listener = socket.socket(fileno=order.listener)
    end = socket.socket(fileno=order.link)
    end.setblocking(False)
    worker = Worker(order)
    link = worker.link
    await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=end)
    worker.desk.attach(link)
    worker.lender.attach(link)
    state = await link.ask("hello")
    async with open_worker(Home(order.home), order.settings, link, worker.desk, worker.lender) as app:
        passage = Passage(order.core, order.secret)
        try:
            await worker.begin(app, passage, state)
            await link.ask("ready")
            await worker.settled()
            return await _served(worker, app, passage, listener, stop)
        finally:
            await passage.close()
            await worker.lender.close()
            link.close()


async def _served(
    worker: Worker, app: WorkerApp, passage: Passage, listener: socket.socket, stop: "asyncio.Future[None]"
) -> int:
    """Take requests until that is over; the process's exit code."""
    used = asyncio.create_task(worker.tell_used())
    front = Front(app.asgi, passage)
    async with serving(front, listener) as here:
        spare_collector()
        untracked_generators()
        log.info("serving")
        await first(here.ended, worker.lost, worker.broken, stop)
        used.cancel()
        if stop.done() and not worker.lost.done():
            here.accept_no_more()
            worker.link.post("leaving")
            front.leaving = True
            await asyncio.sleep(LINGER_S)
            await worker.drain(worker.order.settings.server.drain_s)
        else:
            app.flights.abort_all()
    log.info("stopped")
    return 1 if worker.broken.done() else 0


def main() -> int:
    """Be a worker, as the process says that has started this one."""
    share_arenas()
    order = given()
    configure_logging(order.settings.server.log_level, worker=order.name)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(order))


if __name__ == "__main__":
    sys.exit(main())
