"""How provisioned units are dealt out between gateways: one leaky bucket, of which each has a slice to take.

Pure, as `freehold.gateway.leases_pool`, of which this is the part for units; the tests' simulation and the transactions
of the database run it. What is in the bucket is computed from what all gateways say that their requests take, by the
moment at which each began (`Slice.taken`, absolute amounts: saying so twice is the same as once). So a correction is
as exact as with one gateway: it changes what was taken at its moment, and the level follows (Lindley's recursion,
`freehold.gateway.capacity_bucket`). What began before any request that still runs anywhere is folded into the level of
a moment, `Pool.updated_us`. Where the units were changed meanwhile, each stretch runs out as fast as it did.

What holds after every step: what is in the bucket and the slices together come to no more than the bucket's size, and
what the last request goes beyond. What is held does not run out. A gateway that falls silent, or starts anew, may have
taken all that it held, so that counts as taken, and once; where it died, that much is lost.
"""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import chain
from typing import Final

from freehold.types.leases import LEASE_US, REST, SET_BACK_US, Ask, Pool, Slice, Taken, Told

HISTORY_US: Final = 300_000_000
"""After so long what a request takes is not corrected any more: one that turns out larger takes the rest then, and what
one turns out smaller is not given back."""
_PRESSED_US: Final = 2_000_000
_PART: Final = 4
"""Ahead of need at most this part of what is left is given to one gateway, divided by how many there are."""
_FORMER: Final = 20
"""Of so many former limits the moments are known: gateways may disagree until all have heard of a change."""


def settle_units(pool: Pool, holder: str, ask: Ask, now_us: int) -> Told:
    """Take in what a gateway says, deal out what it wants, and tell it. Changes `pool`.

    Args:
        pool: the account.
        holder: who speaks.
        ask: what it says.
        now_us: the database's clock; where it went backwards, nothing runs out for that moment.
    """
    latest_us = max(pool.updated_us, *(each.seen_us for each in pool.slices.values()), 0)
    if now_us < latest_us - SET_BACK_US:
        _set_back(pool, latest_us, now_us)
    now_us = max(now_us, pool.updated_us, *(each.seen_us for each in pool.slices.values()))
    _limit(pool, ask.limit, now_us)
    for name in [name for name, each in pool.slices.items() if name != REST and now_us - each.seen_us > LEASE_US]:
        bury(pool, name, now_us)
    fresh = holder not in pool.slices
    own = pool.slices.setdefault(holder, Slice())
    own.amount, own.used = ask.used if fresh else max(ask.keep, ask.used), ask.used
    own.taken = () if fresh else _since(ask.taken, pool.updated_us)
    own.oldest_us, own.seen_us, own.spent = min(now_us, ask.oldest_us or now_us), now_us, ask.spent
    _fold(pool, now_us)
    level, others = level_at(pool, now_us), [each for name, each in pool.slices.items() if name not in {holder, REST}]
    elsewhere = sum(each.unused for each in others)
    left = ask.size - level - elsewhere - own.unused
    pressed = left < 0 or any(each.short_us and now_us - each.short_us <= _PRESSED_US for each in others)
    given = _given(ask, own, left, len(others), pressed=pressed)
    own.amount += given
    own.short_us = now_us if elsewhere and own.unused < ask.least and level < ask.size else 0
    told = Told(
        ask.account,
        own.amount,
        left - given,
        elsewhere,
        pressed,
        sum(each.spent for each in others),
        0,
        level,
        now_us,
        pool.updated_us,
        fresh,
    )
    if ask.closing:
        bury(pool, holder, now_us)
    return told


def _limit(pool: Pool, limit: int, now_us: int) -> None:
    """Have it run out as fast as a limit says from now on; what was before stays as it was."""
    if pool.updated_us and limit != pool.limit:
        pool.former = (*pool.former, (now_us, pool.limit))
        if len(pool.former) > _FORMER:
            (_, one), (until_us, other), *rest = pool.former
            pool.former = ((until_us, min(one, other)), *rest)  # it runs out late rather than early
    pool.updated_us, pool.limit = pool.updated_us or now_us, limit


def _set_back(pool: Pool, from_us: int, to_us: int) -> None:
    """Go on by a clock that was set back: all speak as if for the first time, and what they held counts as taken."""
    pool.used = level_at(pool, from_us) + sum(each.unused for each in pool.slices.values())
    pool.updated_us, pool.former = to_us, ()
    pool.slices.clear()


def bury(pool: Pool, holder: str, now_us: int) -> None:
    """Have a gateway hold nothing any more; what it held and had not used counts as taken now. Changes `pool`."""
    gone = pool.slices.pop(holder, None)
    if gone is not None:
        rest = pool.slices.setdefault(REST, Slice(seen_us=now_us))
        held = ((now_us, gone.unused),) if gone.unused else ()
        rest.taken = tuple(sorted((*rest.taken, *gone.taken, *held)))
        rest.seen_us = max(rest.seen_us, now_us)
        if not rest.taken:
            del pool.slices[REST]


def level_at(pool: Pool, now_us: int) -> int:
    """What is in the bucket; what is said to have begun later counts as begun now."""
    return _run_out(pool, chain.from_iterable(each.taken for each in pool.slices.values()), now_us)


def _fold(pool: Pool, now_us: int) -> None:
    """Bring the moment forward before which nothing can change any more."""
    oldest_us = min((each.oldest_us - 1 for name, each in pool.slices.items() if name != REST), default=now_us)
    final_us = max(pool.updated_us, min(now_us, max(oldest_us, now_us - HISTORY_US)))
    over: list[tuple[int, int]] = []
    for each in pool.slices.values():
        rest = _since(each.taken, final_us)
        over += each.taken[: len(each.taken) - len(rest)]
        each.taken = rest
    pool.used, pool.updated_us = _run_out(pool, over, final_us), final_us
    pool.former = _since(pool.former, final_us)
    if REST in pool.slices and not pool.slices[REST].taken:
        del pool.slices[REST]


def _run_out(pool: Pool, taken: Iterable[tuple[int, int]], now_us: int) -> int:
    """What is in the bucket at a time, after what was taken."""
    level, then_us, limit = pool.used, pool.updated_us, pool.limit
    changed_us = pool.former[-1][0] if pool.former else 0
    entries = sorted(taken)
    later = bisect_right(entries, now_us, key=_moment)
    for began_us, amount in entries[:later]:  # several thousand where many streams are long: no call for each
        level -= limit * (began_us - then_us) if then_us >= changed_us else _work(pool, then_us, began_us)
        level = level + amount if level > 0 else amount
        then_us = began_us
    return max(0, level - _work(pool, then_us, now_us)) + sum(amount for _, amount in entries[later:])


def _work(pool: Pool, from_us: int, to_us: int) -> int:
    """How much can run out in a stretch of time."""
    work = 0
    for until_us, limit in pool.former:
        if until_us > from_us:
            before_us, from_us = from_us, min(until_us, to_us)
            work += limit * (from_us - before_us)
    return work + pool.limit * (to_us - from_us)


def _since(taken: Taken, moment_us: int) -> Taken:
    """What came after a moment, of what stands in the order of time."""
    return taken[bisect_right(taken, moment_us, key=_moment) :]


def _moment(entry: tuple[int, int]) -> int:
    return entry[0]


def _given(ask: Ask, own: Slice, left: int, others: int, *, pressed: bool) -> int:
    """How much more than it keeps a gateway gets.

    While the bucket is not full, the smallest request that waits there gets all that it lacks, however large it is.
    """
    if ask.closing or left <= 0:
        return 0
    lacking = max(0, ask.least - own.unused)
    rest = left - lacking
    if rest <= 0:
        return lacking
    needed = min(rest, max(0, ask.need - own.unused - lacking))
    if pressed:
        return lacking + needed
    ahead = (rest - needed) // (_PART * (others + 1))
    return lacking + needed + min(ahead, max(0, ask.need + ask.target - own.unused - lacking - needed))
