"""A synthetic engine: how long requests take on a replica that reads prompts and writes many answers at once.

Prompts are read one after the other, and while one is read nothing is written, as an engine without chunked prefill
does; with chunks the same time is spread out. All streams then grow together: a step makes one token for each, and
takes the longer the more there are. The time of a step is linear in the streams, between one stream alone and all of
them together, both of which are measured; vLLM's and TensorRT-LLM's published curves are close to that until memory
is full. Prompt caches are not simulated.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final, Protocol

from freehold.serving.prompt_cache import Watch
from freehold.simulation.agenda import Agenda
from freehold.simulation.scenario import Model
from freehold.types.deployment import ReplicaState
from freehold.types.engine import Traits

_ALMOST: Final = 1e-6
"""Tokens below which nothing is left."""


class Work(Protocol):
    """One request, as an engine sees it."""

    prompt_tokens: int
    completion_tokens: int

    def first_token(self) -> None:
        """The prompt has been read."""

    def finished(self) -> None:
        """The answer is complete."""


def token_rates(model: Model) -> tuple[float, ...]:
    """Tokens a second of each stream, by how many there are; the first is for none."""
    alone = 1 / model.decode_tokens_s
    full = model.parallel / model.decode_tokens_s_full
    steps = max(1, model.parallel - 1)
    times = [alone + (full - alone) * streams / steps for streams in range(model.parallel)]
    return (0.0, *(1 / time for time in times))


class Replica:
    """A replica with its engine.

    Args:
        replica_id: unique in this simulation.
        model: how fast it is.
        traits: what the gateway knows of it.
        agenda: where its work is put down.

    Attributes:
        free: whether it can take a request now.
        node_ids: where it is, once it is placed.
    """

    def __init__(self, replica_id: str, model: Model, traits: Traits, agenda: Agenda) -> None:
        self.id = replica_id
        self.traits = traits
        self.state = ReplicaState.STARTING
        self.usable = self.free = self.suspect = self.retiring = self.hopeless = False
        self.in_flight = self.doubt = 0
        self.retry_at = 0.0
        self.node_ids: tuple[str, ...] = ()
        self.on_idle: Callable[[Replica], None] | None = None
        self.busy_s = 0.0
        self._model = model
        self._rates = token_rates(model)
        self._agenda = agenda
        self._work: dict[Work, None] = {}
        self._streams: list[tuple[float, int, Work]] = []
        self._number = 0
        self._grown = 0.0
        """Tokens by which each stream has grown that was there from the beginning."""
        self._since = self._reading_until = 0.0
        self._due: float | None = None
        """When the shortest stream was last thought to end."""

    def ready(self) -> None:
        """Serve from now on."""
        self.state = ReplicaState.READY
        self.usable = True
        self._look()

    def retire(self) -> None:
        """Take no more requests."""
        self.retiring, self.usable, self.free = True, False, False
        self.state = ReplicaState.DRAINING

    def lose(self) -> list[Work]:
        """End at once; what it worked on."""
        self.retire()
        self.state = ReplicaState.STOPPED
        work, self._work, self._streams, self._due = list(self._work), {}, [], None
        return work

    def lend(self, watch: Watch | None = None) -> None:  # noqa: ARG002  # a clock of its own has nothing to watch
        """Count a request in."""
        self.in_flight += 1
        self._look()

    def release(self) -> None:
        """Count a request out."""
        self.in_flight -= 1
        self._look()
        if self.in_flight == 0 and self.on_idle is not None:
            self.on_idle(self)

    def begin(self, work: Work) -> None:
        """Work on a request that was counted in."""
        self._advance()
        self._work[work] = None
        start = max(self._agenda.now, self._reading_until)
        self._reading_until = start + work.prompt_tokens / self._model.prefill_tokens_s
        self._agenda.at(self._reading_until, self._read, work)

    def abandon(self, work: Work) -> None:
        """Work on a request no more."""
        if self._work.pop(work, self) is None:
            self._advance()
            self._streams = [each for each in self._streams if each[2] is not work]
            self._streams.sort()
            self._plan()

    def _look(self) -> None:
        self.free = self.usable and self.in_flight < self._model.parallel

    def _rate(self) -> float:
        """Tokens a second of each stream, now."""
        return self._rates[min(len(self._streams), self._model.parallel)]

    def _read(self, work: Work) -> None:
        """A prompt has been read: its stream begins."""
        if work not in self._work:
            return
        self._advance()
        self._number += 1
        heappush(self._streams, (self._grown + work.completion_tokens, self._number, work))
        work.first_token()
        self._plan()

    def _advance(self) -> None:
        """Let the streams grow up to now; not while a prompt was read."""
        now = self._agenda.now
        if self._streams:
            begin = max(self._since, min(now, self._reading_until))
            self._grown += (now - begin) * self._rate()
        self._since = now

    def _plan(self) -> None:
        """Put down when the shortest stream ends, unless something sooner is put down: that looks again."""
        if not self._streams:
            self._due = None
            return
        left = self._streams[0][0] - self._grown
        begin = max(self._agenda.now, self._reading_until)
        due = begin + max(0.0, left) / self._rate()
        if self._due is None or due < self._due:
            self._due = due
            self._agenda.at(due, self._end, due)

    def _end(self, due: float) -> None:
        """See which streams have ended."""
        if due != self._due:
            return
        self._due = None
        self._advance()
        streams, ended = self._streams, []
        while streams and streams[0][0] - self._grown <= _ALMOST:
            work = heappop(streams)[2]
            del self._work[work]
            ended.append(work)
        self._plan()
        for work in ended:
            work.finished()
