"""What gateways of one database know of each other's calibrations."""

import asyncio
from collections.abc import Sequence

import pytest

from freehold.catalog.deployments import DeploymentRegistry
from freehold.gateway.capacity_office import CapacityOffice, open_capacity
from freehold.serving.room import THIS_MACHINE, Room
from freehold.store.calibration_rows import put_calibration
from freehold.store.database import Database
from freehold.types.cluster_settings import ClusterSettings
from freehold.types.deployment import DeploymentSettings
from tests.gateway.shared_database import gateways_of
from tests.postgres import PostgreSQL

CHAT = DeploymentSettings(name="chat", model="m", engine="echo")
MEASURED = {
    "deployment": "chat",
    "task": "chat",
    "model": "m",
    "engine": "echo",
    "version": "1",
    "weights_sha256": "",
    "fixed": "engine=echo",
    "replicas": 1,
    "prompt_per_s": 1000.0,
    "cached_per_s": None,
    "completion_per_s": 500.0,
    "images_per_s": 0.0,
    "levels": [],
    "disturbed": False,
    "measured_at": 1,
}


async def _room(_: DeploymentSettings) -> Room:
    return THIS_MACHINE


async def _offices(databases: Sequence[Database], cluster: ClusterSettings) -> list[CapacityOffice]:
    return [(await open_capacity(each, DeploymentRegistry(each), _room, None, cluster))[1] for each in databases]


@pytest.mark.parametrize("address", [None, "10.0.0.1:6379"])
def test_who_leads_a_cluster_measures_for_all_that_share_it(postgres_server: PostgreSQL, address: str | None) -> None:
    """What was measured on a cluster holds at every gateway that shares it, also when it is another one's to lead."""
    url = postgres_server.new_home()

    async def call() -> None:
        async with gateways_of(url, "ab") as databases:
            first, second = await _offices(databases, ClusterSettings(address=address))
            await put_calibration(databases[0], {**MEASURED, "machine": "the cluster 10.0.0.1:6379"})
            assert second.view(CHAT, [CHAT]) is None
            for each in (first, second, *await _offices(databases, ClusterSettings(address=address))):
                await each.load()
                view = each.view(CHAT, [CHAT])
                assert view is not None
                assert (view.holds, view.carried) == ((True, 300) if address else (False, None))
            changed = CHAT.model_copy(update={"model": "other"})
            view = second.view(changed, [changed])
            assert view is not None
            assert not view.holds

    asyncio.run(call())


def test_a_calibration_is_counted_as_a_change_of_what_gateways_copy(postgres_server: PostgreSQL) -> None:
    """Each is told of as limits and deployments are, so that a lost message costs a second and no calibration."""
    url = postgres_server.new_home()

    async def call() -> tuple[int, int]:
        async with gateways_of(url, "ab") as (first, second):
            await put_calibration(first, {**MEASURED, "machine": "one"})
            return first.known["calibrations"], (await second.numbers())["calibrations"]

    assert asyncio.run(call()) == (1, 1)
