"""The cluster of an application: this machine, or what its settings name."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.cluster.authority import Authority
from freehold.cluster.base import Cluster
from freehold.cluster.desk import ArbiterDesk, RoomDesk, Unasked
from freehold.cluster.local import LocalCluster
from freehold.cluster.orphans import Orphans
from freehold.cluster.ray import RayCluster, RayPlace
from freehold.cluster.ray_node import running_node, token_of
from freehold.config import Settings, read_secret
from freehold.encryption.opening import open_master_keys
from freehold.encryption.shared_secret import AUTHORITY, shared_secret
from freehold.engines.cores import logical_cores
from freehold.gateway.arbitration import Arbitration
from freehold.governance.digests import derived
from freehold.governance.directory import ORGANIZATION, Directory
from freehold.governance.policies import PolicyRegistry
from freehold.journal.recorder import Recorder
from freehold.serving.leading import Leading
from freehold.store import postgres
from freehold.store.database import PARAM, Database
from freehold.store.home import Home
from freehold.store.leading import LeadStore
from freehold.types.cluster import Resources
from freehold.types.cluster_settings import ClusterSettings

_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"


@asynccontextmanager
async def open_cluster(home: Home, settings: Settings, database: Database) -> AsyncIterator[Cluster]:
    """Where engines and jobs run; a Ray cluster is joined when the first of them is to be started.

    Raises:
        ConfigError: the cluster's token is not there.
    """
    said = settings.cluster
    if said.address is None:
        cluster: Cluster = LocalCluster(_stated(said), said.zone)
    else:
        node = running_node(home.cluster)
        place = RayPlace(
            said.address,
            read_secret(said.token) if said.token else token_of(home.cluster),
            home.cluster,
            partial(authority_of, home, settings, database),
            said.node_address or (node.address if node is not None else None),
            said.start_timeout_s,
            said.orphan_grace,
            namespace=f"freehold-{derived(home.pepper(), b'freehold cluster namespace').hex()[:16]}",
            gateway=database.gateway or home.cluster_name(),
        )
        cluster = RayCluster(place, home.cluster_name())
    try:
        yield cluster
    finally:
        await cluster.close()


async def authority_of(home: Home, settings: Settings, database: Database) -> Authority:
    """The home's authority, equipped: of its own folder or, where gateways share a database, of that."""
    if not database.is_shared:
        return await asyncio.to_thread(Authority.load_or_make, home.cluster)

    def make() -> bytes:
        found = Authority.load(home.cluster) or Authority.new()
        return found.key_pem + found.certificate_pem

    async with open_master_keys(home.master_key, settings.encryption) as masters:
        secret = await shared_secret(database, masters, AUTHORITY, make)
    key, mark, certificate = secret.partition(_CERTIFICATE)
    authority = Authority.of_pem(key, mark + certificate)
    await asyncio.to_thread(authority.equip, home.cluster)
    (home.cluster / "ca.key").unlink(missing_ok=True)  # it is in the database, under the master key
    return authority


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
async def open_desk(
    settings: Settings, cluster: Cluster, journal: Recorder | None, left: Callable[[str], bool] | None
) -> AsyncIterator[RoomDesk]:
    """Where room on a cluster is asked for: the arbiter decides where it is known what there is.

    Args:
        settings: the configuration.
        cluster: whose room it is.
        journal: where decisions are recorded; None where nothing is to be placed.
        left: whether there is a deployment of a name, for engines that an earlier run has left on the cluster; None
            where these are found otherwise, or there cannot be any.
    """
    said = settings.cluster
    if journal is None or (said.address is None and not said.counted):
        yield Unasked()
        return
    arbiter = Arbiter(settings.share, overdue_s=settings.arbiter.overdue_s)
    orphans = None if left is None else Orphans(cluster, left)
    async with ArbiterDesk(arbiter, cluster, Arbitration(journal), orphans=orphans) as desk:
        yield desk


@asynccontextmanager
async def open_sharing(
    home: Home, settings: Settings, database: Database, cluster: Cluster, desk: RoomDesk, running: bool
) -> AsyncIterator[Leading | None]:
    """What shares the replicas of a cluster with the database's other gateways; None where there is nothing to share.

    Args:
        home: of the gateway.
        settings: the configuration.
        database: of the gateways.
        cluster: what they share.
        desk: where room on it is asked for.
        running: whether any engine is to run.
    """
    if not running or settings.cluster.address is None or database.url is None or not isinstance(desk, ArbiterDesk):
        yield None
        return
    connect = partial(postgres.connect, database.url, PARAM)
    board = LeadStore(connect, postgres.failures(PARAM), database.shown)
    async with Leading(board, database.gateway, cluster, _DeskOfLead(desk, settings), home.cluster) as leading:
        desk.check = leading.check
        yield leading


class _DeskOfLead:
    """See `freehold.serving.board.Follows`: the arbiter, anew whenever the lead changes."""

    def __init__(self, desk: ArbiterDesk, settings: Settings) -> None:
        self._desk = desk
        self._settings = settings

    def begin(self, epoch: int) -> None:
        """See `Follows.begin`."""
        if isinstance(self._desk.minutes, Arbitration):
            self._desk.minutes.epoch = epoch
        self._anew()

    async def look(self) -> None:
        """See `Follows.look`."""
        await self._desk.look()

    def draining(self) -> list[str]:
        """See `Follows.draining`."""
        return self._desk.draining()

    def end(self) -> None:
        """See `Follows.end`."""
        self._anew()

    def _anew(self) -> None:
        arbiter = Arbiter(self._settings.share, overdue_s=self._settings.arbiter.overdue_s)
        self._desk.begin_anew(arbiter, "Another gateway begins to lead the cluster.")


class Owners:
    """Who owns projects, and where policies permit their work to be; see `freehold.cluster.desk.Ownership`.

    Args:
        directory: of organizations and projects.
        policies: those in force.
    """

    def __init__(self, directory: Directory, policies: PolicyRegistry) -> None:
        self._directory = directory
        self._policies = policies

    def organization_of(self, project_id: str | None) -> str:
        """The organization of a project; without one, or of one that is gone, that which runs the service."""
        for organization in self._directory.organizations():
            if any(project.id == project_id for project in self._directory.projects(organization.id, archived=True)):
                return organization.id
        return ORGANIZATION

    def permits_zone(self, organization_id: str, project_id: str | None, zone: str | None) -> bool:
        """Whether work may run in a zone."""
        return self._policies.current.permits_zone(organization_id, project_id, zone)


def govern_desk(desk: RoomDesk, directory: Directory, policies: PolicyRegistry) -> None:
    """Have the desk know who owns what, where there is an arbiter."""
    if isinstance(desk, ArbiterDesk):
        desk.govern(Owners(directory, policies))
