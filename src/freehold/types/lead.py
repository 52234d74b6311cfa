"""The lease of the lead over a cluster that several gateways share, as a value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lead:
    """A lease of the lead; the first has never been anybody's.

    Args:
        holder: the gateway's name.
        epoch: how often it has changed hands.
        since_us: since when the holder has it; microseconds since the epoch of Unix, as the others.
        expires_us: when it ends unless it is renewed.
    """

    holder: str = ""
    epoch: int = 0
    since_us: int = 0
    expires_us: int = 0

    def lives(self, now_us: int) -> bool:
        """Whether somebody leads at that time."""
        return now_us < self.expires_us
