"""What the arbiter decides: values that whoever asked carries out, and that the journal keeps."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Waiting(StrEnum):
    """Why something waits."""

    NO_ROOM = "no_room"
    """Nothing that may be taken from anybody would make enough room."""
    MAKING_ROOM = "making_room"
    """Others were asked to make room for it."""
    PREEMPTED = "preempted"
    """It made room for others, and goes on when there is room again."""


class Refusal(StrEnum):
    """Why something is refused."""

    OUTSIDE_ZONES = "outside_zones"
    """There would be nodes for it, but not where it may run."""
    NEVER_FITS = "never_fits"
    """Not even on an empty cluster."""


class Taken(StrEnum):
    """Why something has to end at once."""

    OVERDUE = "overdue"
    """It was asked to make room and has not within its time."""
    NODE_LOST = "node_lost"
    """A node that it ran on is gone."""
    UNWANTED = "unwanted"
    """An earlier run of the gateway has left it, and no deployment has a use for it as it is."""


@dataclass(frozen=True, slots=True)
class Place:
    """Start it now.

    Args:
        workload: its id.
        nodes: the node's id for each member, in the members' order.
        at_s: when it was decided.
    """

    workload: str
    nodes: tuple[str, ...]
    at_s: float


@dataclass(frozen=True, slots=True)
class Resume(Place):
    """Start it again, from its checkpoint: it ran before."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """It runs already, and stays where it is.

    Args:
        workload: its id.
        nodes: as of `Place`.
        at_s: likewise.
    """

    workload: str
    nodes: tuple[str, ...]
    at_s: float


@dataclass(frozen=True, slots=True)
class Preempt:
    """Ask it to write a checkpoint and end; whoever runs it says `yielded` when it has.

    Args:
        workload: its id.
        in_favour_of: the id of what gets its room; None where its node is drained.
        deadline_s: when it is ended without its consent (`Take`).
        at_s: when it was decided.
    """

    workload: str
    in_favour_of: str | None
    deadline_s: float
    at_s: float


@dataclass(frozen=True, slots=True)
class Take:
    """End it at once, all of its members; whoever runs it says `yielded`, or `release`, when they are gone."""

    workload: str
    reason: Taken
    at_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """It waits; it is placed when its turn comes."""

    workload: str
    reason: Waiting
    at_s: float


@dataclass(frozen=True, slots=True)
class Refuse:
    """It is never placed, and forgotten. `detail` says in words what is lacking."""

    workload: str
    reason: Refusal
    detail: str
    at_s: float


Decision: TypeAlias = Place | Adopt | Preempt | Take | Wait | Refuse
"""`Resume` is a `Place`."""
