"""A deployment whose one engine is on two nodes of Ray, under load; how a process of it is killed."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from tests.cluster.nodes import HEAD, OTHER, Nodes
from tests.engines.vllm_subject import lay_model
from tests.service import Service

PATIENCE_S = 120.0
ANSWER = "Say hello to both of you."
CONFIG = """
[[deployment]]
name = "big"
engine = "vllm"
model = "file://{model}"
options = {{ tensor_parallel = 2, pipeline_parallel = 2 }}
resources = {{ memory_bytes = 100000000 }}
"""


def config(folder: Path) -> str:
    """The configuration of a deployment that needs four devices; its model is laid into the folder."""
    return CONFIG.format(model=lay_model(folder))


def where(service: Service) -> set[str]:
    """The names of the nodes that have a part of the replica that is ready."""
    return {node["name"] for node in _nodes(service) for each in node["replicas"] if each["state"] == "ready"}


def error(service: Service) -> str:
    """What went wrong last with the replica."""
    (replica,) = service.get("/admin/deployments/big", key=service.key).json()["replicas"]
    return str(replica["error"])


def free_devices(service: Service) -> list[int]:
    """How many devices of each node are free."""
    return [node["free"]["devices"] for node in _nodes(service)]


def processes(nodes: Nodes) -> list[int]:
    """The engine's processes, by their ranks."""
    return [_process(nodes, rank) for rank in (0, 1)]


def runs(pid: int) -> bool:
    """Whether a process runs, and is no zombie that waits for somebody to look at it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that another process does."""
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110  # another process sets no event
            await asyncio.sleep(0.2)
    assert condition(), what


async def kill_under_load(service: Service, pid: int) -> list[str]:
    """Kill a process while there are callers, who try again once when the engine serves again; what was answered."""
    over, again, whole = asyncio.Event(), asyncio.Event(), list[str]()
    body = {"model": "big", "messages": [{"role": "user", "content": ANSWER}]}

    async def ask(session: aiohttp.ClientSession) -> bool:
        async with session.post("/v1/chat/completions", json=body) as answer:
            found = await answer.json()
        if answer.status == 200:
            assert found["choices"][0]["message"]["content"] == ANSWER
            whole.append(answer.headers["x-request-id"])
        return answer.status == 200

    async def caller(session: aiohttp.ClientSession) -> None:
        while not over.is_set():
            if not await ask(session):
                await again.wait()
                assert await ask(session), "one retry is enough"

    timeout, headers = aiohttp.ClientTimeout(total=PATIENCE_S), {"authorization": f"Bearer {service.key}"}
    async with (
        aiohttp.ClientSession(service.url, timeout=timeout, headers=headers) as session,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(4):
            group.create_task(caller(session))
        await until(lambda: len(whole) > 4, "there is load")
        os.kill(pid, signal.SIGKILL)
        await until(lambda: _restarts(service) == 1 and where(service) == {HEAD, OTHER}, "it serves again")
        again.set()
        served = len(whole)
        await until(lambda: len(whole) > served + 4, "callers are answered again")
        over.set()
    return whole


def _nodes(service: Service) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.get("/admin/cluster", key=service.key).json()["data"]
    return [node for node in found if node["state"] == "ready"]


def _restarts(service: Service) -> int:
    (replica,) = service.get("/admin/deployments/big", key=service.key).json()["replicas"]
    return int(replica["restarts"])


def _process(nodes: Nodes, rank: int) -> int:
    """The process of vLLM that has that rank."""
    place, wanted = os.fsencode(nodes.first.parent), f"--node-rank\0{rank}\0".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"\0serve\0" in command and wanted in command and place in command:
            found.append(int(entry.name))
    assert len(found) == 1, found
    return found[0]
