"""An engine of vLLM that is too large for one node is spread evenly over several, whose processes find each other."""

import json
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freehold.cluster.member import free_port
from freehold.cluster.spanning import Addresses
from freehold.config import engine_environment
from freehold.engines.base import EngineSpec, Launch
from freehold.engines.vllm import VllmEngine
from freehold.errors import ConfigError
from freehold.types.cluster import Node, NodeState, Resources
from tests.engines.subject import socket_path
from tests.engines.vllm_arguments import parse
from tests.engines.vllm_subject import active, lay_model, lay_vllm, said, settings_of
from tests.service import eventually

KIND = "H100"


def _node(name: str, devices: int, zone: str | None = None, kind: str = KIND, state: str = "ready") -> Node:
    total = Resources(64.0, 1 << 40, devices, kind if devices else None)
    return Node(name, name, zone, total, Resources(), NodeState(state))


def _of(*devices: int) -> list[Node]:
    return [_node(f"n{index}", count) for index, count in enumerate(devices)]


def _spread(nodes: list[Node], **given: Any) -> tuple[int, Resources]:
    """Over how many nodes, and what is needed of each."""
    settings = settings_of(**given)
    VllmEngine().validate(settings)
    spec = VllmEngine().spread(EngineSpec(settings), nodes)
    return spec.members, VllmEngine().needs(spec)


def _misfit(nodes: list[Node], **given: Any) -> str:
    """Why it can be nowhere; then all is asked of one node."""
    spec = VllmEngine().spread(EngineSpec(settings_of(**given)), nodes)
    assert spec.members == 1
    return spec.misfit


def _sizes(tensor: int, pipeline: int = 1) -> dict[str, Any]:
    return {"options": {"tensor_parallel": tensor, "pipeline_parallel": pipeline}}


@pytest.mark.parametrize(
    ("nodes", "sizes", "members", "each"),
    [
        (_of(0, 8), (8, 1), 1, 8),
        (_of(8, 8), (8, 2), 2, 8),
        (_of(8, 8), (16, 1), 2, 8),
        (_of(16, 8, 8), (8, 2), 1, 16),
        (_of(4, 4, 4, 4), (4, 4), 4, 4),
        (_of(6, 6, 6), (4, 3), 3, 4),
        (_of(6, 6), (4, 3), 2, 6),
        (_of(8, 8, 4), (4, 4), 2, 8),
        (_of(2, 2, 2), (3, 1), 3, 1),
        ([_node("a", 8, state="draining"), *_of(4, 4)], (4, 2), 2, 4),
        ([_node("a", 8, state="draining")], (8, 1), 1, 8),
        ([Node("local", "here", None, Resources(), Resources())], (8, 2), 1, 16),
        ([], (8, 2), 1, 16),
    ],
)
def test_stages_stay_whole_on_as_few_nodes_as_will_do(
    nodes: list[Node], sizes: tuple[int, int], members: int, each: int
) -> None:
    """The number of nodes is one if one has enough, else one that keeps stages whole, else one that divides them."""
    found, needs = _spread(nodes, **_sizes(*sizes))
    assert (found, needs.devices) == (members, each)


def test_what_the_deployment_says_of_a_node_decides() -> None:
    """With a number of devices for each node the engine has as many nodes as that makes, whatever nodes there are."""
    given = {**_sizes(2, 2), "resources": {"devices": 2, "cores": 3}}
    assert _spread(_of(8), **given) == (2, Resources(3.0, 512 << 20, 2))
    with pytest.raises(ConfigError, match="3 on each node do not make up 4") as refused:
        _spread(_of(8), **{**given, "resources": {"devices": 3}})
    assert refused.value.param == "resources.devices"
    with pytest.raises(ConfigError, match="chosen by the cluster"):
        _spread(_of(8), options={"tensor_parallel": 2, "devices": [0, 1]}, resources={"devices": 1})


def test_nodes_of_one_kind_are_taken() -> None:
    """An engine is not spread over unlike devices; without a wish it gets a kind of which there is enough."""
    nodes = [_node("a", 4, kind="A100"), _node("b", 4), _node("c", 4)]
    assert _spread(nodes, **_sizes(4, 2))[1].device_kind == KIND
    assert "8 devices of the kind 'A100'" in _misfit(nodes, **_sizes(4, 2), resources={"device_kind": "A100"})


def test_what_no_nodes_can_have_is_told_with_what_they_have() -> None:
    """Sizes that cannot be divided evenly, and zones with too little, are told with the numbers."""
    told = _misfit(_of(4, 4), **_sizes(7))
    assert told == (
        "The engine needs 7 devices (tensor_parallel x pipeline_parallel), the same number on each of its nodes; "
        "the nodes have: 4, 4."
    )
    nodes = [_node("a", 8, zone="eu"), _node("b", 8, zone="us")]
    assert _misfit(nodes, **_sizes(8, 2), zone="eu").endswith("the nodes in the zone 'eu' have: 8.")
    assert _misfit(_of(0, 0), **_sizes(2)).endswith("the nodes have: none.")
    many = [_node(f"n{index}", 1) for index in range(9)]
    assert _misfit(many, **_sizes(10)).endswith("have: 1, 1, 1, 1, 1, 1, 1, 1, ….")


def test_memory_is_divided_with_the_weights(tmp_path: Path) -> None:
    """Each node needs memory for its part of the weights."""
    model = lay_model(tmp_path)
    (model / "more.safetensors").write_bytes(bytes(10_000_000))
    size = sum(file.stat().st_size for file in model.rglob("*") if file.is_file())
    spec = VllmEngine().spread(EngineSpec(settings_of(**_sizes(2, 2)), model), _of(2, 2))
    assert VllmEngine().needs(spec).memory_bytes == int(1.3 * size / 2) + (512 << 20)


def _launch(model: Path, socket: Path) -> Launch:
    spec = VllmEngine().spread(EngineSpec(settings_of(**_sizes(2, 2)), model), _of(2, 2))
    return VllmEngine().launch(spec, socket)


def test_each_node_gets_vllms_own_arguments(tmp_path: Path) -> None:
    """The processes have the documented arguments of several nodes, and all but the first serve nobody."""
    launch = _launch(lay_model(tmp_path / "m"), Path("/run/e1.sock"))
    found = []
    for process, own in zip((launch, *launch.others), ("10.0.0.1", "10.0.0.7"), strict=True):
        addresses = Addresses(own, "10.0.0.1", 4711)
        body = json.loads(addresses.in_arguments(process.argv)[-1])
        found.append(parse(["serve", *body["arguments"]]))
        assert addresses.in_environment(process.env)["VLLM_HOST_IP"] == own
    assert [(each.nnodes, each.node_rank, each.headless, each.uds) for each in found] == [
        (2, 0, False, "/run/e1.sock"),
        (2, 1, True, None),
    ]
    assert {(each.master_addr, each.master_port) for each in found} == {("10.0.0.1", 4711)}
    assert {each.distributed_executor_backend for each in found} == {"mp"}
    assert {(each.tensor_parallel_size, each.pipeline_parallel_size) for each in found} == {(2, 2)}


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_processes_serve_together_and_end_together(lost: int, tmp_path: Path) -> None:
    """The first answers only when the other has come to it, and whichever is killed takes the other along."""
    environment = lay_vllm(tmp_path / "python")
    with socket_path() as socket, ExitStack() as stack:
        launch = _launch(lay_model(tmp_path / "m"), socket)
        port = free_port("127.0.0.2")
        processes: list[subprocess.Popen[bytes]] = []
        for process, own in zip((launch, *launch.others), ("127.0.0.2", "127.0.0.3"), strict=True):
            addresses = Addresses(own, "127.0.0.2", port)
            env = engine_environment({**addresses.in_environment(process.env), **environment})
            if processes:
                assert not socket.exists(), "nothing is served before all are there"
            argv = addresses.in_arguments(process.argv)
            started = stack.enter_context(subprocess.Popen(argv, env=env, stdin=subprocess.PIPE))
            stack.callback(started.kill)
            processes.append(started)
        eventually(lambda: _idle(socket), "the first answers")
        processes[lost].kill()
        assert processes[1 - lost].wait(60) == 1


def _idle(socket: Path) -> bool:
    """Whether the server answers, and works on nothing."""
    try:
        return active(socket) == 0
    except OSError:
        return False


@pytest.mark.slow
def test_too_few_visible_gpus_are_told(tmp_path: Path) -> None:
    """A process that sees fewer GPUs than its part of the engine needs ends at once."""
    environment = lay_vllm(tmp_path / "python")
    launch = _launch(lay_model(tmp_path / "m"), tmp_path / "s")
    addresses = Addresses("127.0.0.2", "127.0.0.2", free_port("127.0.0.2"))
    env = {**addresses.in_environment(launch.env), **environment, "CUDA_VISIBLE_DEVICES": "3"}
    text = said(replace(launch, argv=tuple(addresses.in_arguments(launch.argv)), env=env))
    assert text.strip().endswith("ValueError: 2 GPUs are needed on this node, and these are visible: 3")
