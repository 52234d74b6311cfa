"""A real cluster of two nodes on this machine: two of Ray's node processes at two of its loopback addresses."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from freehold.cluster.base import JobOrder, JobPhase, Placement, ignore
from freehold.cluster.ray import RayCluster
from freehold.errors import NoRoom
from freehold.types.cluster import NodeState, Resources
from tests.cluster.nodes import HEAD, OTHER, Nodes, two_nodes
from tests.conftest import StarterModels
from tests.faults.books import check_receipts, check_reconciled, check_verified
from tests.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

PATIENCE_S = 120.0
TEXT = """
[[deployment]]
name = "text"
engine = "echo"
model = "echo"
replicas = 2
resources = { memory_bytes = 100000000 }
"""
PICTURES = """
[[deployment]]
name = "pictures"
engine = "painter"
model = "starter-painter"
task = "images"
replicas = 2
resources = { memory_bytes = 300000000 }
"""
CHAT = """
[[deployment]]
name = "chat"
model = "smollm2-135m-instruct"
engine = "llamacpp"
context_length = 1024
replicas = 2
"""
SERVER = '[server]\nstarter = false\n[supervisor]\nmeasure = "on_demand"\n'


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Two nodes for all tests of this file; the last of them loses one."""
    with two_nodes(tmp_path_factory.mktemp("ray")) as found:
        yield found


def on_cluster(nodes: Nodes, work: Callable[[RayCluster], Awaitable[Any]]) -> Any:
    """Do something on the cluster and leave it."""

    async def main() -> Any:
        cluster = nodes.cluster()
        try:
            return await work(cluster)
        finally:
            await cluster.close()

    return asyncio.run(main())


def test_a_job_has_its_processes_on_both_nodes(nodes: Nodes, tmp_path: Path) -> None:
    """A gang is placed at once on the nodes that have room, its processes find each other, and it is asked to end."""
    script = (
        "import os, signal, socket, sys, time\n"
        "me, place = int(os.environ['RANK']), (os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT']))\n"
        "signal.signal(15, lambda *_: (open(f'checkpoint-{me}', 'w').close(), sys.exit(0)))\n"
        "if me == 0:\n"
        "    server = socket.create_server(place); print('listening', flush=True)\n"
        "    print(server.accept()[0].recv(100).decode(), flush=True)\n"
        "else:\n"
        "    while True:\n"
        "        try: socket.create_connection(place).send(f'{me} of {os.environ[\"WORLD_SIZE\"]}'.encode()); break\n"
        "        except OSError: time.sleep(0.1)\n"
        "signal.pause()\n"
    )
    (tmp_path / "gang_of_two.py").write_text(script, encoding="utf-8")
    needs = Resources(cores=4)

    async def work(cluster: RayCluster) -> tuple[list[str], JobPhase, list[float], list[float]]:
        env = {"PYTHONPATH": str(tmp_path)}
        order = JobOrder("job-1", "gang_of_two", (), (needs, needs), None, tmp_path, sys.executable, env)
        await cluster.submit(order)
        taken = sorted(node.free.cores for node in await cluster.nodes())
        with pytest.raises(NoRoom, match="it needs 4 cores, and 2 are free"):
            await cluster.submit(JobOrder("job-2", "gang_of_two", (), (needs,), None, tmp_path, sys.executable, env))
        lines = []
        async for line in cluster.logs("job-1"):
            lines.append(line)
            if len(lines) == 2:
                await cluster.cancel("job-1", 60.0)
        phase = (await cluster.status("job-1")).phase
        return lines, phase, taken, sorted(node.free.cores for node in await cluster.nodes())

    lines, phase, taken, _ = on_cluster(nodes, work)
    assert lines == ["listening", "1 of 2"]
    assert (phase, taken) == (JobPhase.CANCELLED, [2.0, 2.0])
    assert sorted(file.name for file in tmp_path.glob("checkpoint-*")) == ["checkpoint-0", "checkpoint-1"]


def test_a_job_that_fails_says_why(nodes: Nodes, tmp_path: Path) -> None:
    """A job whose one process fails ends as a whole, with that process's complaint."""
    script = "import os, sys, time\nsys.exit('no data') if os.environ['RANK'] == '1' else time.sleep(600)\n"
    (tmp_path / "failing_gang.py").write_text(script, encoding="utf-8")

    async def work(cluster: RayCluster) -> Any:
        needs = (Resources(cores=1), Resources(cores=1))
        env = {"PYTHONPATH": str(tmp_path)}
        await cluster.submit(JobOrder("job-3", "failing_gang", (), needs, None, tmp_path, sys.executable, env))
        assert [line async for line in cluster.logs("job-3")] == []
        return await cluster.status("job-3")

    status = on_cluster(nodes, work)
    assert status.phase is JobPhase.FAILED
    assert "process 1 of 2" in status.detail
    assert status.detail.endswith("no data")


def test_an_engine_outlives_its_gateway_but_not_for_ever(nodes: Nodes, tmp_path: Path) -> None:
    """A gateway killed under load finds its engines when it starts again; one that does not come back leaves none."""
    config = SERVER + nodes.config + TEXT
    first = Service(nodes.first, config)
    with first:
        _both_nodes_serve(first, {"text"})
        before = _pids(first)
        asyncio.run(_killed_under_load(first))
    with Service(nodes.first, config) as again:
        _both_nodes_serve(again, {"text"})
        assert _pids(again) == before
        answer = again.post("/v1/chat/completions", {"model": "text", "messages": [{"role": "user", "content": "Hi"}]})
        assert answer.status == 200
        decided = again.get("/admin/arbiter", key=again.key).json()["decisions"]
        assert [each["decision"] for each in decided] == ["adopted", "adopted"]
        check_reconciled(nodes.first)
    assert not any(map(_runs, before.values())), "a gateway that is stopped ends its engines"

    async def forget() -> int:
        gone = nodes.cluster(gateway="gone", orphan_grace_s=5.0)
        placed = await gone.place(ticking(tmp_path, "ticker-3"), ignore)
        assert gone._link is not None
        gone._link.process.kill()
        await gone.close()
        return placed.process.pid

    pid = asyncio.run(forget())
    asyncio.run(until(lambda: not _runs(pid), "the end of an engine that nobody has"))


def test_a_lost_node_costs_no_request(nodes: Nodes) -> None:
    """Text and pictures come from two nodes; one is killed under load, and every request is answered and recorded."""
    with Service(nodes.first, SERVER + nodes.config + TEXT + PICTURES) as service:
        _both_nodes_serve(service, {"text", "pictures"})
        whole = asyncio.run(_lose_a_node(service, nodes, [_text("text"), _text("text"), _picture]))
        check_reconciled(nodes.first)
        one = {node["name"]: node for node in service.get("/admin/cluster", key=service.key).json()["data"]}[HEAD]
        assert len(one["replicas"]) == 4
    check_receipts(nodes.first, whole)
    check_verified(nodes.first)
    assert len(whole) > 20, "there was load"


@pytest.mark.long
def test_models_come_to_the_nodes_that_lack_them(starter_models: StarterModels, tmp_path: Path) -> None:
    """A node gets a copy of the model; it is lost, and comes back for a drained one, without a failed request."""
    starter_models.lay(tmp_path / "first")
    with two_nodes(tmp_path) as nodes, Service(nodes.first, SERVER + nodes.config + CHAT + PICTURES) as service:
        _both_nodes_serve(service, {"chat", "pictures"})
        names = [{file.name for file in (home / "models" / "blobs").iterdir()} for home in (nodes.first, nodes.second)]
        assert names[1] <= names[0]
        assert len(names[1]) == 1
        calls = [_text("chat"), _text("chat"), _picture]
        lost = asyncio.run(_lose_a_node(service, nodes, calls))
        nodes.join()
        drained = asyncio.run(_under_load(service, calls, lambda: _drain(service, HEAD)))
        check_reconciled(nodes.first)
    check_receipts(nodes.first, [*drained, *lost])
    check_verified(nodes.first)
    assert len(lost) > 5, "there was load"


def ticking(folder: Path, workload: str) -> Placement:
    """A program that says something each half second."""
    code = "import time\nfor n in range(1200): print('tick', n, flush=True); time.sleep(0.5)"
    needs = Resources(cores=1)
    return Placement(
        workload, (sys.executable, "-c", code), {}, needs, None, {}, folder / "e.sock", deployment="ticker"
    )


def _pids(service: Service) -> dict[str, int]:
    """The process of each replica's engine."""
    found = service.get("/admin/deployments", key=service.key).json()["data"]
    return {replica["id"]: replica["pid"] for deployment in found for replica in deployment["replicas"]}


def _runs(pid: int) -> bool:
    """Whether a process runs, and is not only waited for."""
    with contextlib.suppress(OSError):
        return "Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    return False


async def _killed_under_load(service: Service) -> None:
    """Kill a gateway by SIGKILL while it answers several callers."""
    answered = 0

    async def caller(session: aiohttp.ClientSession) -> None:
        nonlocal answered
        with contextlib.suppress(aiohttp.ClientError):  # it is killed
            while True:
                await _text("text")(session)
                answered += 1

    headers = {"authorization": f"Bearer {service.key}"}
    async with aiohttp.ClientSession(service.url, headers=headers) as session, asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(caller(session))
        await until(lambda: answered > 20, "load")
        service.process.kill()


Call = Callable[[aiohttp.ClientSession], Awaitable[str]]
"""Sends one request and returns its id; fails where it is not answered whole."""


def _text(deployment: str) -> Call:
    async def call(session: aiohttp.ClientSession) -> str:
        said = [{"role": "user", "content": "Say hello."}]
        body = {"model": deployment, "messages": said, "max_tokens": 8, "temperature": 0}
        async with session.post("/v1/chat/completions", json=body) as answer:
            found = await answer.json()
            assert answer.status == 200, found
            assert found["choices"][0]["message"]["content"], found
            return answer.headers["x-request-id"]

    return call


async def _picture(session: aiohttp.ClientSession) -> str:
    body = {"model": "pictures", "prompt": "a red apple", "size": "256x256", "response_format": "b64_json"}
    async with session.post("/v1/images/generations", json=body) as answer:
        found = await answer.json()
        assert answer.status == 200, found
        assert found["data"][0]["b64_json"]
        return answer.headers["x-request-id"]


def _nodes(service: Service) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.get("/admin/cluster", key=service.key).json()["data"]
    return found


def _where(service: Service) -> set[tuple[str, str]]:
    """The deployments and the names of the living nodes where each has a replica that is ready."""
    return {
        (replica["deployment"], node["name"])
        for node in _nodes(service)
        if node["state"] != NodeState.LOST
        for replica in node["replicas"]
        if replica["state"] == "ready"
    }


def _both_nodes_serve(service: Service, deployments: set[str]) -> None:
    asyncio.run(until(lambda: len(_where(service)) == 2 * len(deployments), "a replica of each on both nodes"))


async def until(condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110  # another process sets no event
            await asyncio.sleep(0.2)
    assert condition(), what


async def _under_load(service: Service, calls: list[Call], happens: Callable[[], Awaitable[None]]) -> list[str]:
    """Call all the time while something happens; the ids of the requests, each of which was answered whole."""
    over, whole = asyncio.Event(), list[str]()
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    headers = {"authorization": f"Bearer {service.key}"}

    async def caller(session: aiohttp.ClientSession, call: Call) -> None:
        while not over.is_set():
            whole.append(await call(session))

    async with (
        aiohttp.ClientSession(service.url, timeout=timeout, headers=headers) as session,
        asyncio.TaskGroup() as group,
    ):
        for call in calls:
            group.create_task(caller(session, call))
        await happens()
        over.set()
    return whole


async def _lose_a_node(service: Service, nodes: Nodes, calls: list[Call]) -> list[str]:
    """Kill the second node under load and wait until the first has all replicas."""

    async def happens() -> None:
        before = len(_replicas(service))
        await asyncio.to_thread(nodes.lose_second)
        await until(lambda: [*_replicas(service).values()] == [(HEAD, "ready")] * before, "all replicas on the first")

    return await _under_load(service, calls, happens)


async def _drain(service: Service, node: str) -> None:
    """Drain a node and wait until no replica is there."""
    answer = await asyncio.to_thread(service.post, f"/admin/cluster/nodes/{node}/drain", {})
    assert answer.status == 200
    await until(lambda: {where for where, _ in _replicas(service).values()} == {OTHER}, "all replicas on the second")


def _replicas(service: Service) -> dict[str, tuple[str, str]]:
    """The node's name and the state of each replica."""
    nodes = _nodes(service)
    found = {replica["id"]: (node["name"], replica["state"]) for node in nodes for replica in node["replicas"]}
    for deployment in service.get("/admin/deployments", key=service.key).json()["data"]:
        for replica in deployment["replicas"]:
            found.setdefault(replica["id"], ("nowhere", replica["state"]))
    return found
