"""Why a request is over a limit, in the words that OpenAI's clients know, and when it may come again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf

from freehold.errors import QuotaExceeded, RateLimited
from freehold.gateway.rate import Bucket, duration
from freehold.types.leases import Need
from freehold.types.limits import Scope, Subject
from freehold.types.money import decimal_from_micro

MICROSECONDS = 1_000_000

_CROWDED_S = 1.0
"""After how long a request that found too many running may try again: when one ends is not known."""

_MUST_BE_REDUCED = "The input or output tokens must be reduced in order to run successfully."


@dataclass(frozen=True, slots=True)
class Refusal:
    """One limit that has no room.

    Args:
        subject: whose limit it is.
        limit: which one, and whose.
        message: which limit, and the numbers.
        retry_after_s: when there is room again; None if there never is for this request.
        budget: whether it is a budget.
        need: what is worth asking other gateways for before the request is refused.
    """

    subject: Subject
    limit: str
    message: str
    retry_after_s: float | None
    budget: bool = False
    need: Need | None = None

    @property
    def weight(self) -> float:
        """The later there is room, the more it is what the caller must know."""
        return inf if self.retry_after_s is None else self.retry_after_s

    def error(self, headers: Mapping[str, str]) -> RateLimited:
        """As it is told to the caller."""
        kind = QuotaExceeded if self.budget else RateLimited
        return kind(
            self.message,
            retry_after_s=self.retry_after_s,
            scope=self.subject.scope,
            limit=self.limit,
            headers=headers,
        )


class Short(Exception):
    """This gateway holds too little of a limit, of which there may be more elsewhere.

    Args:
        needs: what is lacking, and of what.
        error: what the caller is told if it cannot be had.
    """

    def __init__(self, needs: Sequence[Need], error: RateLimited) -> None:
        super().__init__(error.message)
        self.needs = needs
        self.error = error


def over_rate(
    subject: Subject, what: str, bucket: Bucket, requested: int, wait_us: int | None, need: Need | None
) -> Refusal:
    """A limit per minute; `what` is its name, and `wait_us` None where the request is larger than the limit."""
    name = f"{_whose(subject)} on {what}"
    numbers = f"{name}: Limit {bucket.limit}"
    if wait_us is not None:
        text = f"Rate limit reached for {numbers}, Used {bucket.lacking}, Requested {requested}. {_again(wait_us)}"
        return Refusal(subject, name, text, wait_us / MICROSECONDS, need=need)
    if bucket.limit == 0:
        return Refusal(subject, name, f"Rate limit reached for {numbers}, Requested {requested}. It allows none.", None)
    return Refusal(subject, name, f"Request too large for {numbers}, Requested {requested}. {_MUST_BE_REDUCED}", None)


def over_concurrency(subject: Subject, limit: int, used: int, need: Need | None = None) -> Refusal:
    """A limit of concurrent requests."""
    name = f"{_whose(subject)} on concurrent requests"
    numbers = f"Rate limit reached for {name}: Limit {limit}, Used {used}, Requested 1."
    if limit == 0:
        return Refusal(subject, name, f"{numbers} It allows none.", None)
    return Refusal(subject, name, f"{numbers} {_again(round(_CROWDED_S * MICROSECONDS))}", _CROWDED_S, need=need)


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a budget is, what of it is gone, and what a request asks for; micro-units."""

    limit: int
    spent: int
    reserved: int
    requested: int


def over_budget(
    subject: Subject, period: str, amounts: Amounts, *, ends_at: int, now_s: float, need: Need | None = None
) -> Refusal:
    """A budget. `period` is `day` or `month`, and `ends_at` its end; moments are seconds since the epoch."""
    limit, spent, reserved, requested = (
        decimal_from_micro(micro) for micro in (amounts.limit, amounts.spent, amounts.reserved, amounts.requested)
    )
    name = f"the budget per {period} of {_whose(subject)}"
    if amounts.requested > amounts.limit > 0:
        text = f"Request too large for {name}: Limit {limit}, Requested {requested}. {_MUST_BE_REDUCED}"
        return Refusal(subject, name, text, None, budget=True)
    numbers = f"You exceeded {name}: Limit {limit}, Used {spent}, Reserved {reserved}, Requested {requested}."
    if amounts.limit == 0:
        return Refusal(subject, name, f"{numbers} It allows nothing that costs.", None, budget=True)
    if need is not None:
        text = f"{numbers} The rest is held by other gateways. {_again(round(_CROWDED_S * MICROSECONDS))}"
        return Refusal(subject, name, text, _CROWDED_S, budget=True, need=need)
    renewed = datetime.fromtimestamp(ends_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Refusal(subject, name, f"{numbers} It is renewed at {renewed}.", max(0.0, ends_at - now_s), budget=True)


def _whose(subject: Subject) -> str:
    """A subject by its name; an end user's is not known here, and its digest is nobody's business."""
    if subject.scope is Scope.END_USER:
        return "this end user"
    if subject.scope is Scope.PROJECT_DEPLOYMENT:
        project, _, deployment = subject.id.partition("/")
        return f"deployment `{deployment}` in project `{project}`"
    return f"{subject.scope} `{subject.id}`"


def _again(wait_us: int) -> str:
    return f"Please try again in {duration(wait_us)}."
