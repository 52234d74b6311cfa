"""Sends requests to where the beginning of their prompt was read before, if that is worth it.

A replica keeps in its engine's cache what it has read; a request that begins the same way and comes to it is answered
sooner. Here it is remembered which replica was given which beginning. Whether sending requests by it wins depends on
the requests and on the engines' caches, so a deployment whose setting is `auto` finds out: it does and does not, in
turn, and keeps to what gave the first piece of answers sooner. Knows no engine and no clock but its caller's.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Final, Literal, Protocol, TypeAlias, TypeVar

from freehold.serving.prompt_key import PromptKey
from freehold.types.engine import Traits
from freehold.types.generation import Usage

Mode: TypeAlias = Literal["auto", "on", "off"]

REMEMBERED: Final = 8192
"""Blocks that are remembered of one replica, the last used ones: half a million tokens, more than most caches hold."""
UNBOUNDED: Final = 8
"""What counts as the requests at once of an engine that sets no bound."""
WINDOW: Final = 128
"""Requests that are sent one way before the other is tried; those of its first half meet caches that the other filled,
and do not count."""
SAMPLE: Final = 192
"""Requests of each way after which it is decided; those who have not ended by then do not count."""
HOLD: Final = 8192
"""Requests that are sent as decided until both ways are tried again."""
LEAST_GAIN: Final = 0.03
"""The first piece must come sooner by this share, and more of the prompts from caches by as much: else it is noise."""
_TYPICAL: Final = 0.98
"""The slowest of a sample do not count: a replica that was just starting says nothing of the routing."""


class Choosable(Protocol):
    """What is known of a replica that may be chosen."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def in_flight(self) -> int:
        """How many requests it works on."""

    @property
    def traits(self) -> Traits:
        """What its engine is."""

    @property
    def free(self) -> bool:
        """Whether it can take a request now."""

    @property
    def doubt(self) -> int:
        """0 for one in good health."""


ReplicaT = TypeVar("ReplicaT", bound=Choosable)


class Outcome(StrEnum):
    """Where a request went."""

    KNOWN = "known"
    """To a replica that has read no less of its beginning than any other."""
    ELSEWHERE = "elsewhere"
    """To another, because that one was too busy or requests are not sent by their prompts."""
    NEW = "new"
    """No replica has read its beginning."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of one request: tokens of the prompt, those of them from the cache, and the first piece's time."""

    prompt_tokens: int
    cached_tokens: int
    first_s: float


@dataclass(frozen=True, slots=True)
class PromptCacheStatus:
    """How requests are sent, as an administrator sees it.

    Args:
        by_prompt: whether they are sent by their prompts now.
        decided: whether that is settled, or being tried.
        outcomes: how many went where.
        gain: by which share the first piece came sooner with it than without, at the last trial; None before that.
    """

    by_prompt: bool
    decided: bool
    outcomes: dict[str, int]
    gain: float | None


class Trial:
    """Finds out which of two ways is the better one, again and again."""

    def __init__(self) -> None:
        self.gain: float | None = None
        self._asked = 0
        self._decided: bool | None = None
        self._found: dict[bool, list[Measured]] = {True: [], False: []}

    @property
    def decided(self) -> bool | None:
        """What was decided; None while both ways are tried."""
        return self._decided

    def next(self) -> bool:
        """Whether the next request is sent by its prompt."""
        self._asked += 1
        if self._decided is not None:
            if self._asked <= HOLD:
                return self._decided
            self._begin(None)
        return self._asked // WINDOW % 2 == 0

    @property
    def counts(self) -> bool:
        """Whether the request that was asked for last is one that counts."""
        return self._decided is None and self._asked % WINDOW >= WINDOW // 2

    def ended(self, by_prompt: bool, measured: Measured) -> None:  # which of the two ways it was
        """Take what came of a request that was sent one way."""
        if self._decided is not None:
            return
        self._found[by_prompt].append(measured)
        if all(len(found) >= SAMPLE for found in self._found.values()):
            with_it, without = _typical(self._found[True]), _typical(self._found[False])
            self.gain = 1 - with_it / without if without > 0 else 0.0
            more = _cached(self._found[True]) - _cached(self._found[False])
            self._begin(decided=self.gain >= LEAST_GAIN and more >= LEAST_GAIN)

    def _begin(self, decided: bool | None) -> None:  # what comes now
        self._decided, self._asked, self._found = decided, 0, {True: [], False: []}


class Watch:
    """What is told of one request while it is served."""

    __slots__ = ("_began", "_by_prompt", "_clock", "_first_s", "_trial")

    def __init__(self, trial: Trial, clock: Callable[[], float], *, by_prompt: bool) -> None:
        self._trial = trial
        self._clock = clock
        self._by_prompt = by_prompt
        self._began = clock()
        self._first_s: float | None = None

    def first(self) -> None:
        """Hear that the first piece of the answer has come."""
        self._first_s = self._clock() - self._began

    def ended(self, usage: object) -> None:
        """Hear what it used; anything but the whole usage of an answer says nothing."""
        if isinstance(usage, Usage) and not usage.estimated and usage.prompt_tokens and self._first_s is not None:
            self._trial.ended(self._by_prompt, Measured(usage.prompt_tokens, usage.cached_tokens, self._first_s))


class PromptCache:
    """What the replicas of one deployment have read.

    Args:
        clock: in seconds.

    Attributes:
        mode: the deployment's setting.
    """

    def __init__(self, mode: Mode, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.mode = mode
        self._clock = clock
        self._read: dict[str, OrderedDict[int, int]] = {}
        self._turn = 0
        self._trial = Trial()
        self._outcomes: Counter[Outcome] = Counter()
        self._by_prompt = mode == "on"

    def status(self) -> PromptCacheStatus:
        """How requests are sent now."""
        decided = self.mode != "auto" or self._trial.decided is not None
        outcomes = {outcome.value: self._outcomes[outcome] for outcome in Outcome}
        return PromptCacheStatus(self._sent_by_prompt(), decided, outcomes, self._trial.gain)

    def prefer(self, free: Sequence[ReplicaT], best: ReplicaT, key: PromptKey) -> ReplicaT:
        """The replica that has read most of the prompt's beginning, unless it is too busy.

        Args:
            free: those that may be chosen.
            best: the one that would be chosen without it.
            key: the prompt's.
        """
        if not self._sent_by_prompt() or not key.blocks:
            return best
        knowing = max(free, key=lambda replica: self._known(replica, key))
        if not self._known(knowing, key)[0] or knowing.in_flight - best.in_flight > _bound(knowing.traits):
            return best
        return knowing

    def lent(self, chosen: Choosable, others: Sequence[Choosable], key: PromptKey) -> Watch | None:
        """Take note of what a replica is given to read; `others` are those that there are beside it.

        Returns: who is to be told how it goes; None where nobody wants to know.
        """
        if self.mode == "off":
            return None
        had, most = self._known(chosen, key)[0], max((self._known(other, key)[0] for other in others), default=0)
        outcome = Outcome.NEW if not had and not most else Outcome.KNOWN if had >= most else Outcome.ELSEWHERE
        self._outcomes[outcome] += 1
        read = self._read.setdefault(chosen.id, OrderedDict())
        self._turn += 1
        for block in key.blocks:
            read[block] = self._turn
            read.move_to_end(block)
        while len(read) > REMEMBERED:
            read.popitem(last=False)
        if self.mode != "auto":
            return None
        watch = Watch(self._trial, self._clock, by_prompt=self._by_prompt) if self._trial.counts else None
        self._by_prompt = self._trial.next()
        return watch

    def forget(self, replica_id: str) -> None:
        """A replica has ended, and its cache with it."""
        self._read.pop(replica_id, None)

    def _sent_by_prompt(self) -> bool:
        return self._by_prompt if self.mode == "auto" else self.mode == "on"

    def _known(self, replica: Choosable, key: PromptKey) -> tuple[int, int]:
        """How many blocks of the beginning the replica has read, and when it read the last of them; later is larger.

        Engines' caches forget what was not used for long, so of two that read the same the later one may still have it.
        """
        read = self._read.get(replica.id)
        if not read:
            return 0, 0
        count = turn = 0
        for block in key.blocks:
            found = read.get(block)
            if found is None:
                break
            count, turn = count + 1, found
        return count, turn


def _bound(traits: Traits) -> int:
    """By how many requests a replica may be busier than another and still get one that it knows the beginning of."""
    return max(1, (traits.parallel or UNBOUNDED) // 2)


def _typical(found: Sequence[Measured]) -> float:
    """The mean time of the first piece, but for the slowest."""
    times = sorted(measured.first_s for measured in found)
    return fmean(times[: max(1, int(len(times) * _TYPICAL))])


def _cached(found: Sequence[Measured]) -> float:
    """The share of the prompts' tokens that came from a cache."""
    return sum(measured.cached_tokens for measured in found) / sum(measured.prompt_tokens for measured in found)
