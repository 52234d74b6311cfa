"""The thread in which everything is generated: one pipeline, stepped while there is an answer to write.

The library's pipeline is of one thread at a time, requests may only be added between two steps, and a step keeps the
interpreter for itself (it does not let go of the lock). So all of it is done here, text included, and what has come is
handed over once a step. Without requests the thread sleeps.
"""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from freehold.engines.openvino_answer import Answer, Next, Order, Piece
from freehold.engines.openvino_genai import openvino_genai
from freehold.engines.openvino_text_model import TextModel

BROKEN_STATUS: Final = 70
"""The exit status where the library has failed within a step, after which its state cannot be trusted."""


class Full(Exception):
    """As many requests wait as may."""


class Ticket:
    """One request on its way.

    Args:
        order: what is wanted.
        answer: what has come of it.
    """

    def __init__(self, order: Order, answer: Answer) -> None:
        self.order = order
        self.answer = answer
        self.handle: Any = None


@dataclass(slots=True)
class Counts:
    """What was done since the start."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


Delivery = Sequence[tuple[Ticket, Piece]]


class Stepper:
    """Generates answers, many at once.

    Args:
        model: writes them.
        parallel: how many at once.
        max_waiting: how many more may wait.
        deliver: is called from the thread with what one step has added, and must not wait.
    """

    def __init__(
        self, model: TextModel, *, parallel: int, max_waiting: int, deliver: Callable[[Delivery], None]
    ) -> None:
        self.counts = Counts()
        self._model = model
        self._parallel = parallel
        self._max_waiting = max_waiting
        self._deliver = deliver
        self._condition = threading.Condition()
        self._waiting: deque[Ticket] = deque()
        self._gone: set[Ticket] = set()
        self._calls: list[Callable[[], object]] = []
        self._running: list[Ticket] = []
        self._numbers = 0
        self._owed = False

    def start(self) -> None:
        """Begin to work; the thread ends with the process."""
        threading.Thread(target=self._work, name="stepping", daemon=True).start()

    @property
    def active(self) -> int:
        """How many requests there are, waiting ones included."""
        return len(self._running) + len(self._waiting)

    def submit(self, order: Order) -> Ticket:
        """Ask for an answer; its pieces are delivered, the last with a finish.

        Raises:
            Full: too many are waiting.
        """
        ticket = Ticket(order, Answer(order, self._model.vocabulary, self._model.encode))
        with self._condition:
            if len(self._running) + len(self._waiting) >= self._parallel + self._max_waiting:
                raise Full
            self._waiting.append(ticket)
            self._condition.notify()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Stop working on an answer; nothing of it is delivered any more."""
        with self._condition:
            self._gone.add(ticket)
            self._condition.notify()

    def call(self, function: Callable[[], object]) -> None:
        """Call a function from the thread, between two steps: a sign that it goes on."""
        with self._condition:
            self._calls.append(function)
            self._condition.notify()

    # In the thread

    def _work(self) -> None:
        try:
            while True:
                self._round()
        except (RuntimeError, ValueError, TypeError, LookupError, MemoryError, AttributeError) as exc:
            sys.stderr.write(f"generating failed: {type(exc).__name__}: {' '.join(str(exc).split())}\n")
            sys.stderr.flush()
            os._exit(BROKEN_STATUS)

    def _round(self) -> None:
        """Take what has arrived, and make one step."""
        with self._condition:
            while not (self._waiting or self._gone or self._calls or self._running or self._owed):
                self._condition.wait()
            calls, self._calls = self._calls, []
            gone, self._gone = self._gone, set()
            for ticket in gone:
                self._leave(ticket)
            begun = []
            while self._waiting and len(self._running) < self._parallel:
                begun.append(self._waiting.popleft())
                self._running.append(begun[-1])
        for function in calls:
            function()
        for ticket in begun:
            self.counts.prompt_tokens += len(ticket.order.prompt)
            self._begin(ticket)
        if self._running or self._owed:
            self._model.pipeline.step()
            self._owed = False
            self._hand_over()

    def _leave(self, ticket: Ticket) -> None:
        """Forget a request whose caller has gone."""
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        elif ticket in self._running:
            self._running.remove(ticket)
            self.counts.completion_tokens += len(ticket.answer.tokens)
            self._give_up(ticket)

    def _begin(self, ticket: Ticket) -> None:
        answer, order = ticket.answer, ticket.order
        self._numbers += 1
        prompt = answer.prompt
        ticket.handle = self._model.begin(
            self._numbers, prompt, order.sampling, answer.left, answer.grammar, answer.anew
        )

    def _give_up(self, ticket: Ticket) -> None:
        """Let the pipeline free what a request has, which it does at the next step."""
        ticket.handle.cancel()
        ticket.handle = None
        self._owed = True

    def _hand_over(self) -> None:
        """Read what the step has made, and deliver it."""
        delivery: list[tuple[Ticket, Piece]] = []
        for ticket in list(self._running):
            what_next = self._read(ticket)
            piece = ticket.answer.piece()
            if piece is not None:
                delivery.append((ticket, piece))
            if what_next is Next.END:
                self._running.remove(ticket)
                self.counts.requests += 1
                self.counts.completion_tokens += len(ticket.answer.tokens)
            elif what_next is Next.BEGIN_ANEW:
                self._begin(ticket)
        if delivery:
            self._deliver(delivery)

    def _read(self, ticket: Ticket) -> Next:
        """Give the answer its new tokens."""
        handle = ticket.handle
        while handle.can_read():
            for output in handle.read().values():
                for token, logprob in zip(output.generated_ids, output.generated_log_probs, strict=True):
                    what_next = ticket.answer.take(token, logprob)
                    if what_next is not Next.GO_ON:
                        if handle.get_status() == openvino_genai.GenerationStatus.RUNNING:
                            self._give_up(ticket)
                        return what_next
        if handle.get_status() != openvino_genai.GenerationStatus.RUNNING:
            raise RuntimeError(f"the pipeline gave up a request: {handle.get_status()}")
        return Next.GO_ON
