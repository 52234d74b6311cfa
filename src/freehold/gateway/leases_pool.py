"""How the gateways' slices of a limit are dealt out: what becomes of an account when one of them speaks.

Pure: the simulation of the tests and the transactions of the database run this same code. What holds after every step,
whatever was lost on the way and whoever died:

- money and slots: the slices come to no more than the limit, but for what was used when the limit was set anew or
  lowered. What a gateway has used is within its slice, so all of them together stay within the limit;
- rates: what the bucket lacks and what is held unused come to no more than the limit, as in one bucket. A slice is
  taken out of the bucket when it is given, and what is held does not refill: a bucket is never full while something of
  it is in hand elsewhere. What is given back is as if it had never been taken.

Amounts are absolute, and one gateway alone changes its own slice (upwards here, downwards by what it says it keeps). So
an answer that never arrives leaves it with less than it has here, and the next answer mends that; asking twice is the
same as asking once.
"""

from collections.abc import Iterable
from typing import Final

from freehold.gateway.capacity_pool import settle_units
from freehold.gateway.rate import UNIT
from freehold.types.leases import LEASE_US, SET_BACK_US, UNITS, Account, Ask, Pool, Slice, Told

_PRESSED_US: Final = 2_000_000
"""For how long others give back what they do not use after a gateway has lacked it."""
_SMALL: Final = 50
"""A request that asks for less than this part of a minute's limit is a small one."""
_PART: Final = 4
"""Ahead of need at most this part of what is left is given to one gateway, divided by how many there are: the less is
left, the smaller are the slices, and the last of it goes to whoever asks."""


def settle(pool: Pool, holder: str, ask: Ask, now_us: int) -> Told:
    """Take in what a gateway says, deal out what it wants, and tell it. Changes `pool`.

    Args:
        pool: the account.
        holder: who speaks.
        ask: what it says.
        now_us: the database's clock; where it went backwards, nothing refills for that moment.
    """
    if ask.account.measure == UNITS:
        return settle_units(pool, holder, ask, now_us)
    pass_time(pool, ask.account, ask.limit, now_us)
    now_us = pool.updated_us
    others = [each for name, each in pool.slices.items() if name != holder]
    own = pool.slices.setdefault(holder, Slice())
    left = _settle_rate(pool, own, ask) if ask.account.rated else _settle_sum(own, others, ask)
    living = [each for each in others if not _silent(each, now_us)]
    elsewhere = sum(each.unused for each in living)
    pressed = left < 0 or any(each.short_us and now_us - each.short_us <= _PRESSED_US for each in living)
    given = _given(ask, own, left, len(living), pressed=pressed)
    if ask.account.rated:
        pool.used += given
    own.amount += given
    left -= given
    own.short_us = now_us if _short(ask, own, left + elsewhere) else 0
    own.spent = max(own.spent, ask.spent)
    own.seen_us = now_us
    told = Told(ask.account, own.amount, left, elsewhere, pressed, *_of_others(others, now_us))
    if ask.closing and ask.account.expires and not own.unused:
        del pool.slices[holder]
    return told


def pass_time(pool: Pool, account: Account, limit: int, now_us: int) -> None:
    """Have an account be as the time makes it: a bucket refills, and slices of the silent end. Changes `pool`."""
    if now_us < pool.updated_us - SET_BACK_US:  # else nothing would refill until it has caught up
        pool.updated_us = now_us
        for each in pool.slices.values():
            each.seen_us, each.short_us = min(each.seen_us, now_us), min(each.short_us, now_us)
    elapsed_us, pool.updated_us = max(0, now_us - pool.updated_us), max(now_us, pool.updated_us)
    before, pool.limit = pool.limit, limit
    if not account.expires:
        return
    for name in [name for name, each in pool.slices.items() if _silent(each, pool.updated_us)]:
        del pool.slices[name]  # of a rate, what it held refills from now on as if it were used
    if account.rated:
        if limit < before:
            pool.used = min(pool.used, limit * UNIT)  # of a lower limit nobody waits longer than from empty
        pool.used = max(_held(pool), pool.used - limit * elapsed_us)


def _settle_rate(pool: Pool, own: Slice, ask: Ask) -> int:
    """Take in what was used of a bucket and what is given back; what is left then."""
    kept = max(ask.keep, ask.used)
    if own.seen_us:
        pool.used += kept - own.amount  # more where a request turned out larger than it seemed, on credit
    else:
        pool.used += kept - ask.used  # it is new, or has ended: what was used is counted, what is held is taken anew
    own.amount, own.used = kept, ask.used
    pool.used = max(pool.used, _held(pool))
    return ask.limit * UNIT - pool.used


def _settle_sum(own: Slice, others: Iterable[Slice], ask: Ask) -> int:
    """Take in what was used of a sum and what is given back; what is left then."""
    own.amount, own.used = max(ask.keep, ask.used), ask.used
    return ask.limit - own.amount - sum(each.amount for each in others)


def _given(ask: Ask, own: Slice, left: int, others: int, *, pressed: bool) -> int:
    """How much of what is left a gateway gets more than it keeps.

    What the smallest request that waits there lacks is given whole or not at all: halves of it in two places would let
    neither go on.
    """
    if ask.closing or left <= 0:
        return 0
    lacking = max(0, ask.least - own.unused)
    if lacking > left:
        return 0
    needed = min(left, max(0, ask.need - own.unused))
    if pressed:
        return needed
    ahead = (left - needed) // (_PART * (others + 1))
    return needed + min(ahead, max(0, ask.need + ask.target - own.unused - needed))


def _short(ask: Ask, own: Slice, more: int) -> bool:
    """Whether a gateway lacks what there is, but elsewhere.

    Of a rate that matters to large requests only: what a small one lacks has refilled before others have given it back.
    """
    small = ask.account.rated and ask.least * _SMALL < ask.limit * UNIT
    return not small and own.unused < ask.least <= own.unused + more


def _held(pool: Pool) -> int:
    """What is held and not used."""
    return sum(each.unused for each in pool.slices.values())


def _silent(each: Slice, now_us: int) -> bool:
    return now_us - each.seen_us > LEASE_US


def _of_others(others: Iterable[Slice], now_us: int) -> tuple[int, int]:
    """What others have spent, and what they have used; of the dead nobody knows, so it is all that they hold."""
    spent = used = 0
    for each in others:
        spent += each.spent
        used += each.amount if _silent(each, now_us) else each.used
    return spent, used
