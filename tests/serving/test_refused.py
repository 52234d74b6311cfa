"""A replica for which the cluster has no place says so, is not tried again in vain, and starts when there is one."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.cluster.desk import ArbiterDesk
from freehold.cluster.local import LocalCluster
from freehold.engines.base import EngineSpec
from freehold.errors import EngineUnavailable
from freehold.serving.supervisor import Progress, Supervisor
from freehold.types.cluster import Node, Resources
from freehold.types.deployment import DeploymentSettings, ReplicaState
from tests.engines.vllm_subject import lay_model
from tests.serving.trial import QUICK, eventually, ready_at_once
from tests.serving.trial_engine import find_engine


class _Growing(LocalCluster):
    """A cluster of one node, which becomes larger."""

    def __init__(self) -> None:
        super().__init__()
        self.total = Resources(cores=1.0, memory_bytes=1 << 32)
        self._heard: list[Callable[[], None]] = []

    async def nodes(self) -> list[Node]:
        return [Node("local", "here", None, self.total, self.total)]

    def on_change(self, listener: Callable[[], None]) -> None:
        self._heard.append(listener)

    def grow(self) -> None:
        self.total = Resources(cores=8.0, memory_bytes=1 << 32)
        for listener in self._heard:
            listener()


def test_a_refused_replica_starts_when_the_cluster_has_become_large_enough(tmp_path: Path) -> None:
    """It is tried once, its requests are told why there is none, and with a larger node it is ready."""

    async def main() -> None:
        cluster = _Growing()
        async with ArbiterDesk(Arbiter(), cluster) as desk:
            supervisor = Supervisor(
                QUICK, tmp_path / "run", ready_at_once, find_engine=find_engine, cluster=cluster, desk=desk
            )
            settings = {"name": "large", "engine": "trial", "model": "trial", "resources": {"cores": 4}}
            try:
                await desk.look()
                await supervisor.set(DeploymentSettings.model_validate(settings))
                await eventually(lambda: _state(supervisor) is ReplicaState.BACKING_OFF, "it is refused")
                with pytest.raises(EngineUnavailable, match="has no place on the cluster as it is: It needs 4 cores"):
                    async with supervisor.acquire("large", patience_s=0):
                        pass
                replica = supervisor.status("large").replicas[0]
                assert (replica.restarts, "for which no nodes have room" in str(replica.error)) == (0, True)
                cluster.grow()
                await eventually(lambda: _state(supervisor) is ReplicaState.READY, "it is ready")
                assert supervisor.status("large").replicas[0].restarts == 1
            finally:
                await supervisor.stop()

    asyncio.run(main())


def test_what_cannot_be_divided_over_nodes_is_refused_in_the_engines_words(tmp_path: Path) -> None:
    """An engine whose devices no nodes have in equal parts is refused by the arbiter, and says what the nodes have."""
    model = lay_model(tmp_path / "m")

    async def prepared(settings: DeploymentSettings, _progress: Progress) -> EngineSpec:
        return EngineSpec(settings, model, "00" * 32)

    async def main() -> None:
        cluster = _Growing()
        cluster.total = Resources(cores=8.0, memory_bytes=1 << 32, devices=2)
        async with ArbiterDesk(Arbiter(), cluster) as desk:
            supervisor = Supervisor(QUICK, tmp_path / "run", prepared, cluster=cluster, desk=desk)
            settings = {"name": "large", "engine": "vllm", "model": "m", "options": {"tensor_parallel": 3}}
            try:
                await supervisor.set(DeploymentSettings.model_validate(settings))
                await eventually(lambda: _state(supervisor) is ReplicaState.BACKING_OFF, "it is refused")
                assert supervisor.status("large").replicas[0].error == (
                    "The engine needs 3 devices (tensor_parallel x pipeline_parallel), the same number on each of its "
                    "nodes; the nodes have: 2."
                )
                assert (await supervisor.room(DeploymentSettings.model_validate(settings))).replicas == 0
            finally:
                await supervisor.stop()

    asyncio.run(main())


def _state(supervisor: Supervisor) -> ReplicaState:
    return supervisor.status("large").replicas[0].state
