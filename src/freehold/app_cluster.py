"""The cluster of an application: this machine, or what its settings name."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.cluster.base import Cluster
from freehold.cluster.desk import ArbiterDesk, RoomDesk, Unasked
from freehold.cluster.local import LocalCluster
from freehold.config import Settings
from freehold.engines.cores import logical_cores
from freehold.types.cluster import Resources
from freehold.types.cluster_settings import ClusterSettings


@asynccontextmanager
async def open_cluster(settings: Settings) -> AsyncIterator[Cluster]:
    """Where engines and jobs run."""
    cluster = LocalCluster(_stated(settings.cluster), settings.cluster.zone)
    try:
        yield cluster
    finally:
        await cluster.close()


def _stated(said: ClusterSettings) -> Resources | None:
    """What this machine has for engines and jobs; None where nobody has said, and nothing is counted."""
    if not said.counted:
        return None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Resources(
        cores=float(logical_cores()) if said.cores is None else said.cores,
        memory_bytes=memory if said.memory_bytes is None else said.memory_bytes,
        devices=said.devices or 0,
        device_kind=said.device_kind,
    )


@asynccontextmanager
async def open_desk(settings: Settings, cluster: Cluster) -> AsyncIterator[RoomDesk]:
    """Where room on a cluster is asked for: the arbiter decides where it is known what there is."""
    said = settings.cluster
    if said.address is None and not said.counted:
        yield Unasked()
        return
    async with ArbiterDesk(Arbiter(), cluster) as desk:
        yield desk
