"""Sending requests by their prompts: the rules one by one, and a simulation of replicas whose caches are too small."""

import heapq
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean
from typing import TypeAlias

import pytest

from freehold.serving.choice import Wish, choose
from freehold.serving.prompt_cache import HOLD, SAMPLE, WINDOW, Measured, Mode, PromptCache, Trial
from freehold.serving.prompt_key import BLOCK, PromptKey
from freehold.types.engine import Traits
from freehold.types.generation import Usage

MakePrompt: TypeAlias = Callable[[random.Random, int], str]

SLOTS = 8
TOKENS_PER_BLOCK = 64


@dataclass(eq=False)
class Simulated:
    """A replica whose engine reads one prompt after the other and keeps the last used blocks."""

    id: str
    room: int
    in_flight: int = 0
    reads_until: float = 0.0
    cache: OrderedDict[int, None] = field(default_factory=OrderedDict)
    traits: Traits = field(default_factory=lambda: Traits(frozenset(), parallel=SLOTS))
    doubt: int = 0

    @property
    def free(self) -> bool:
        """Whether it has a slot."""
        return self.in_flight < SLOTS

    def read(self, key: PromptKey) -> int:
        """Read a prompt; how many of its blocks were in the cache."""
        cached = 0
        for block in key.blocks:
            if block not in self.cache:
                break
            cached += 1
        for block in key.blocks:
            self.cache[block] = None
            self.cache.move_to_end(block)
        while len(self.cache) > self.room:
            self.cache.popitem(last=False)
        return cached


@dataclass
class Result:
    """What a simulation came to."""

    first_s: float
    cached: float
    prompts: PromptCache


def simulate(mode: Mode, prompt_of: MakePrompt, *, requests: int, seed: int = 1) -> Result:
    """Requests that come at random to two replicas; reading a block takes 20 ms, writing an answer 400 ms."""
    chance, now = random.Random(seed), 0.0  # guards no secret
    prompts = PromptCache(mode, clock=lambda: now)
    replicas = [Simulated(f"r{number}", room=160) for number in range(2)]
    turns: dict[str, int] = {}
    events: list[tuple[float, int, Callable[[], None]]] = []
    waits: list[float] = []
    cached_blocks = all_blocks = 0
    waiting: list[PromptKey] = []
    number = 0

    def at(when: float, do: Callable[[], None]) -> None:
        heapq.heappush(events, (when, len(turns) + len(waits) + random.Random(when).randrange(1 << 60), do))

    def serve(key: PromptKey) -> None:
        nonlocal cached_blocks, all_blocks
        replica = choose(replicas, Wish(affinity=key), turns, prompts)
        if replica is None:
            waiting.append(key)
            return
        turns[replica.id] = sum(turns.values()) + 1
        others = [other for other in replicas if other is not replica]
        watch = prompts.lent(replica, others, key)
        replica.in_flight += 1
        cached, began = replica.read(key), now
        cached_blocks, all_blocks = cached_blocks + cached, all_blocks + len(key.blocks)
        replica.reads_until = max(now, replica.reads_until) + 0.02 * (len(key.blocks) - cached) + 0.005

        def first() -> None:
            if watch is not None:
                watch.first()
            waits.append(now - began)

        def end() -> None:
            replica.in_flight -= 1
            if watch is not None:
                watch.ended(Usage(TOKENS_PER_BLOCK * len(key.blocks) + 10, 50, TOKENS_PER_BLOCK * cached))
            if waiting:
                serve(waiting.pop(0))

        at(replica.reads_until, first)
        at(replica.reads_until + 0.4 * chance.uniform(0.5, 1.5), end)

    def arrive() -> None:
        nonlocal number
        number += 1
        if number < requests:
            at(now + chance.expovariate(9.0), arrive)
        serve(PromptKey(None, prompt_of(chance, number)))

    at(0.0, arrive)
    while events:
        now, _, do = heapq.heappop(events)
        do()
    return Result(fmean(waits[len(waits) // 4 :]), cached_blocks / all_blocks, prompts)


def assistants(chance: random.Random, number: int) -> str:
    """One of 24 long instructions, of which a replica's cache holds 16, and a question of its own."""
    return f"You are assistant {chance.randrange(24):03}. ".ljust(10 * BLOCK, ".") + f"question {number}"


def strangers(_chance: random.Random, number: int) -> str:
    """A long text that never came before."""
    return f"document {number}: ".ljust(10 * BLOCK, ".")


def one_for_all(_chance: random.Random, number: int) -> str:
    """The same instructions for everybody."""
    return "You are helpful. ".ljust(10 * BLOCK, ".") + f"question {number}"


@pytest.mark.parametrize("seed", range(3))
def test_it_wins_where_the_beginnings_do_not_fit_every_cache(seed: int) -> None:
    """Each replica then keeps its own; `auto` finds that out and stays with it."""
    on, off = (simulate(mode, assistants, requests=3000, seed=seed) for mode in ("on", "off"))
    assert on.cached > off.cached + 0.2
    assert on.first_s < 0.7 * off.first_s
    auto = simulate("auto", assistants, requests=3000, seed=seed).prompts.status()
    assert (auto.by_prompt, auto.decided) == (True, True)
    assert auto.gain is not None
    assert auto.gain > 0.2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("prompt_of", [strangers, one_for_all])
def test_it_harms_nobody_where_there_is_nothing_to_win(prompt_of: MakePrompt, seed: int) -> None:
    """With texts that never come again, or one that all caches hold, load stays even, and `auto` decides against it."""
    on, off = (simulate(mode, prompt_of, requests=3000, seed=seed) for mode in ("on", "off"))
    assert on.first_s < 1.15 * off.first_s
    auto = simulate("auto", prompt_of, requests=3000, seed=seed).prompts.status()
    assert (auto.by_prompt, auto.decided) == (False, True)


def test_a_replica_that_is_much_busier_does_not_get_what_it_knows() -> None:
    """Up to half of its slots more than the other works on are taken for the cache's sake, and no more."""
    prompts = PromptCache("on")
    known, other = Simulated("known", 160), Simulated("other", 160)
    key = PromptKey(None, "x" * 1000)
    prompts.lent(known, [other], key)
    known.in_flight = SLOTS // 2
    assert choose([known, other], Wish(affinity=key), {}, prompts) is known
    known.in_flight += 1
    assert choose([known, other], Wish(affinity=key), {}, prompts) is other
    known.in_flight, known.doubt = 0, 2
    assert choose([known, other], Wish(affinity=key), {}, prompts) is other


def test_the_longest_beginning_goes_before_a_shorter_one() -> None:
    """Of two replicas that know the beginning, the one that knows more of it is taken."""
    prompts = PromptCache("on")
    some, more = Simulated("some", 160), Simulated("more", 160)
    prompts.lent(some, [more], PromptKey(None, "x" * 2 * BLOCK))
    prompts.lent(more, [some], PromptKey(None, "x" * 4 * BLOCK))
    assert choose([some, more], Wish(affinity=PromptKey(None, "x" * 9 * BLOCK)), {}, prompts) is more
    assert prompts.status().outcomes == {"known": 0, "elsewhere": 1, "new": 1}
    prompts.forget("more")
    assert choose([some, more], Wish(affinity=PromptKey(None, "x" * 9 * BLOCK)), {}, prompts) is some


def test_what_is_remembered_is_bounded() -> None:
    """The blocks that were used longest ago are forgotten."""
    prompts = PromptCache("on")
    one, other = Simulated("one", 160), Simulated("other", 160)
    for number in range(200):
        prompts.lent(one, [other], PromptKey(None, f"{number} ".ljust(100 * BLOCK, ".")))
    first, last = (PromptKey(None, f"{number} ".ljust(100 * BLOCK, ".")) for number in (0, 199))
    one.in_flight = 1
    assert choose([one, other], Wish(affinity=first), {}, prompts) is other
    assert choose([one, other], Wish(affinity=last), {}, prompts) is one


def test_what_was_decided_is_tried_again() -> None:
    """After a while both ways are tried anew, in windows that alternate."""
    trial = Trial()
    ways = [trial.next() for _ in range(4 * WINDOW)]
    assert [sum(ways[start : start + WINDOW]) for start in range(0, 4 * WINDOW, WINDOW)] != [WINDOW] * 4
    assert 0 < sum(ways) < len(ways)
    for way, first_s in ((True, 1.0), (False, 2.0)):
        for _ in range(SAMPLE):
            trial.ended(way, Measured(100, 90 if way else 10, first_s))
    assert trial.decided is True
    assert all(trial.next() for _ in range(HOLD))
    trial.next()
    assert trial.decided is None
