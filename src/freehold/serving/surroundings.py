"""What all deployments of a supervisor share."""

from collections.abc import Callable
from dataclasses import dataclass

from freehold.cluster.base import Cluster
from freehold.cluster.desk import RoomDesk
from freehold.config import SupervisorSettings
from freehold.engines.auto import Plan
from freehold.engines.base import Engine
from freehold.serving.preparation import Prepare
from freehold.serving.sharing import Sharing
from freehold.serving.sockets import SocketFolder
from freehold.serving.status import ReplicaStatus
from freehold.types.deployment import DeploymentSettings


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all deployments of a supervisor share.

    Args:
        limits: times and intervals.
        sockets: where the engines listen.
        prepare: makes the specification of an engine, with the options that were measured to be best.
        prepare_bare: the same without those.
        find_engine: gives an engine by its name.
        drain_s: how long running requests may go on when their replica is taken away.
        new_replica_id: the next replica's id, from the deployment's name.
        on_change: told of every change of a replica's state.
        plan: says which engines are to serve a deployment.
        cluster: where engines run.
        desk: where room for them is asked for.
        sharing: what is known of other gateways that use the same replicas; None where there are none.
    """

    limits: SupervisorSettings
    sockets: SocketFolder
    prepare: Prepare
    prepare_bare: Prepare
    find_engine: Callable[[str], Engine]
    drain_s: float
    new_replica_id: Callable[[str], str]
    on_change: Callable[[str, ReplicaStatus], None]
    plan: Callable[[DeploymentSettings], Plan]
    cluster: Cluster
    desk: RoomDesk
    sharing: Sharing | None = None
