"""The way of one request, as `freehold.gateway.pipeline` has it, with nothing waiting: admit, route, try again, settle.

What decides is the service's own: the ledger, the lending of replicas and their queues, what may be tried again, and
which fallback is asked. Credentials, policies and content filters are not simulated; they take no capacity.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from freehold.errors import EngineUnavailable, FreeholdError, Overloaded, QuotaExceeded, RateLimited
from freehold.gateway.books import fallback_may_have_room, subjects_of
from freehold.gateway.bounds import BYTES_PER_TOKEN, MESSAGE_TOKENS, TEMPLATE_TOKENS, text_bounds
from freehold.gateway.ledger import Grant, Ledger
from freehold.gateway.routing import MAX_TRIES, Tries, may_try_again, patience_of
from freehold.governance.limits import effective, limits_of
from freehold.serving.choice import Wish
from freehold.serving.queue import Waiter
from freehold.simulation.agenda import Agenda
from freehold.simulation.callers import Asker
from freehold.simulation.deployment import Deployment
from freehold.simulation.engine import Replica
from freehold.simulation.scenario import Deployed, Scenario
from freehold.simulation.tally import Outcome, Tally, reason_of
from freehold.types.engine import Feature
from freehold.types.limits import Claim, Subject
from freehold.types.price import FREE, Price, price_at

_EXTRA: Final = TEMPLATE_TOKENS + MESSAGE_TOKENS
_NEEDS: Final = frozenset({Feature.CHAT})
_WISH: Final = Wish(_NEEDS)


class Request:
    """One request.

    Args:
        asker: whose it is.
        prompt_tokens: that it has.
        completion_tokens: that its answer will have.
        gateway: where it came.
        arrived: when, seconds since the beginning.
    """

    __slots__ = (
        "arrived", "asker", "attempt", "avoid", "candidates", "completion_tokens", "first", "gateway", "grant", "lent",
        "outcome", "position", "price", "prompt_tokens", "replica", "settled_micro", "tries", "waiter",
    )  # fmt: skip

    def __init__(
        self, asker: Asker, prompt_tokens: int, completion_tokens: int, gateway: "Gateway", arrived: float
    ) -> None:
        self.asker = asker
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = completion_tokens
        self.gateway = gateway
        self.arrived = arrived
        self.candidates = asker.candidates
        self.grant: Grant | None = None
        self.price: Price = FREE
        self.position = 0
        self.attempt = 1
        self.avoid: frozenset[str] = frozenset()
        self.replica: Replica | None = None
        self.waiter: Waiting | None = None
        self.tries: Tries | None = None
        self.lent: float | None = None
        self.first: float | None = None
        self.outcome: Outcome | None = None
        self.settled_micro = 0

    def first_token(self) -> None:
        """The prompt has been read."""
        if self.first is None:
            self.first = self.gateway.agenda.now

    def finished(self) -> None:
        """The answer is complete."""
        self.gateway.finished(self)

    @property
    def finished_well(self) -> bool:
        """Whether its answer is complete."""
        return self.outcome is Outcome.FINISHED


class Waiting(Waiter[Wish, tuple[Replica, None]]):
    """A request that waits for a replica; it looks again as soon as what woke it is over."""

    def __init__(self, request: Request, wish: Wish, patience_s: float) -> None:
        super().__init__(request.asker.tier, wish, patience_s)
        self.request = request
        self.refusal: Overloaded | None = None
        self._called = False

    def wake(self) -> None:
        """Let it look again."""
        if not self._called:
            self._called = True
            gateway = self.request.gateway
            gateway.agenda.soon(gateway.look, self)

    def refuse(self, refusal: Overloaded) -> None:
        """Tell it that it waits in vain."""
        self.refusal = refusal
        self.wake()

    def looks(self) -> None:
        """It does; whoever wakes it from now on has it look once more."""
        self._called = False


class Gateway:
    """All callers come here.

    Args:
        scenario: its limits and prices hold.
        agenda: the time.
        deployments: by their names.
        tally: what is counted.
    """

    def __init__(self, scenario: Scenario, agenda: Agenda, deployments: dict[str, Deployment], tally: Tally) -> None:
        self.agenda = agenda
        self.tally = tally
        self.deployments = deployments
        self.limits = {Subject(each.scope, each.id): limits_of(each) for each in scenario.limit}
        self.ledger = Ledger(partial(effective, self.limits), agenda.wall)
        self.running: dict[Request, None] = {}
        self.on_close: Callable[[Request], None] | None = None
        self._prices: dict[tuple[str, int], Price] = {}

    def ask(self, asker: Asker, prompt_tokens: int, completion_tokens: int) -> Request:
        """Take a request, and everything that comes of it."""
        request = Request(asker, prompt_tokens, completion_tokens, self, self.agenda.now)
        self.running[request] = None
        self.tally.arrived[asker.rank] += 1
        try:
            self._admit(request)
        except RateLimited as exc:
            self._refused(request, exc)
        else:
            self._route(request)
        return request

    def finished(self, request: Request) -> None:
        """An answer is complete."""
        replica = request.replica
        assert replica is not None, "whoever answers has a replica"
        deployment = request.candidates[request.position]
        request.replica = None
        deployment.tokens += request.completion_tokens
        deployment.tokens_read += request.prompt_tokens
        deployment.lending.give_back(replica)
        self._close(request, Outcome.FINISHED, request.prompt_tokens, request.completion_tokens)

    def lost(self, request: Request) -> None:
        """A request's replica is gone: try once more, or go elsewhere, unless the answer had begun."""
        replica, deployment = request.replica, request.candidates[request.position]
        assert replica is not None, "what is lost had been lent"
        request.replica = None
        replica.release()
        if request.tries is None:
            request.tries = Tries()
        request.tries.failed += 1
        started, alone = request.first is not None, deployment.wanted <= 1
        if not alone:
            request.avoid |= {replica.id}
        last = request.position == len(request.candidates) - 1
        if may_try_again(
            request.attempt, MAX_TRIES, request.tries, started=started, reached=True, elsewhere=alone and not last
        ):
            request.attempt += 1
            self._route(request)
        elif started or request.tries.spent:
            self._close(request, Outcome.BROKEN, 0, 0)
        else:
            self._spill(request, None)

    def look(self, waiting: Waiting) -> None:
        """Have a request that was woken look whether its turn has come."""
        waiting.looks()
        request = waiting.request
        if request.waiter is not waiting:
            return
        if waiting.grant is None:
            try:
                if waiting.refusal is not None:
                    raise waiting.refusal
                self._wait(waiting, request.candidates[request.position].lending.consider(waiting))
            except (EngineUnavailable, Overloaded) as exc:
                self._leave(request)
                self._spill(request, exc)
                return
        if waiting.grant is not None:
            self._leave(request)
            self._begin(request, waiting.grant[0])

    def _admit(self, request: Request) -> None:
        """Reserve on the first candidate that has room, as `Books.admit` does.

        Raises:
            RateLimited: none has.
        """
        last = len(request.candidates) - 1
        for position in range(last + 1):
            claim, price = self._claim(request, position)
            try:
                request.grant = self.ledger.reserve(claim)
            except RateLimited as exc:
                if position == last or not fallback_may_have_room(exc):
                    raise
                continue
            request.position, request.price = position, price
            return

    def _claim(self, request: Request, position: int) -> tuple[Claim, Price]:
        asker, deployment = request.asker, request.candidates[position]
        settings = deployment.settings
        price = FREE
        now = self.agenda.wall()
        if settings.price:
            price = self._price(settings, now)
        bounds = text_bounds(request.prompt_tokens * BYTES_PER_TOKEN, _EXTRA, settings.context_length, asker.max_tokens)
        cost = price.bound_micro(prompt_tokens=bounds.prompt_tokens, completion_tokens=bounds.completion_tokens)
        subjects = subjects_of(asker.organization, asker.project, "", deployment.name, None, None)
        tokens = bounds.likely_prompt_tokens + bounds.likely_completion_tokens
        return Claim(subjects, tokens, cost, now), price

    def _route(self, request: Request) -> None:
        """Get a replica of the present candidate, or wait for one."""
        wish = _WISH if not request.avoid else Wish(_NEEDS, request.avoid)
        lending = request.candidates[request.position].lending
        grant = lending.at_once(wish)
        if grant is not None:
            request.candidates[request.position].used()
            self._begin(request, grant[0])
            return
        waiting = Waiting(request, wish, patience_of(request.position, len(request.candidates)))
        request.candidates[request.position].load()
        try:
            left_s = lending.enter(waiting)
        except (EngineUnavailable, Overloaded) as exc:
            self._spill(request, exc)
            return
        request.waiter = waiting
        if waiting.grant is None:
            self._wait(waiting, left_s)
            if request.asker.gives_up_s is not None:
                self.agenda.at(request.arrived + request.asker.gives_up_s, self._give_up, waiting)

    def _wait(self, waiting: Waiting, left_s: float | None) -> None:
        if waiting.grant is None and left_s is not None:
            self.agenda.at(self.agenda.now + left_s, self.look, waiting)

    def _give_up(self, waiting: Waiting) -> None:
        request = waiting.request
        if request.waiter is waiting and waiting.grant is None:
            self._leave(request)
            self._close(request, Outcome.GAVE_UP, 0, 0)

    def _leave(self, request: Request) -> None:
        assert request.waiter is not None, "only who waits can leave"
        request.candidates[request.position].lending.leave(request.waiter)
        request.waiter = None

    def _begin(self, request: Request, replica: Replica) -> None:
        request.replica = replica
        if request.lent is None:
            request.lent = self.agenda.now
        replica.begin(request)

    def _spill(self, request: Request, failure: FreeholdError | None) -> None:
        """Go on to the next fallback that has room, as `Router.spill` does."""
        grant = request.grant
        assert grant is not None, "only what was admitted can move"
        while request.position < len(request.candidates) - 1:
            request.position += 1
            claim, price = self._claim(request, request.position)
            try:
                grant.move(claim)
            except RateLimited as exc:
                failure = failure or exc
                continue
            request.price, request.attempt, request.avoid = price, 1, frozenset()
            self._route(request)
            return
        if failure is None:
            self._close(request, Outcome.BROKEN, 0, 0)
        else:
            self._refused(request, failure)

    def _refused(self, request: Request, refusal: FreeholdError) -> None:
        if isinstance(refusal, QuotaExceeded):
            outcome = Outcome.OVER_BUDGET
        elif isinstance(refusal, Overloaded):
            outcome = Outcome.OVERLOADED
        elif isinstance(refusal, RateLimited):
            outcome = Outcome.RATE_LIMITED
        else:
            outcome = Outcome.UNAVAILABLE
        self.tally.reasons[reason_of(refusal)] += 1
        self._close(request, outcome, 0, 0)

    def _close(self, request: Request, outcome: Outcome, prompt_tokens: int, completion_tokens: int) -> None:
        """Settle, and count what came of it; once."""
        assert request.outcome is None, "a request has exactly one outcome"
        request.outcome = outcome
        del self.running[request]
        if request.grant is not None:
            cost = request.price.cost_micro(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
            charge = request.grant.settle(prompt_tokens + completion_tokens, cost)
            request.settled_micro = charge.cost_micro
        waited = None if request.lent is None else request.lent - request.arrived
        first = None if request.first is None else request.first - request.arrived
        asker = request.asker
        self.tally.closed(asker.rank, outcome, waited, first, asker.organization, request.settled_micro)
        if self.on_close is not None:
            self.on_close(request)

    def _price(self, settings: Deployed, now: float) -> Price:
        """The price of the day."""
        key = settings.name, int(now // 86_400)
        found = self._prices.get(key)
        if found is None:
            found = self._prices[key] = price_at(settings.price, now)
        return found
