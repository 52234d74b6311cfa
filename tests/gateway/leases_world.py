"""Several gateways that share limits, in a world where everything can go wrong, and that has only a seed.

The ledgers, the slices and the way in which they are dealt out are the real ones; the database is a dictionary, and
messages are delayed, lost on their way there or on their way back. A gateway dies at any step and comes back with what
its journal says. Clocks differ and drift. What must always hold is checked after every step.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from freehold.errors import RateLimited
from freehold.gateway.leases_book import Holdings
from freehold.gateway.leases_held import Holding
from freehold.gateway.leases_pool import settle
from freehold.gateway.ledger import Grant, Ledger
from freehold.gateway.rate import UNIT, Bucket
from freehold.gateway.refusal import Short
from freehold.governance.limits import UNLIMITED, Limits
from freehold.types.leases import Ask, Pool, Told
from freehold.types.limits import Claim, Scope, Subject

NOON: Final = 1_795_000_000.0
PROJECT: Final = Subject(Scope.PROJECT, "proj-shared")
KEY: Final = Subject(Scope.KEY, "key_shared")
_TIMEOUT_S: Final = 2.0
_PATIENCE_S: Final = 2.0


@dataclass
class Trouble:
    """How much goes wrong.

    Args:
        lost: the chance that a message is lost, each way.
        slow_s: how long a message takes at most.
        crash: the chance that a gateway dies, at each of its steps.
        down_s: how long it is down at most.
        cut: the chance that a gateway loses the database, at each of its questions.
        cut_s: for how long at most.
    """

    lost: float = 0.0
    slow_s: float = 0.02
    crash: float = 0.0
    down_s: float = 5.0
    cut: float = 0.0
    cut_s: float = 40.0


@dataclass
class Request:
    """One call: what it asks for, and what it will have used."""

    claim: Claim
    tokens: int
    micro: int
    lasts_s: float
    deadline_s: float
    grant: Grant | None = None


class Gateway:
    """One process, and its journal."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.up = False
        self.life = 0
        self.spent: dict[str, dict[str, int]] = {}
        self.open: dict[int, Request] = {}
        self.waiting: dict[int, tuple[Request, Short]] = {}
        self.cut_until_s = 0.0
        self.skew_s = world.choice.uniform(-500, 500)
        self.drift = world.choice.uniform(-1e-3, 1e-3)
        self.start()

    def clock_us(self) -> int:
        """Its own clock."""
        return int((self.world.now_s * (1 + self.drift) + self.skew_s + 1000) * 1_000_000)

    def start(self) -> None:
        """Come up with what the journal says; requests that were cut off are charged something."""
        self.up, self.life, self.flying = True, self.life + 1, False
        self.holdings = Holdings(self.world.effective, self.clock_us)
        self.ledger = Ledger(self.world.effective, lambda: NOON + self.world.now_s, self.holdings)
        for request in self.open.values():
            self._settled(request, self.world.choice.randrange(request.claim.cost_micro + 1))
        self.open, self.waiting = {}, {}
        self.ledger.restore(self.spent, {})
        self.world.begin(self)

    def crash(self) -> None:
        """Die; what it had not given back is still its."""
        self.up = False
        self.world.later(self.world.choice.uniform(0.1, self.world.trouble.down_s), self.start)

    def call(self, request: Request) -> None:
        """Take a request."""
        number = self.world.number()
        try:
            request.grant = self.ledger.reserve(request.claim)
        except Short as short:
            if self.world.now_s >= request.deadline_s:
                self.world.refused += 1
                return
            self.waiting[number] = (request, short)
            self.holdings.waits(number, short.needs)
            self.speak()
            return
        except RateLimited:
            self.world.refused += 1
            return
        self.open[number] = request
        self.world.admitted(self, request)
        life = self.life
        self.world.later(request.lasts_s, lambda: self._end(number, life))

    def _end(self, number: int, life: int) -> None:
        if life == self.life and self.up:
            request = self.open.pop(number)
            assert request.grant is not None
            request.grant.settle(request.tokens, request.micro)
            self._settled(request, request.micro)

    def _settled(self, request: Request, micro: int) -> None:
        for book in self.ledger.books.at(request.claim.at):
            amounts = self.spent.setdefault(book.name, {})
            for subject in request.claim.subjects:
                amounts[str(subject)] = amounts.get(str(subject), 0) + micro

    def tick(self) -> None:
        """Look whether there is something to ask."""
        if self.up:
            self.speak()

    def speak(self) -> None:
        """Ask what is due, unless an answer is still awaited."""
        if self.flying or not self.up:
            return
        questions = self.holdings.questions(self.clock_us(), 100)
        if not questions:
            return
        self.flying = True
        if self.world.choice.random() < self.world.trouble.crash:
            self.crash()
        self.world.send(self, questions)

    def heard(self, questions: list[tuple[Holding, Ask]], told: list[Told] | None) -> None:
        """Take in the answers, or know that there are none; then let those try again that wait."""
        self.flying = False
        if told is not None:
            self.holdings.answers(questions, told, self.clock_us())
        if self.world.choice.random() < self.world.trouble.crash:
            self.crash()
            return
        waiting, self.waiting = self.waiting, {}
        for number, (request, short) in waiting.items():
            self.holdings.waits_no_more(number, short.needs)
            self.call(request)


@dataclass
class World:
    """The gateways, what is between them and the database, and time.

    Args:
        limits: of the subjects.
        seed: of everything that happens.
        trouble: how much goes wrong.
        gateways: how many there are.
    """

    limits: dict[Subject, Limits]
    seed: int
    trouble: Trouble = field(default_factory=Trouble)
    gateways: int = 3

    def __post_init__(self) -> None:
        self.choice = random.Random(self.seed)
        self.now_s = 0.0
        self.refused = self.calls = self.exchanges = 0
        self.taken = {"requests": 0, "tokens": 0}
        self.pools: dict[tuple[str, str], Pool] = {}
        self.epochs: dict[str, int] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = 0
        self.references: dict[tuple[str, str], Bucket] = {}
        for subject, limits in self.limits.items():
            for measure, limit in (("requests", limits.requests_per_minute), ("tokens", limits.tokens_per_minute)):
                if limit is not None:
                    self.references[measure, str(subject)] = Bucket(limit, 0)
        self.all = [Gateway(self, f"gw{i}") for i in range(self.gateways)]
        for gateway in self.all:
            self._ticks(gateway)

    def effective(self, subject: Subject) -> Limits:
        """What a subject may use."""
        return self.limits.get(subject, UNLIMITED)

    def number(self) -> int:
        """A new number."""
        self._numbers += 1
        return self._numbers

    def later(self, after_s: float, act: Callable[[], None]) -> None:
        """Do something at a time."""
        heapq.heappush(self._events, (self.now_s + after_s, self.number(), act))

    def run(self, until_s: float) -> None:
        """Let time pass."""
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _, act = heapq.heappop(self._events)
            act()
            self.check()
        self.now_s = until_s

    def _ticks(self, gateway: Gateway) -> None:
        def tick() -> None:
            gateway.tick()
            self.later(self.choice.uniform(0.05, 0.15), tick)

        self.later(self.choice.random() * 0.1, tick)

    # --- the database ---

    def begin(self, gateway: Gateway) -> None:
        """A gateway starts: what its former life held and did not use is free."""
        self.epochs[gateway.name] = gateway.life
        for (measure, key), pool in self.pools.items():
            own = pool.slices.get(gateway.name)
            if own is None:
                continue
            if measure in {"requests", "tokens", "concurrent"}:
                del pool.slices[gateway.name]
            else:
                known = max(gateway.spent.get(measure, {}).get(key, 0), own.spent)
                own.amount = own.used = own.spent = known

    def send(self, gateway: Gateway, questions: list[tuple[Holding, Ask]]) -> None:
        """Have questions arrive, or not; and their answers."""
        life, sent_s = gateway.life, self.now_s
        there, back = self.choice.random() * self.trouble.slow_s, self.choice.random() * self.trouble.slow_s
        lost_there, lost_back = (self.choice.random() < self.trouble.lost for _ in range(2))
        if self.choice.random() < self.trouble.cut:
            gateway.cut_until_s = self.now_s + self.choice.random() * self.trouble.cut_s
        lost_there = lost_there or self.now_s < gateway.cut_until_s

        def given_up() -> None:
            if gateway.life == life and gateway.up:
                gateway.heard(questions, None)

        def arrive() -> None:
            if self.epochs[gateway.name] != life:
                return  # it has another life by now
            told = [self.settled(gateway, ask) for _, ask in questions]
            if lost_back or self.now_s + back - sent_s > _TIMEOUT_S:
                self.later(max(0.0, sent_s + _TIMEOUT_S - self.now_s), given_up)
            else:
                self.later(back, lambda: answer(told))

        def answer(told: list[Told]) -> None:
            if gateway.life == life and gateway.up:
                gateway.heard(questions, told)

        if lost_there:
            self.later(_TIMEOUT_S, given_up)
        else:
            self.later(there, arrive)

    def settled(self, gateway: Gateway, ask: Ask) -> Told:
        """One account, in a transaction."""
        self.exchanges += 1
        pool = self.pools.setdefault((ask.account.measure, ask.account.subject), Pool())
        return settle(pool, gateway.name, ask, int((NOON + self.now_s) * 1_000_000))

    # --- what is seen ---

    def admitted(self, _gateway: Gateway, request: Request) -> None:
        """A request runs: one bucket for all would have let it, too."""
        self.calls += 1
        self.taken["requests"] += 1
        self.taken["tokens"] += request.tokens
        for subject in request.claim.subjects:
            for measure, amount in (("requests", 1), ("tokens", request.tokens)):
                bucket = self.references.get((measure, str(subject)))
                if bucket is not None:
                    bucket.refill(int(self.now_s * 1_000_000))
                    bucket.used += amount * UNIT
                    assert bucket.used <= bucket.limit * UNIT + UNIT // 100, f"{measure} at {self.now_s}"

    def used(self, subject: Subject, period: int) -> int:
        """What is spent and reserved of a budget by all gateways, the dead ones too; 0 is the day's, 1 the month's."""
        total, key = 0, str(subject)
        for gateway in self.all:
            book = gateway.ledger.books.at(NOON)[period]
            total += gateway.spent.get(book.name, {}).get(key, 0)
            total += sum(each.claim.cost_micro for each in gateway.open.values() if subject in each.claim.subjects)
        return total

    def check(self) -> None:
        """What must hold at any time."""
        for subject, limits in self.limits.items():
            for period, budget in ((0, limits.budget_per_day), (1, limits.budget_per_month)):
                if budget is not None:
                    assert self.used(subject, period) <= budget, f"over the budget of {subject} at {self.now_s}"
            if limits.concurrent_requests is not None:
                running = sum(
                    sum(subject in each.claim.subjects for each in gateway.open.values())
                    for gateway in self.all
                    if gateway.up
                )
                assert running <= limits.concurrent_requests, f"too many run for {subject} at {self.now_s}"
        for (measure, key), pool in self.pools.items():
            if measure.startswith("2026"):
                held = sum(each.amount for each in pool.slices.values())
                assert held <= pool.limit, f"more is leased than there is of {measure} {key}: {held} {pool.limit}"
