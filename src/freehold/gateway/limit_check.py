"""Whether the limits of all on whom a request counts have room for it, and what is told where one has none."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from freehold.gateway.budget import Book
from freehold.gateway.leases_book import Holdings, crowded
from freehold.gateway.rate import UNIT, Draught
from freehold.gateway.refusal import MICROSECONDS, Amounts, Refusal, Short, over_budget, over_concurrency, over_rate
from freehold.gateway.standing import Standing, rate_headers
from freehold.types.limits import Claim

Held: TypeAlias = Mapping[str, Draught | None]
"""Subjects with which a request is counted already, and the tokens that it took there."""


def check_room(
    places: Sequence[Standing],
    claim: Claim,
    money: tuple[Book, Book],
    held: Held,
    now_us: int,
    leases: Holdings | None,
) -> None:
    """See that everybody has room for a request.

    Raises:
        RateLimited, QuotaExceeded: somebody has not. Of several the one that will have it last is told.
        Short: whoever has not may get it from other gateways.
    """
    refusals: list[Refusal] = []
    is_plain = leases is None and not held
    for standing in places:
        if standing.limited and not (is_plain and _has_room(standing, claim, money, now_us)):
            refusals += _refusals(standing, claim, held, now_us, leases)
            if claim.cost_micro:  # what costs nothing needs no money, not even from a budget that is spent
                refusals += _of_money(standing, claim.cost_micro, money, now_us, leases)
    if refusals:
        worst = max(refusals, key=lambda refusal: refusal.weight)
        error = worst.error(rate_headers(places, now_us))
        needs = [refusal.need for refusal in refusals if refusal.need is not None]
        raise Short(needs, error) if len(needs) == len(refusals) else error


def _has_room(standing: Standing, claim: Claim, money: tuple[Book, Book], now_us: int) -> bool:
    """Whether no limit of a subject is in the way of a new request of a gateway that shares none with others.

    As of nearly all requests: to ask for the refusals that there are not takes several times as long.
    """
    requests, tokens, limits = standing.requests, standing.tokens, standing.limits
    if tokens is not None and not tokens.has(claim.tokens * UNIT, now_us):
        return False
    if requests is not None and not requests.has(UNIT, now_us):
        return False
    if limits.concurrent_requests is not None and standing.open >= limits.concurrent_requests:
        return False
    micro, day, month = claim.cost_micro, limits.budget_per_day, limits.budget_per_month
    if not micro:
        return True
    return (day is None or money[0].has_room(standing.key, micro, day)) and (
        month is None or money[1].has_room(standing.key, micro, month)
    )


def _refusals(standing: Standing, claim: Claim, held: Held, now_us: int, leases: Holdings | None) -> Iterator[Refusal]:
    """Each limit of a subject that has no room, but for money."""
    subject, limits = standing.subject, standing.limits
    standing.refill(now_us)
    if standing.key not in held:
        if standing.requests is not None and (wait_us := standing.requests.wait_us(UNIT)) != 0:
            need = standing.requests.need(UNIT)
            yield over_rate(subject, "requests per minute (RPM)", standing.requests, 1, wait_us, need)
        if standing.tokens is not None and (wait_us := standing.tokens.wait_us(claim.tokens * UNIT)) != 0:
            need = standing.tokens.need(claim.tokens * UNIT)
            yield over_rate(subject, "tokens per minute (TPM)", standing.tokens, claim.tokens, wait_us, need)
        if limits.concurrent_requests is not None:
            if standing.open >= limits.concurrent_requests:
                yield over_concurrency(subject, limits.concurrent_requests, standing.open)
            elif (
                leases is not None
                and standing.slots is not None
                and (crowd := crowded(standing.slots, leases)) is not None
            ):
                yield over_concurrency(subject, limits.concurrent_requests, *crowd)
    elif standing.tokens is not None and (draught := held[standing.key]) is not None:
        # A limit that was set anew meanwhile has not counted the request, and does not begin now.
        wait_us = draught.wait_us(claim.tokens) if draught.bucket is standing.tokens else 0
        if wait_us != 0:
            need = draught.need(claim.tokens)
            yield over_rate(subject, "tokens per minute (TPM)", standing.tokens, claim.tokens, wait_us, need)


def _of_money(
    standing: Standing, cost_micro: int, money: tuple[Book, Book], now_us: int, leases: Holdings | None
) -> Iterator[Refusal]:
    """Each budget of a subject that has no room."""
    subject, limits = standing.subject, standing.limits
    for budget, period, book in (
        (limits.budget_per_day, "day", money[0]),
        (limits.budget_per_month, "month", money[1]),
    ):
        if budget is None:
            continue
        need, others = None, (0, 0)
        spent, reserved = book.spent.get(standing.key, 0), book.reserved.get(standing.key, 0)
        if leases is not None:
            room, others, need = leases.money(book, subject, standing.key, cost_micro)
            if room and spent + reserved + cost_micro <= budget:
                continue
        elif spent + reserved + cost_micro <= budget:
            continue
        amounts = Amounts(budget, spent + others[0], reserved + others[1], cost_micro)
        yield over_budget(subject, period, amounts, ends_at=book.ends_at, now_s=now_us / MICROSECONDS, need=need)
