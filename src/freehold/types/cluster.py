"""A cluster's values: machines, what is wanted of them, and what was decided.

Times are seconds since the epoch, memory is bytes, and devices are accelerators.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Annotated, Final

from pydantic import Field

from freehold.types.base import SettingsModel

OWN_ADDRESS: Final = "@own-address@"
"""Stands in the arguments and the environment of a process, until it is placed, for the address of its node."""
MASTER_ADDRESS: Final = "@master-address@"
"""Likewise for the address of the node that has the first process of several that belong together."""
MASTER_PORT: Final = "@master-port@"
"""Likewise for a port there on which the first may listen for the others."""
NODE_HOME: Final = "@node-home@"
"""Stands in the arguments of a job's process, until it is started, for the home folder of its node's machine."""


class WorkClass(IntEnum):
    """Whose work goes first: a smaller number does. Callers of the API, then products, then research."""

    API = 0
    PRODUCT = 1
    RESEARCH = 2


class NodeState(StrEnum):
    """How a node is. Nothing new is placed on one that drains; what was on a lost one has ended."""

    READY = "ready"
    DRAINING = "draining"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Resources:
    """What a node has, or what one member of a workload needs.

    Args:
        cores: processor cores; parts of one are allowed.
        memory_bytes: main memory.
        devices: accelerators, whole ones.
        device_kind: of which kind, as the node says (`NVIDIA H100`); None where any does, or there are none.
    """

    cores: float = 0.0
    memory_bytes: int = 0
    devices: int = 0
    device_kind: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of the cluster.

    Args:
        id: names it for as long as it is a member.
        name: for people, such as its host name.
        zone: where it stands, as the organization calls it; None where nobody has said.
        total: all that it has.
        free: what nothing is placed on.
        state: how it is.
    """

    id: str
    name: str
    zone: str | None
    total: Resources
    free: Resources
    state: NodeState = NodeState.READY


@dataclass(frozen=True, slots=True)
class Workload:
    """Something that runs on the cluster: one replica, or one job with all its processes.

    Args:
        id: of the replica or the job.
        work_class: whose work it is.
        organization_id: on whose share it counts.
        project_id: likewise, within the organization; None where it is nobody's own, as a deployment for all.
        members: what each process needs; all of them are placed at once (a gang), or none.
        zones: where it may run; None for anywhere.
        queued_at_s: since when it waits, or waited.
        checkpoint_s: how long it may take to write a checkpoint before its devices are taken; None for what is never
            taken from.
        apart: a name that it shares with those from whose nodes it keeps away where it can, as replicas of one
            deployment do; None for what may be anywhere. Only for workloads of one member.
    """

    id: str
    work_class: WorkClass
    organization_id: str
    project_id: str | None
    members: tuple[Resources, ...]
    zones: frozenset[str] | None
    queued_at_s: float
    checkpoint_s: float | None = None
    apart: str | None = None


class ShareSettings(SettingsModel):
    """`[[share]]`: what an organization, or one of its projects, is due of the cluster, and where it may run."""

    organization: Annotated[str, Field(min_length=1, max_length=64)]
    """The organization's id."""
    project: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """The project's id; without one it is the whole organization's share."""
    weight: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0
    """How much it is due, compared with the others of its class; those without a share have 1."""
    zones: Annotated[list[str], Field(min_length=1)] | None = None
    """The only zones where its work may run; without them anywhere."""

    @property
    def owner(self) -> tuple[str, str | None]:
        """Whose it is."""
        return self.organization, self.project
