"""Two real gateways on one PostgreSQL and a real Ray cluster of two nodes: one set of engines, whoever leads.

The short form, on a cluster without Ray and a board without PostgreSQL, is `tests/serving/test_shared_set.py`.
"""

import asyncio
import shutil
import signal
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from tests.cluster.gateways import CONFIG
from tests.cluster.nodes import HEAD, OTHER, Nodes, two_nodes
from tests.forked import freehold
from tests.postgres import PostgreSQL
from tests.service import Service, eventually
from tests.serving.trial import alive

pytest_plugins = ["tests.postgres"]
pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.xdist_group("ray")]

TEXT = """
[supervisor]
measure = "on_demand"

[[deployment]]
name = "text"
engine = "echo"
model = "echo"
replicas = 2
resources = { memory_bytes = 100000000 }
"""
BODY = {"model": "text", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Two nodes, each with the home of a gateway."""
    with two_nodes(tmp_path_factory.mktemp("shared")) as found:
        yield found


def _gateway(nodes: Nodes, name: str, url: str) -> Service:
    """The gateway of a node, which is not up yet; the second one spells the cluster's address otherwise."""
    home, address = (nodes.first, HEAD) if name == "a" else (nodes.second, OTHER)
    if name != "a":
        (home / "secrets").mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copy2(nodes.first / "secrets" / "content", home / "secrets" / "content")
    token = nodes.first / "cluster" / "token"
    spelled = nodes.address if name == "a" else f"localhost:{nodes.port}"
    cluster = f'[cluster]\naddress = "{spelled}"\nnode_address = "{address}"\ntoken = {{ file = "{token}" }}\n'
    return Service(home, CONFIG.format(name=name, more=cluster + TEXT), environment={"FREEHOLD_TEST_DATABASE": url})


def _pids(service: Service) -> set[int]:
    """The processes that are ready to serve, as a gateway knows them."""
    found = service.get("/admin/deployments", key=service.key).json()["data"]
    replicas = [replica for each in found if each["name"] == "text" for replica in each["replicas"]]
    return {replica["pid"] for replica in replicas if replica["state"] == "ready"}


def _lead(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = service.get("/admin/cluster", key=service.key).json()["lead"]
    return found


def _leads(service: Service, name: str) -> bool:
    lead = _lead(service)
    return bool(lead["gateway"] == name and lead["self"])


def _says(service: Service, url: str, *arguments: str) -> str:
    """What a command says."""
    ran = freehold(service.home.root, *arguments, environment={"FREEHOLD_TEST_DATABASE": url})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


async def _under_load(service: Service, happens: Any) -> int:
    """Call a gateway all the time while something happens; how many calls there were, each of which was answered."""
    over, count = asyncio.Event(), 0
    headers = {"authorization": f"Bearer {service.key}"}

    async def caller(session: aiohttp.ClientSession) -> None:
        nonlocal count
        while not over.is_set():
            async with session.post("/v1/chat/completions", json=BODY) as answer:
                assert answer.status == 200, await answer.text()
                await answer.read()
            count += 1

    async with (
        aiohttp.ClientSession(service.url, timeout=aiohttp.ClientTimeout(total=120), headers=headers) as session,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(3):
            group.create_task(caller(session))
        await asyncio.to_thread(happens)
        over.set()
    return count


def test_engines_go_on_whichever_gateway_is_lost(nodes: Nodes, postgres_server: PostgreSQL) -> None:
    """The leader is killed under load: no request through the other one fails, which takes the same engines over."""
    url = postgres_server.new_home()
    with _gateway(nodes, "a", url) as first:
        eventually(lambda: len(_pids(first)) == 2, "two replicas")
        pids = _pids(first)
        assert _leads(first, "a")
        with _gateway(nodes, "b", url) as second:
            eventually(lambda: _pids(second) == pids, "the same replicas at the second gateway")
            assert (_lead(second)["gateway"], _lead(second)["self"], _lead(second)["gateways"]) == ("a", False, 2)
            assert second.post("/v1/chat/completions", BODY).status == 200

            def lost() -> None:
                first.process.send_signal(signal.SIGKILL)
                eventually(lambda: _leads(second, "b"), "the second leads")
                eventually(lambda: _pids(second) == pids, "it has the same replicas")

            assert asyncio.run(_under_load(second, lost)) > 20, "there was load"
            assert _lead(second)["epoch"] == 2
            for said in (_says(second, url, "gateways", "list"), _says(second, url, "cluster", "status")):
                assert "The gateway 'b' leads the cluster since " in said
                assert "(epoch 2)." in said
            first.stop()
            with _gateway(nodes, "a", url) as again:
                eventually(lambda: _pids(again) == pids, "the first is back, and uses them")
                assert _lead(again)["gateway"] == "b"
                assert again.post("/v1/chat/completions", BODY).status == 200
                second.stop()
                eventually(lambda: _leads(again, "a"), "the second has handed over")
                assert again.post("/v1/chat/completions", BODY).status == 200
                assert _pids(again) == pids
            eventually(lambda: not any(alive(pid) for pid in pids), "they have ended with the last gateway")
