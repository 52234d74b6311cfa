"""Limits per minute as token buckets: full at first, emptied by use, refilled evenly over the minute.

Amounts are integers throughout, so nothing is lost to rounding: a bucket counts 60-millionths of a unit, of which
the refill of a limit of n a minute brings n in a microsecond. What a bucket lacks (`used`) is kept rather than what
it holds.

A request takes its estimate when it begins and is corrected when it ends. What it gives back is at most what the
refill has not brought back since: otherwise a request that ran for an hour would make room for others that never had
to wait. So in any stretch of time, what the requests begun in it use is at most the limit and the refill of that time.
"""

from freehold.types.leases import Need

UNIT = 60_000_000
"""One request or token, as buckets count."""


class Bucket:
    """What a limit per minute has left. Times are microseconds of one clock; amounts are whole units if not said else.

    Args:
        limit: units a minute; also how many it holds when full.
        now_us: the time.
    """

    __slots__ = ("_updated_us", "limit", "refilled", "used")

    def __init__(self, limit: int, now_us: int) -> None:
        self.limit = limit
        self.used = 0
        """What it lacks, in 60-millionths; more than the limit while it is overdrawn."""
        self.refilled = 0
        """What has come back in all, in 60-millionths."""
        self._updated_us = now_us

    def refill(self, now_us: int) -> None:
        """Bring it up to the time. A clock that was set back brings nothing for that stretch, and takes nothing."""
        elapsed_us = now_us - self._updated_us
        if elapsed_us:
            self._updated_us = now_us
            used = self.used
            if elapsed_us > 0 and used:
                amount = self.limit * elapsed_us
                self.refilled += amount
                self.used = used - amount if used > amount else 0

    def _return(self, amount: int) -> None:
        self.refilled += amount
        self.used = self.used - amount if self.used > amount else 0

    def wait_us(self, amount: int) -> int | None:
        """How long until it holds an amount (60-millionths), as of its last refill; None if it never will.

        Nothing is always there, also while the bucket is overdrawn.
        """
        lacking = self.used + amount - self.limit * UNIT
        if amount <= 0 or lacking <= 0:
            return 0
        return None if amount > self.limit * UNIT else -(-lacking // self.limit)

    def has(self, amount: int, now_us: int) -> bool:
        """Whether it holds an amount (60-millionths) now: `refill`, and then `wait_us` that is 0."""
        elapsed_us = now_us - self._updated_us
        used = self.used
        if elapsed_us:
            self._updated_us = now_us
            if elapsed_us > 0 and used:
                returned = self.limit * elapsed_us
                self.refilled += returned
                self.used = used = used - returned if used > returned else 0
        return used + amount <= self.limit * UNIT or amount <= 0

    def take(self, amount: int) -> None:
        """Count an amount (60-millionths) as used, or give it back where it is negative; nothing is checked."""
        self.used += amount

    def need(self, _amount: int) -> Need | None:
        """What to ask others for where an amount is not here; None if that cannot help, as for one ledger."""
        return None

    @property
    def remaining(self) -> int:
        """Whole units in it; 0 while it is overdrawn."""
        left = self.limit * UNIT - self.used
        return left // UNIT if left > 0 else 0

    def left(self, now_us: int) -> int:
        """`remaining`, brought up to the time."""
        elapsed_us = now_us - self._updated_us
        used = self.used
        if elapsed_us:
            self._updated_us = now_us
            if elapsed_us > 0 and used:
                returned = self.limit * elapsed_us
                self.refilled += returned
                self.used = used = used - returned if used > returned else 0
        left = self.limit * UNIT - used
        return left // UNIT if left > 0 else 0

    @property
    def full_in_us(self) -> int:
        """How long until it is full; 0 where the limit is nothing, for it is as full as it gets."""
        return -(-self.used // self.limit) if self.limit else 0

    @property
    def lacking(self) -> int:
        """Units that it lacks, begun ones included."""
        return -(-self.used // UNIT)

    def recall(self, amount: int) -> None:
        """Count use from before a restart; as little is left as ever, but no one waits longer than from empty."""
        self.used = min(self.used + amount * UNIT, self.limit * UNIT)

    def change(self, limit: int, now_us: int) -> None:
        """Go on with another limit.

        What is used stays used; of a lower limit the same share is, so that nobody waits the longer for it.
        """
        self.refill(now_us)
        if limit < self.limit:
            self._return(self.used - -(-self.used * limit // self.limit))
        self.limit = limit


class Draught:
    """What one request has taken from one bucket.

    Args:
        bucket: brought up to the time.
        amount: whole units.
    """

    __slots__ = ("_left", "_refilled_before", "_taken", "bucket")

    def __init__(self, bucket: Bucket, amount: int) -> None:
        self.bucket = bucket
        self._taken = self._left = amount * UNIT
        self._refilled_before = bucket.refilled
        bucket.take(self._taken)

    def wait_us(self, amount: int) -> int | None:
        """How long until the bucket holds what is lacking to an amount in all; None if it never will.

        As of the bucket's last refill.
        """
        more = amount * UNIT - self._taken
        if more > 0 and amount > self.bucket.limit:
            return None
        return self.bucket.wait_us(more)

    def need(self, amount: int) -> Need | None:
        """See `Bucket.need`, for an amount in all."""
        return self.bucket.need(amount * UNIT - self._taken)

    def correct(self, amount: int, now_us: int) -> None:
        """Have it be an amount in all: take the rest, even on credit, or give back what the refill has not."""
        bucket = self.bucket
        bucket.refill(now_us)
        left = self._left - (bucket.refilled - self._refilled_before)
        left = max(left, 0)
        change = amount * UNIT - self._taken
        change = max(change, -left)
        self._taken += change
        self._left = left + change
        self._refilled_before = bucket.refilled
        bucket.take(change)


def duration(us: int) -> str:
    """A time as Go writes it, and OpenAI with it: `850ms`, `1s`, `7.66s`, `6m0s`, `1h0m0s`; rounded up to 1 ms."""
    ms = -(-us // 1000)
    if ms < 1000:
        return f"{ms}ms" if ms else "0s"
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{seconds}.{ms:03}".rstrip("0") if ms else str(seconds)
    if hours:
        return f"{hours}h{minutes}m{text}s"
    return f"{minutes}m{text}s" if minutes else f"{text}s"
