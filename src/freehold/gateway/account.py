"""The account of one request: what becomes known while it is served, and the receipt that it comes to.

Opened when the request arrives, closed exactly once when it ends, however it ends (`freehold.gateway.books`).
Times within are seconds: `started_at` since the epoch, the others on the clock of `time.perf_counter`.
"""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from hmac import HMAC
from types import MappingProxyType
from typing import Final, TypeAlias, TypeVar

from freehold.catalog.deployments import Deployment
from freehold.content_filter.report import Report
from freehold.errors import ContentFiltered, Draining, FreeholdError, RequestError, Suspended, Unauthenticated
from freehold.gateway.desk import Reservation
from freehold.gateway.flights import ClientGone
from freehold.governance.authorization import Decision, assure
from freehold.governance.digests import Digests
from freehold.journal.records import utc
from freehold.serving.status import ENGINE_CHOICE, Lease
from freehold.types.engine import Tier
from freehold.types.generation import Delta, Event, Usage
from freehold.types.identity import Principal
from freehold.types.images import PaintEvent, PartialPicture, Picture
from freehold.types.model import Retirement
from freehold.types.money import MICRO
from freehold.types.policy import Number, PolicyDecision
from freehold.types.price import FREE, Price
from freehold.types.receipt import Outcome, Receipt, Scalar
from freehold.types.values import value_class

Produced: TypeAlias = Event | PaintEvent
ProducedT = TypeVar("ProducedT", bound=Produced)

EVALUATED: Final = "eval_run"
"""The note of requests that a run of an evaluation makes: they are served by the deployment's own model, or by none."""
FILTERED_CODES = frozenset({ContentFiltered.default_code, "content_policy_violation"})
"""Codes of errors that say what must not pass: the filter's, and that of models which look at their own pictures."""


@value_class
class Admission:
    """What was reserved for a request, on which deployment, at which price.

    Args:
        deployment: the one that it was admitted to; another after a spillover.
        grant: the reservation.
        price: in force when the request began.
        prompt_tokens: an estimate, for the case that the engine never says.
    """

    deployment: Deployment
    grant: Reservation
    price: Price
    prompt_tokens: int


class Account:
    """What is known of one request so far.

    Args:
        request_id: names the request everywhere.
        route: the path of its operation.
        dialect: `openai` or `azure`.
        digests: make the keyed digests of what is sent.
    """

    # What stands here is what every account begins with; to set each of them anew would take time.
    closed = False
    principal: Principal | None = None
    end_user: str | None = None
    metadata: Mapping[str, str] | None = None
    requested: str | None = None
    authorization: str | None = None
    """Whether the caller may do what it asks, and why."""
    admission: Admission | None = None
    spilled_from: str | None = None
    spill_to: str | None = None
    """A deployment that the caller names for a spillover of this request."""
    lease: Lease | None = None
    served: Deployment | None = None
    """What serves in the deployment's place, as the candidate of a canary."""
    calls = 0
    tier = Tier.DEFAULT
    rated = True
    """Whether its tokens count on the limits per minute."""
    price_factor = MICRO
    """By which the deployment's price is multiplied, in millionths."""
    parameters: Mapping[str, Scalar] | None = None
    retirement: Retirement | None = None
    """When the deployment's model is retired, of which callers are told."""
    policy_sha256: str | None = None
    decision: PolicyDecision | None = None
    clamped: Mapping[str, Number] = MappingProxyType({})
    """What the policies have cut, and to what."""
    prompt_bytes = 0
    filter: Report | None = None
    """What the content filter did; None where the deployment's policy is off."""
    replay_of: str | None = None
    usage: Usage | None = None
    receipt: Receipt | None = None
    _prompt_digest: str | None = None
    _first_piece: float | None = None
    _last_piece: float | None = None
    _first_made: float | None = None
    _last_made: float | None = None
    _pieces = _images = _completion_bytes = 0
    _finish_reason: str | None = None

    def __init__(self, request_id: str, route: str, dialect: str, digests: Digests) -> None:
        self.request_id = request_id
        self.route, self.dialect = route, dialect
        self.started_at = time.time()
        self.started = utc(self.started_at)
        """The same as records have it."""
        self.notes: dict[str, Scalar] = {}
        """What stands among the parameters besides what was asked: which response something is done for."""
        self._digests = digests
        self._started = time.perf_counter()
        self._completion: dict[int, HMAC] = {}

    @property
    def elapsed_s(self) -> float:
        """Time since the request arrived."""
        return time.perf_counter() - self._started

    @property
    def first_piece_s(self) -> float | None:
        """Time until the first piece of the answer; None while there is none."""
        first, _ = self._piece_times()
        return None if first is None else first - self._started

    def _piece_times(self) -> tuple[float | None, float | None]:
        """When the first and the last piece were sent; of an answer that was held to its end, when they were made."""
        if self.filter is not None and self.filter.whole:
            return self._first_made, self._last_made
        return self._first_piece, self._last_piece

    @property
    def prompt_digest(self) -> str:
        """The keyed digest of what was asked; empty before it was read."""
        return self._prompt_digest or ""

    @property
    def deployment(self) -> Deployment | None:
        """The deployment that serves, or would have."""
        return self.admission.deployment if self.admission else None

    def prompt(self, body: bytes, size: int | None = None) -> None:
        """Note the request's body, or what stands for it and its size in bytes."""
        self.prompt_bytes = len(body) if size is None else size
        self._prompt_digest = self._digests.prompt(body)

    def decided(self, decision: Decision) -> None:
        """Note whether the caller may do what it asks, and why.

        Raises:
            Forbidden: it may not.
        """
        self.authorization = f"{'allow' if decision.allowed else 'deny'}: {decision.reason}"
        assure(decision)

    def refused(self, suspended: Suspended | None) -> None:
        """Note that nothing is done for the caller, or for the end user it acts for, if so.

        Raises:
            Suspended: nothing is.
        """
        if suspended is not None:
            self.authorization = "deny: suspended"
            raise suspended

    def called_by(self, end_user: str | None) -> None:
        """Note whom the caller acts for."""
        self.end_user = None if end_user is None else self._digests.end_user(end_user)

    def leased(self, lease: Lease, call: int, served: Deployment | None = None) -> None:
        """Note that an engine is about to be called, for the `call`-th time for one sequence, and of what."""
        self.lease = lease
        self.served = served
        self.calls = max(self.calls, call)
        if lease.choice is not None:
            self.notes[ENGINE_CHOICE] = lease.choice

    def produced(self, event: Produced) -> None:
        """Count what an engine made, whether or not it is sent."""
        if isinstance(event, Delta):
            if event.text or event.reasoning or event.tool_calls:
                self._pieces += event.pieces
            self._last_made = now = time.perf_counter()
            if self._first_made is None:
                self._first_made = now
        elif isinstance(event, Picture):
            self._images += 1

    def sent(self, event: Produced) -> None:
        """Note a piece of the answer on its way to the caller, or the usage."""
        if isinstance(event, Usage):
            self.usage = event
            return
        self._last_piece = now = time.perf_counter()
        if self._first_piece is None:
            self._first_piece = now
        if isinstance(event, PartialPicture | Picture):
            if isinstance(event, Picture):
                self._complete(event.index, event.data)
            return
        if event.finish_reason is not None and (
            self._finish_reason in {None, "stop"} or event.finish_reason == "content_filter"
        ):
            self._finish_reason = event.finish_reason
        text = event.text + event.reasoning
        for call in event.tool_calls:
            text += (call.name or "") + call.arguments
        if text:
            self._complete(event.choice, text.encode("utf-8", "surrogatepass"))

    def _complete(self, choice: int, data: bytes) -> None:
        """Add to a completion's digest and to the bytes of all."""
        digest = self._completion.get(choice)
        if digest is None:
            digest = self._completion[choice] = self._digests.completion()
        digest.update(data)
        self._completion_bytes += len(data)

    async def metered(
        self, first: ProducedT, rest: AsyncGenerator[ProducedT], *, counted: bool = False
    ) -> AsyncGenerator[ProducedT]:
        """The events of an answer that has begun, noted on their way; with `counted` they were counted before."""
        try:
            if not counted:
                self.produced(first)
            self.sent(first)
            yield first
            async for event in rest:
                if not counted:
                    self.produced(event)
                self.sent(event)
                yield event
        except BaseException:
            await rest.aclose()
            raise

    def estimated_usage(self) -> Usage:
        """What can be told of the usage without the engine."""
        return Usage(self.admission.prompt_tokens if self.admission else 0, self._pieces, estimated=True)

    def rest(self) -> None:
        """Give back what was reserved beyond what was used: the answer is whole, but this goes on without an engine."""
        if self.admission is not None:
            usage = self._used(Outcome.FINISHED)
            self.admission.grant.rest(usage.total_tokens, self._cost_micro(self.admission, usage))

    def close(self, error: FreeholdError | None, status: int) -> Receipt:
        """Settle what was reserved and make the receipt. Exactly once.

        Args:
            error: what the request ended with; None if it was answered.
            status: the HTTP status of the answer.
        """
        assert not self.closed, "an account is closed once"
        self.closed = True
        outcome = self._outcome(error)
        usage = self._used(outcome)
        cost_micro = excess_micro = 0
        if self.admission is not None:
            cost = self._cost_micro(self.admission, usage)
            tokens = usage.total_tokens if self.rated else 0
            charge = self.admission.grant.settle(tokens, 0 if outcome is Outcome.FAILED else cost)
            cost_micro, excess_micro = charge.cost_micro, charge.excess_micro
        self.receipt = self._receipt(error, status, outcome, usage, cost_micro, excess_micro)
        return self.receipt

    def waive(self) -> None:
        """Have nothing charged for what was done; what was used is told all the same."""
        if self.admission is not None:
            self.admission = replace(self.admission, price=FREE)

    def _cost_micro(self, admission: Admission, usage: Usage) -> int:
        """What usage costs at the price of an admission."""
        return admission.price.cost_micro(
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens,
            completion_tokens=usage.completion_tokens,
            images=self._images,
        )

    def _outcome(self, error: FreeholdError | None) -> Outcome:
        match error:
            case None:
                return Outcome.FILTERED if self._finish_reason == "content_filter" else Outcome.FINISHED
            case ClientGone():
                return Outcome.CANCELLED
            case Draining():
                return Outcome.REFUSED if self.admission is None else Outcome.INTERRUPTED
            case Unauthenticated() | Suspended() if self.admission is not None:
                return Outcome.CANCELLED
            case RequestError():
                return Outcome.FILTERED if error.code in FILTERED_CODES else Outcome.REFUSED
        return Outcome.FAILED

    def _used(self, outcome: Outcome) -> Usage:
        """The engine's own count, or what can be told without it."""
        if self.usage is not None:
            return self.usage
        if self.admission is None or outcome is Outcome.REFUSED:
            return Usage()
        if outcome is Outcome.FILTERED:
            return self.estimated_usage()
        if self.lease is None:
            return Usage()
        if outcome is Outcome.FAILED and not self._pieces:
            return Usage()
        return self.estimated_usage()

    def _receipt(  # as many facts as a receipt has
        self,
        error: FreeholdError | None,
        status: int,
        outcome: Outcome,
        usage: Usage,
        cost_micro: int,
        excess_micro: int,
    ) -> Receipt:
        duration_s, principal, deployment, lease = self.elapsed_s, self.principal, self.deployment, self.lease
        (first, last), per_token_us = self._piece_times(), None
        if first is not None and last is not None and usage.completion_tokens > 1:
            per_token_us = round((last - first) * 1e6 / (usage.completion_tokens - 1))
        settings = deployment.settings if deployment else None
        admission, parameters = self.admission, self.parameters
        facts = (  # by their places in a receipt, as names would take several times as long
            self.request_id,
            self.started,
            utc(self.started_at + duration_s),
            round(duration_s * 1e6),
            *(self.route, self.dialect, outcome, status, self.calls),
            None if error is None else error.code,
            self._finish_reason,
            *_who(principal),
            self.end_user,
            self.authorization,
            self.requested,
            deployment.name if deployment else None,
            self.spilled_from,
            (self.served or deployment).settings.model if deployment else None,
            *((lease.weights_sha256 or None, lease.engine, lease.replica_id) if lease else (None, None, None)),
            self.tier.value if admission else None,
            {**parameters, **self.notes} if parameters is not None else self.notes or None,
            lease.traits.template_sha256 if lease else None,
            self.policy_sha256,
            self.decision.record(self.clamped) if self.decision else None,
            settings.zone if settings else None,
            settings.content_filter if settings else None,
            deployment.config_sha256 if deployment else None,
            self._prompt_digest,
            self.prompt_bytes,
            self._completion_digest(),
            self._completion_bytes,
            *(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.reasoning_tokens),
            *(self._images, usage.estimated),
            None if first is None else round((first - self._started) * 1e6),
            per_token_us,
            self.filter.record() if self.filter else None,
            admission.price.version if admission and admission.price is not FREE else None,
            *(cost_micro, excess_micro, self.replay_of),
        )
        return Receipt._make(facts)

    def _completion_digest(self) -> str | None:
        """The digest of the one completion; of several, that of their digests in the order of the choices."""
        if not self._completion:
            return None
        if len(self._completion) == 1:
            return next(iter(self._completion.values())).hexdigest()
        joined = self._digests.completion()
        for choice in sorted(self._completion):
            joined.update(self._completion[choice].digest())
        return joined.hexdigest()


def _who(
    principal: Principal | None,
) -> tuple[str | None, str | None, str | None, Sequence[str] | None, str | None, str | None]:
    """Organization, project, member, roles, key and way of signing in, as receipts have them."""
    if principal is None:
        return None, None, None, None, None, None
    p = principal
    return p.organization_id, p.project_id, p.id, sorted(p.roles), p.key_id or None, p.auth_method
