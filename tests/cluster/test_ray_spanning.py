"""One engine over two real nodes of Ray, of two devices each: it loses a process, its gateway, and a node."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from tests.cluster import spanning_engine
from tests.cluster.nodes import HEAD, OTHER, Nodes, two_nodes
from tests.cluster.spanning_engine import free_devices, processes, runs, until, where
from tests.engines.vllm_subject import lay_vllm
from tests.faults.books import check_receipts, check_reconciled, check_verified
from tests.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.xdist_group("ray")]

BODY = {"model": "big", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Two nodes with a program in vLLM's place; the last test of this file loses one."""
    environment = lay_vllm(tmp_path_factory.mktemp("python"))
    with two_nodes(tmp_path_factory.mktemp("ray"), 2, environment) as found:
        yield found


@pytest.fixture(scope="module")
def config(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The configuration of a service with one deployment, which needs the devices of both nodes."""
    server = '[server]\nstarter = false\n[supervisor]\nmeasure = "on_demand"\n'
    return server + nodes.config + spanning_engine.config(tmp_path_factory.mktemp("model") / "m")


def _service(nodes: Nodes, config: str) -> Service:
    return Service(nodes.first, config, environment=dict(nodes.environment))


def _on_both(service: Service) -> None:
    asyncio.run(until(lambda: where(service) == {HEAD, OTHER}, "the engine on both nodes"))


def test_an_engine_is_placed_anew_when_one_process_is_killed(nodes: Nodes, config: str) -> None:
    """A model of four devices is served by two nodes; a process is killed, and callers need one retry at most."""
    with _service(nodes, config) as service:
        _on_both(service)
        assert free_devices(service) == [0, 0]
        before = processes(nodes)
        whole = asyncio.run(spanning_engine.kill_under_load(service, before[1]))
        after = processes(nodes)
        assert not any(map(runs, before))
        check_reconciled(nodes.first)
    assert not any(map(runs, after))
    check_receipts(nodes.first, whole)
    check_verified(nodes.first)


def test_an_engine_outlives_its_gateway(nodes: Nodes, config: str) -> None:
    """A gateway that was killed finds the engine, on both nodes, when it starts again, and ends it in good order."""
    service = _service(nodes, config)
    with service:
        _on_both(service)
        before = processes(nodes)
        service.stop(signal.SIGKILL)
    with _service(nodes, config) as service:
        _on_both(service)
        assert processes(nodes) == before
        assert service.post("/v1/chat/completions", BODY).status == 200
        assert free_devices(service) == [0, 0]
    assert not any(map(runs, before))


def test_an_engine_waits_for_a_node_that_is_lost(nodes: Nodes, config: str) -> None:
    """With too few nodes left it says what they have and is not tried in vain; a node that joins has it serve again."""
    with _service(nodes, config) as service:
        _on_both(service)
        nodes.lose_second()
        asyncio.run(until(lambda: "the nodes have: 2." in spanning_engine.error(service), "it is refused"))
        assert free_devices(service) == [2]
        nodes.join()
        _on_both(service)
        assert service.post("/v1/chat/completions", BODY).status == 200
