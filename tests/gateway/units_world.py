"""Several gateways that share provisioned units, in a world where everything can go wrong, and that has only a seed.

The buckets, the slices and the way in which they are dealt out are the real ones; the database is one pool, messages
are late or lost each way, gateways die at any step, are cut off and come back, and clocks differ. Beside them stands
one exact bucket, which knows of every request at once: what it says must hold.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from freehold.gateway.capacity_bucket import MICROSECONDS, Bucket, Draught
from freehold.gateway.capacity_held import UnitsHeld
from freehold.gateway.capacity_pool import bury, level_at, settle_units
from freehold.gateway.capacity_shared import SharedBucket
from freehold.gateway.leases_book import Holdings
from freehold.gateway.leases_held import Holding
from freehold.governance.limits import UNLIMITED
from freehold.types.capacity import Weights
from freehold.types.leases import UNITS, Account, Ask, Need, Pool, Told

PLAIN: Final = Weights(1, 1, 1, 1)
_EPOCH_US: Final = 1_795_000_000_000_000
_PATIENCE_S: Final = 2.0
_TIMEOUT_S: Final = 2.0


@dataclass
class Trouble:
    """How much goes wrong; chances are those of each message, and of each step of a gateway."""

    lost: float = 0.0
    slow_s: float = 0.02
    crash: float = 0.0
    down_s: float = 5.0
    cut: float = 0.0
    cut_s: float = 40.0


@dataclass
class Request:
    """One call: what it is thought to take, what it will have taken, for how long, and until when it waits."""

    estimate: int
    amount: int
    lasts_s: float
    deadline_s: float


class Gateway:
    """One process."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.life = 0
        self.cut_until_s = 0.0
        self.skew_s = world.choice.uniform(-500, 500)
        self.drift = world.choice.uniform(-1e-3, 1e-3)
        self.start()

    def clock_us(self) -> int:
        """Its own clock."""
        return int((self.world.now_s * (1 + self.drift) + self.skew_s + 1000) * MICROSECONDS)

    def start(self) -> None:
        """Come up: nothing is known but what the database says."""
        world = self.world
        self.up, self.flying, self.life = True, False, self.life + 1
        self.waiting: dict[int, tuple[Request, Need]] = {}
        self.holdings = Holdings(lambda _: UNLIMITED, self.clock_us)
        held = UnitsHeld(Account(UNITS, "deployment:d"), world.units, world.burst_us, self.clock_us())
        self.bucket = SharedBucket(world.units, world.burst_us, world.now_us, held, self.holdings)
        bury(world.pool, self.name, world.database_us)

    def crash(self) -> None:
        """Die, with all that it held."""
        self.up = False
        self.world.later(self.world.choice.uniform(0.1, self.world.trouble.down_s), self.start)

    def hear(self) -> None:
        """Know how many units there are now."""
        self.bucket.change(self.world.units, self.world.burst_us, self.world.now_us)

    def call(self, request: Request) -> None:
        """Take a request, ask for what it lacks, or refuse it."""
        self.bucket.advance(self.world.now_us)
        if self.bucket.wait_us(request.estimate) == 0:
            self._take(request)
            return
        need = self.bucket.need(request.estimate)
        if need is None or self.world.now_s >= request.deadline_s:
            self.world.refused += 1
            return
        number = self.world.number()
        self.waiting[number] = (request, need)
        self.holdings.waits(number, [need])
        self.speak()

    def _take(self, request: Request) -> None:
        draught, life = self.bucket.take(request.estimate, PLAIN), self.life
        exact = self.world.admitted(request)

        def end() -> None:
            if self.up and self.life == life:  # else it has taken what it was thought to
                self.bucket.settle(draught, request.amount, self.world.now_us)
                self.world.ended(exact, request.amount)

        self.world.later(request.lasts_s, end)

    def speak(self) -> None:
        """Ask what is due, unless an answer is still awaited."""
        if self.flying or not self.up:
            return
        questions = self.holdings.questions(self.clock_us(), 100)
        if questions:
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
        for number, (request, need) in waiting.items():
            self.holdings.waits_no_more(number, [need])
            self.call(request)


@dataclass
class World:
    """The gateways, what is between them and the database, and time.

    Args:
        units: that they share.
        burst_s: of the bucket.
        most: the most that a request takes.
        seed: of everything that happens.
        trouble: how much goes wrong.
    """

    units: int
    burst_s: float
    most: int
    seed: int
    trouble: Trouble = field(default_factory=Trouble)

    def __post_init__(self) -> None:
        self.choice = random.Random(self.seed)
        self.burst_us = round(self.burst_s * MICROSECONDS)
        self.now_s = 0.0
        self.refused = self.taken = self.numbers = 0
        self.exact = Bucket(self.units, self.burst_us, 0)
        self._former_size, self._former_until_s = 0, 0.0
        self.pool = Pool()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self.all = [Gateway(self, f"gw{number}") for number in range(3)]
        for gateway in self.all:
            self._ticks(gateway)

    @property
    def now_us(self) -> int:
        """The true time."""
        return int(self.now_s * MICROSECONDS)

    @property
    def database_us(self) -> int:
        """The database's clock."""
        return _EPOCH_US + self.now_us

    def number(self) -> int:
        """A new number."""
        self.numbers += 1
        return self.numbers

    def later(self, after_s: float, act: Callable[[], None]) -> None:
        """Do something at a time."""
        heapq.heappush(self._events, (self.now_s + after_s, self.number(), act))

    def run(self, until_s: float) -> None:
        """Let time pass."""
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _, act = heapq.heappop(self._events)
            act()
        self.now_s = until_s

    def _ticks(self, gateway: Gateway) -> None:
        def tick() -> None:
            gateway.speak()
            self.later(self.choice.uniform(0.05, 0.15), tick)

        self.later(self.choice.random() * 0.1, tick)

    def send(self, gateway: Gateway, questions: list[tuple[Holding, Ask]]) -> None:
        """Have questions arrive, or not; and their answers."""
        life, sent_s, trouble = gateway.life, self.now_s, self.trouble
        there, back = (self.choice.random() * trouble.slow_s for _ in range(2))
        lost_there, lost_back = (self.choice.random() < trouble.lost for _ in range(2))
        if self.choice.random() < trouble.cut:
            gateway.cut_until_s = self.now_s + self.choice.random() * trouble.cut_s
        lost_there = lost_there or self.now_s < gateway.cut_until_s

        def answer(told: list[Told] | None) -> None:
            if gateway.life == life and gateway.up:
                gateway.heard(questions, told)

        def arrive() -> None:
            if gateway.life != life:
                return  # it has another life by now
            told = [settle_units(self.pool, gateway.name, ask, self.database_us) for _, ask in questions]
            self.check()
            if lost_back or self.now_s + back - sent_s > _TIMEOUT_S:
                self.later(max(0.0, sent_s + _TIMEOUT_S - self.now_s), lambda: answer(None))
            else:
                self.later(back, lambda: answer(told))

        if lost_there:
            self.later(_TIMEOUT_S, lambda: answer(None))
        else:
            self.later(there, arrive)

    def change(self, units: int) -> None:
        """Give the deployment other units; gateways hear of that within a second."""
        self._former_size, self._former_until_s = self.exact.size, self.now_s + self.exact.size / units / MICROSECONDS
        self.units = units
        self.exact.advance(self.now_us)
        self.exact.change(units, self.burst_us, self.now_us)
        for gateway in self.all:
            self.later(self.choice.random(), gateway.hear)

    @property
    def size(self) -> int:
        """What the bucket may hold: after a change also what it held before, until that has run out."""
        return max(self.exact.size, self._former_size if self.now_s < self._former_until_s else 0)

    def admitted(self, request: Request) -> Draught:
        """A request begins: one bucket for all would hold no more than it does, and one request beyond."""
        self.exact.advance(self.now_us)
        draught = self.exact.take(request.estimate, PLAIN)
        self.taken += request.estimate
        assert self.exact.level <= self.size + self.most, f"too much was taken at {self.now_s}"
        return draught

    def ended(self, draught: Draught, amount: int) -> None:
        """It is known what a request took."""
        self.taken += amount - draught.taken
        self.exact.settle(draught, amount, self.now_us)

    def check(self) -> None:
        """What is in the bucket and what is held come to what it holds, and one request beyond."""
        held = sum(each.unused for each in self.pool.slices.values())
        level = level_at(self.pool, self.pool.updated_us if not self.pool.slices else self.database_us)
        assert held + level <= self.size + self.most, f"more is dealt out than there is at {self.now_s}"
