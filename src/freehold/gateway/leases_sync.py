"""Borrows and gives back slices of the limits, beside the requests: ahead of need, and where some wait.

One question is under way at a time. A request that finds too little here waits for the next answer, or a few, and is
then refused as by one ledger; while the database cannot be reached, what is held is used up first.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Final, Self, TypeVar

import structlog

from freehold.errors import LimitsUnavailable, Unavailable
from freehold.gateway.capacity_pool import bury
from freehold.gateway.leases_book import Holdings
from freehold.gateway.leases_pool import settle
from freehold.gateway.ledger import Ledger
from freehold.gateway.refusal import Short
from freehold.store.leases import Fenced, Holder, LeaseStore

log = structlog.get_logger(__name__)
Made = TypeVar("Made")

PATIENCE_S: Final = 2.0
"""For how long a request waits at most for what other gateways hold."""
_SCAN_S: Final = 0.1
"""How often all holdings are looked at; those for which requests wait are asked for at once."""
_PAUSE_S: Final = 0.25
"""After how long an unreachable database is tried again."""
_MOST: Final = 500
"""Of so many accounts one transaction asks, and of so many more it writes what was spent."""
_RETRY_AFTER_S: Final = 5.0
_TIDY_US: Final = 3_600_000_000


def boot_clock_us() -> int:
    """Microseconds since the machine started, also while it slept; never goes backwards."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1000


class Lender:
    """What keeps a gateway's ledger in what it may give out. Use as a context manager.

    Args:
        ledger: the gateway's, made with `holdings`.
        holdings: what the gateway holds.
        store: where the limits are shared.
        holder: the gateway.
    """

    def __init__(self, ledger: Ledger, holdings: Holdings, store: LeaseStore, holder: Holder) -> None:
        self.holder = holder
        self._books = ledger.books
        self._holdings = holdings
        self._store = store
        self._numbers = count()
        self._wake = asyncio.Event()
        self._answered: asyncio.Future[LimitsUnavailable | None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._scan_us = self._tidied_us = 0
        self._reached_at = time.monotonic()
        self._failing: str | None = None
        self._fenced = False

    async def __aenter__(self) -> Self:
        """Begin: what the gateway's former life held is free but for what its journal says was spent.

        Raises:
            Unavailable: the database cannot be reached.
        """
        await self._begin()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Give everything back, if the database can be reached; otherwise the next start does."""
        assert self._task is not None, "entered before it is left"
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        if not self._fenced:
            with suppress(Unavailable, Fenced):
                questions = self._holdings.questions(self._holdings.now_us(), len(self._holdings), closing=True)
                await self._store.exchange(self.holder, [ask for _, ask in questions], self._unsaid(), settle)
                await self._store.end(self.holder)
        await self._store.close()

    async def until(self, act: Callable[[], Made], short: Short) -> Made:
        """Do something for which this gateway held too little, as soon as it holds enough.

        Args:
            act: does it, or raises `Short` again.
            short: what it raised first.

        Raises:
            RateLimited: there is no more, here or elsewhere, or not in time.
            LimitsUnavailable: the database cannot be reached.
        """
        number, begun = next(self._numbers), time.monotonic()
        deadline = begun + PATIENCE_S
        while True:
            self._holdings.waits(number, short.needs)
            try:
                answered = await self._next_answer(deadline - time.monotonic())
            finally:
                self._holdings.waits_no_more(number, short.needs)
            try:
                return act()
            except Short as again:
                if not answered:
                    silent = self._reached_at < begun
                    raise self._unavailable("the database does not answer") if silent else again.error from None
                short = again

    async def _next_answer(self, patience_s: float) -> bool:
        """Wait until the database has answered a question that is asked from now on; False if it does not in time.

        Raises:
            LimitsUnavailable: it cannot.
        """
        if self._fenced:
            raise self._unavailable("another process has started in this gateway's place")
        if self._answered is None:
            self._answered = asyncio.get_running_loop().create_future()
        self._wake.set()
        done, _ = await asyncio.wait([self._answered], timeout=max(0.0, patience_s))
        for each in done:
            error = each.result()
            if error is not None:
                raise error
        return bool(done)

    async def _run(self) -> None:
        while True:
            if self._answered is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_SCAN_S if len(self._holdings) else 1.0):
                        await self._wake.wait()
            else:
                await asyncio.sleep(0)  # others that are about to wait are asked for at the same time
            self._wake.clear()
            answered, self._answered = self._answered, None
            try:
                error = await self._ask(waited_for=answered is not None)
            except Exception:  # a defect must not end the lending: what was asked for is told as if nobody had answered
                log.exception("defect", during="leases")
                error = self._unavailable("the server had an error while asking for more")
            if answered is not None:
                answered.set_result(error)
            if error is not None:
                await asyncio.sleep(_PAUSE_S)

    async def _ask(self, *, waited_for: bool) -> LimitsUnavailable | None:
        """One exchange, if there is something to say; what went wrong with it, if something did."""
        now_us = self._holdings.now_us()
        scan = now_us >= self._scan_us
        if scan:
            self._scan_us = now_us + round(_SCAN_S * 1_000_000)
        questions = self._holdings.questions(now_us, _MOST, only_wanted=not scan)
        spent = self._unsaid() if scan else {}
        if not questions and not spent:
            if waited_for:
                await asyncio.sleep(_SCAN_S / 4)  # what is lacking was asked for just now
            return None
        try:
            told = await self._store.exchange(self.holder, [ask for _, ask in questions], spent, settle)
        except Fenced as exc:
            self._say_again(spent)
            return await self._lost(exc)
        except Unavailable as exc:
            self._say_again(spent)
            return self._failed(exc)
        self._holdings.answers(questions, told, self._holdings.now_us())
        self._reached_at = time.monotonic()
        await self._tidy(now_us)
        if self._failing is not None:
            log.info("leases.reached_again")
            self._failing = None
        return None

    async def _tidy(self, now_us: int) -> None:
        if now_us - self._tidied_us > _TIDY_US:
            self._tidied_us = now_us
            with suppress(Unavailable):
                await self._store.tidy()

    async def _begin(self, *, lived_on: bool = False) -> None:
        self._books.at(time.time())  # those of today are there, also where the journal knows nothing of today
        books = {book.name: book for book in self._books.all()}
        known = {(name, key): book.use(key) for name, book in books.items() for key in {**book.spent, **book.reserved}}
        self.holder, merged = await self._store.begin(self.holder, known, bury, lived_on=lived_on)
        if not lived_on:
            self._books.learn(merged)

    async def _lost(self, fenced: Fenced) -> LimitsUnavailable:
        """Begin anew where the gateway was removed while it lived; hold nothing any more where another replaced it."""
        self._holdings.gone()
        if not fenced.removed:
            self._fenced = True
            log.error("leases.fenced", reason="another process has started in this gateway's place; stop one of them")
        else:
            log.warning("leases.removed", reason="this gateway was removed while it lived; it begins anew")
            try:
                await self._begin(lived_on=True)
            except Unavailable as exc:
                return self._failed(exc)
        return self._unavailable(str(fenced))

    def _failed(self, exc: Unavailable) -> LimitsUnavailable:
        if self._failing != exc.message:
            self._failing = exc.message
            log.warning("leases.unreachable", reason=exc.message)
        return self._unavailable("the database cannot be reached")

    @staticmethod
    def _unavailable(why: str) -> LimitsUnavailable:
        return LimitsUnavailable(
            f"The limits are shared with other gateways, and what this one held of them is used up: {why}.",
            retry_after_s=_RETRY_AFTER_S,
        )

    def _unsaid(self) -> dict[tuple[str, str], tuple[int, int]]:
        """What was spent of accounts of which nothing is held, and is not written down yet; some of it."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for book in self._books.all():
            while book.unsaid and len(found) < _MOST:
                key = book.unsaid.pop()
                if not self._holdings.leased(book.name, key):
                    found[book.name, key] = book.use(key)
        return found

    def _say_again(self, spent: dict[tuple[str, str], tuple[int, int]]) -> None:
        for name, key in spent:
            book = self._books.named(name)
            if book is not None and book.unsaid is not None:
                book.unsaid.add(key)
