"""What the supervisor shows of deployments and replicas, and what it lends: values only."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from freehold.engines.base import Connection, EngineSpec
from freehold.serving.own_use import OwnUse
from freehold.serving.prompt_cache import PromptCacheStatus, Watch
from freehold.types.address import Address
from freehold.types.deployment import ReplicaState
from freehold.types.engine import Traits
from freehold.types.values import value_class


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """One replica, as an administrator sees it.

    Args:
        id: names the replica for as long as it lives, restarts included.
        pid: the engine's process id; None while there is none, and for engines that are elsewhere.
        restarts: how often its engine was started again.
        error: what went wrong last, with the engine's last lines, until it is ready again. May name paths.
        progress: what it is doing while it is being fetched or started, such as "downloading 35 %".
        in_flight: requests that it works on.
        started_at: when its present engine was started, in seconds since 1970.
        engine: the engine's name.
        nodes: the ids of the cluster's nodes where its engine runs, the one that is spoken to first; none while there
            is no engine, or it is elsewhere.
    """

    id: str
    state: ReplicaState
    pid: int | None
    restarts: int
    error: str | None
    progress: str | None
    in_flight: int
    started_at: float | None
    engine: str = ""
    nodes: tuple[str, ...] = ()

    @property
    def node(self) -> str | None:
        """The node that is spoken to."""
        return self.nodes[0] if self.nodes else None


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """One of the engines of a deployment with `engine = "auto"`.

    Args:
        engine: its name.
        state: as a deployment's; `left_out` where it serves nothing.
        why: why it is left out; None where it is not.
    """

    engine: str
    state: str
    why: str | None = None


@dataclass(frozen=True, slots=True)
class ScaleStatus:
    """How many replicas a deployment with `autoscale` is to have now, between how many, and why."""

    min: int
    max: int
    wanted: int
    reason: str


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """One deployment, as an administrator sees it.

    Args:
        state: `ready` if any replica is, else `starting`, `fetching`, `unhealthy` or `backing_off`; `unloaded`
            where the next request loads it; `stopped` where it is scaled to 0.
        traits: what the engine turned out to be; None until one was ready.
        waiting: requests that wait for a replica.
        lanes: the engines that `auto` stands for, the fastest first; none where the deployment names its engine.
        prompt_cache: how requests are sent to what has read their prompts; None where there are no two replicas.
        scale: how many replicas there are to be; None where the settings say it.
    """

    name: str
    state: str
    replicas: tuple[ReplicaStatus, ...]
    traits: Traits | None
    waiting: int = 0
    lanes: tuple[LaneStatus, ...] = ()
    prompt_cache: PromptCacheStatus | None = None
    scale: ScaleStatus | None = None


ENGINE_CHOICE: Final = "engine_choice"
"""The name under which a receipt tells `Lease.choice`."""

StateListener: TypeAlias = Callable[[str, ReplicaStatus], None]
"""Is told the deployment's name and the replica's new status."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where an engine is, for another process that makes a connection of its own to it.

    Args:
        spec: what it was started with.
        address: where it listens.
    """

    spec: EngineSpec
    address: Address


@value_class
class Lease:
    """A replica, lent for one request.

    Args:
        replica_id: names the replica.
        connection: the way to its engine.
        traits: what the engine turned out to be.
        engine: the engine's name.
        weights_sha256: digest of the model's file, in hex; empty for an engine that loads none.
        own: told of calls that the service makes for itself.
        choice: why `engine = "auto"` chose this engine; None where the deployment names its engine.
        watch: to be told of the answer's first piece and of its usage; None where nobody wants to know.
        whereabouts: of the engine, where this process has started it.
    """

    replica_id: str
    connection: Connection
    traits: Traits
    engine: str
    weights_sha256: str
    own: OwnUse
    _report: Callable[[Connection, BaseException], None] = field(repr=False, compare=False)
    choice: str | None = None
    watch: Watch | None = field(default=None, repr=False, compare=False)
    whereabouts: Whereabouts | None = field(default=None, repr=False, compare=False)

    def report(self, error: BaseException) -> None:
        """Tell what went wrong with the request; where the engine may be at fault, it is probed at once."""
        self._report(self.connection, error)
