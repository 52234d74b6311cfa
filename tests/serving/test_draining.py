import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from freehold.cluster.base import Placed, Placement, ignore
from freehold.cluster.local import LocalCluster
from freehold.serving.supervisor import Supervisor
from freehold.types.cluster import Node, NodeState, Resources
from freehold.types.deployment import DeploymentSettings, ReplicaState
from tests.serving.trial import QUICK, eventually, ready_at_once
from tests.serving.trial_engine import find_engine

ROOM = Resources(cores=2)


class _TwoNodes(LocalCluster):
    """Two nodes whose processes are all of this machine; each has room for two replicas."""

    def __init__(self) -> None:
        super().__init__()
        self.states = {"one": NodeState.READY, "two": NodeState.READY}
        self._heard: list[Callable[[], None]] = []
        self._where: dict[str, str] = {}

    async def nodes(self) -> list[Node]:
        return [Node(name, name, None, ROOM, ROOM, state) for name, state in self.states.items()]

    async def place(
        self, placement: Placement, on_line: Callable[[str], None], report: Callable[[str], None] = ignore
    ) -> Placed:
        node = next(name for name, state in self.states.items() if state is NodeState.READY)
        return replace(await super().place(placement, on_line, report), node=node)

    def on_change(self, listener: Callable[[], None]) -> None:
        self._heard.append(listener)

    async def drain(self, node_id: str) -> None:
        self.states[node_id] = NodeState.DRAINING
        for listener in self._heard:
            listener()


def test_replicas_leave_a_node_that_drains(tmp_path: Path) -> None:
    """Replicas of a draining node are replaced elsewhere, and there is one to serve all the time."""

    async def main() -> tuple[set[str | None], bool]:
        cluster = _TwoNodes()
        supervisor = Supervisor(QUICK, tmp_path / "run", ready_at_once, find_engine=find_engine, cluster=cluster)
        usable = True
        try:
            await supervisor.set(DeploymentSettings(name="chat", engine="trial", model="trial", replicas=2))
            await eventually(lambda: _ready(supervisor) == ["one", "one"], "both on the first node")
            await cluster.drain("one")

            def left() -> bool:
                nonlocal usable
                usable = usable and len(_ready(supervisor)) >= 1
                return _ready(supervisor) == ["two", "two"] and len(supervisor.status("chat").replicas) == 2

            await eventually(left, "both on the second node")
            return {replica.node for replica in supervisor.status("chat").replicas}, usable
        finally:
            await supervisor.stop()

    assert asyncio.run(main()) == ({"two"}, True)


def _ready(supervisor: Supervisor) -> list[str | None]:
    replicas = supervisor.status("chat").replicas
    return [replica.node for replica in replicas if replica.state is ReplicaState.READY]
