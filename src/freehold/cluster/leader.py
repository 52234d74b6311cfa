"""Who of several gateways leads the cluster that they share: a lease, by one clock. No I/O and no clock of its own.

The lease is one row of the gateways' database. Whoever asks reads the row and the database's time, has `led` say what
becomes of it, and writes that if the row still is what was read. So there is never more than one who leads by that
clock, and each who comes to has an epoch of his own, one more than the one before.
"""

from dataclasses import replace
from typing import Final

from freehold.types.lead import Lead

LEASE_S: Final = 10.0
"""For how long one leads who says nothing more."""
MARGIN_S: Final = 2.0
"""So much earlier he decides nothing more himself, by his own clock, counted from before he asked."""
_SECOND_US: Final = 1_000_000


def led(before: Lead, who: str, epoch: int, now_us: int, *, wants: bool) -> Lead:
    """What becomes of a lease when a gateway asks for it: renewed, taken, given up, or the same.

    Args:
        before: as it is.
        who: the gateway's name. Whoever has it now is no other process of that name that still lives.
        epoch: in which this process has it; 0 where it never had.
        now_us: the database's time.
        wants: whether it wants to lead.
    """
    own = before.holder == who
    if own and before.epoch == epoch and before.lives(now_us):
        return replace(before, expires_us=now_us + round(LEASE_S * _SECOND_US) if wants else now_us)
    if not wants or (before.lives(now_us) and not own):
        return before
    return Lead(who, before.epoch + 1, now_us, now_us + round(LEASE_S * _SECOND_US))
