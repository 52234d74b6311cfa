"""Leases: parts of a limit that one of several gateways may give out by itself.

Money is micro-units, rates are in the 60-millionths of `freehold.gateway.rate`, slots are requests, provisioned units
are in parts of `freehold.types.capacity.UNIT_MINUTE`. Moments are microseconds of the database's clock.
"""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from freehold.types.values import value_class

REQUESTS: Final = "requests"
TOKENS: Final = "tokens"
CONCURRENT: Final = "concurrent"
UNITS: Final = "units"
LEASE_US: Final = 15_000_000
"""How long a slice of a rate, of slots or of units lasts after its gateway spoke last. A gateway that was silent for
longer counts as dead also where money is concerned: what it holds is not expected back."""
SET_BACK_US: Final = 15_000_000
"""A database's clock that is so far behind what was seen of it was set back; by less, transactions overtake another."""
RATES: Final = frozenset({REQUESTS, TOKENS})
REST: Final = ""
"""In the place of a gateway's id: what was taken of units by those that hold nothing any more."""

Taken: TypeAlias = tuple[tuple[int, int], ...]
"""Amounts by moments: what requests take of units, by that at which they began."""


@value_class
class Account:
    """One limit of one subject.

    Args:
        measure: `requests` or `tokens` a minute, `concurrent` requests, provisioned `units`, or the day (`2026-11-24`)
            or the month (`2026-11`) that money is counted in.
        subject: whose, as `scope:id`; of units `deployment:name`, and `#project` where they are a project's own.
    """

    measure: str
    subject: str

    @property
    def rated(self) -> bool:
        """Whether it is a bucket that refills."""
        return self.measure in RATES

    @property
    def expires(self) -> bool:
        """Whether a slice of it ends by itself; one of money lasts as long as its day or month."""
        return self.rated or self.measure in {CONCURRENT, UNITS}


@dataclass(slots=True)
class Slice:
    """What one gateway holds of an account.

    Args:
        amount: how much it may have used in all: since the day or month began, or since the slice did; for slots, how
            many may run.
        used: how much of that it has used or reserved, as it said last.
        spent: of money, what is settled; of units, what requests of the last minute take in a minute.
        seen_us: when it spoke last.
        short_us: when it lacked last what others hold; 0 where it does not.
        oldest_us: of units, what began before that is settled for good.
        taken: of units, what was taken since `Pool.updated_us`, in the order of time.
    """

    amount: int = 0
    used: int = 0
    spent: int = 0
    seen_us: int = 0
    short_us: int = 0
    oldest_us: int = 0
    taken: Taken = ()

    @property
    def unused(self) -> int:
        """What it could still give out."""
        return max(0, self.amount - self.used)


@dataclass(slots=True)
class Pool:
    """All that is known of an account, by the gateways that hold something of it.

    Args:
        limit: the limit as whoever spoke last knows it.
        used: of a bucket, what it lacks as of `updated_us`; of units, what was in theirs then.
        updated_us: when it was looked at last; of units, the moment before which nothing can change any more.
        slices: by holder.
        former: of units, the limits that held since `updated_us` before the present one: until when, and how much.
    """

    limit: int = 0
    used: int = 0
    updated_us: int = 0
    slices: dict[str, Slice] = field(default_factory=dict)
    former: Taken = ()


@value_class
class Ask:
    """What a gateway says of one account, and wants of it. Amounts are on the scale of `Slice.amount`.

    Args:
        account: which.
        limit: its limit: micro-units, units a minute, or slots; of units what they do in a microsecond.
        used: what the gateway has used and reserved.
        spent: of money, what is settled.
        keep: how far it will go in any case: never above the amount that it knows of, and binding from the moment on in
            which the question is asked. What is above, it gives back.
        least: what the smallest request needs that waits; 0 where none does.
        need: what all that wait need.
        target: how much it would like to hold beyond that.
        closing: whether it will not come again soon; nothing is wanted then.
        size: of units, what their bucket holds.
        oldest_us: of units, as `Slice.oldest_us`.
        taken: of units, what was taken since the moment that it was told of last, in the order of time.
    """

    account: Account
    limit: int
    used: int
    spent: int = 0
    keep: int = 0
    least: int = 0
    need: int = 0
    target: int = 0
    closing: bool = False
    size: int = 0
    oldest_us: int = 0
    taken: Taken = ()


@value_class
class Told:
    """What a gateway is told of an account.

    Args:
        account: which.
        amount: how far it may go.
        left: what nobody holds; negative while more is out than the limit.
        elsewhere: what other living gateways hold and do not use.
        pressed: whether another gateway lacks what this one may hold.
        spent: of money, what others have settled.
        used: what others have used or reserved, or could have where nobody knows.
        level: of units, what is in their bucket.
        now_us: of units, when that is so.
        final_us: of units, the moment before which nothing can change any more.
        fresh: of units, whether nothing was known of what this gateway had: what it took before is counted otherwise.
    """

    account: Account
    amount: int
    left: int
    elsewhere: int
    pressed: bool
    spent: int
    used: int
    level: int = 0
    now_us: int = 0
    final_us: int = 0
    fresh: bool = False


@value_class
class Need:
    """What a request lacks of an account, and other gateways or nobody may hold.

    Args:
        account: of what.
        amount: how much the request asks for in all.
    """

    account: Account
    amount: int
