"""A training over two nodes of a real cluster: its processes find each other, and learn what one process learns."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from freehold.cluster.base import JobOrder, JobPhase
from freehold.gateway.training_stretch import MODULE
from freehold.training.language.task import Task
from freehold.types.cluster import Resources
from tests.cluster.nodes import Nodes, two_nodes
from tests.cluster.test_preemption import losses
from tests.jobs.starting import PATHS
from tests.training.finetune.driving import trainer_python

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.xdist_group("ray")]

PATIENCE_S = 600.0
CORES = 4
"""Of each process: more than half of a node's, so that there is one on each."""


async def trained(nodes: Nodes, folder: Path, name: str, processes: int) -> str:
    """Train on so many processes, and say how the job ended."""
    cluster = nodes.cluster()
    out = folder / name
    task = Task.model_validate(
        {
            "recipe": json.loads((folder / "small.json").read_bytes()),
            "data": str(folder / "data"),
            "out": str(out),
            "device": "cpu",
        }
    )
    order = JobOrder(
        id=name,
        module=MODULE,
        arguments=(task.model_dump_json(),),
        members=(Resources(cores=CORES),) * processes,
        zones=None,
        folder=out,
        python=trainer_python() or "",
        env={"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            await cluster.submit(order)
            said = [json.loads(line) async for line in cluster.logs(name)]
            status = await cluster.status(name)
    finally:
        await cluster.close()
    assert status.phase is JobPhase.SUCCEEDED, status.detail
    assert [each["type"] for each in said] == ["started", "ended"]
    return str(said[-1])


def test_two_nodes_learn_what_one_process_learns(tmp_path: Path) -> None:
    """Two processes on two nodes train as one process does, to rounding."""
    python = trainer_python()
    if python is None:
        pytest.skip("there is no environment with torch; make setup-train makes it")
    folder = tmp_path / "texts"
    argv = [python, "-m", "tests.training.language.prepare_program", str(folder)]
    subprocess.run(argv, check=True, cwd=PATHS["PYTHONPATH"])
    with two_nodes(tmp_path / "nodes") as nodes:
        for name, processes in (("one", 1), ("two", 2)):
            assert "'finished': True" in asyncio.run(trained(nodes, folder, name, processes))
    one, two = losses(folder / "one"), losses(folder / "two")
    assert [step for step, _ in two] == [step for step, _ in one]
    assert [loss for _, loss in two] == pytest.approx([loss for _, loss in one], rel=1e-3)
    manifest = json.loads((folder / "two" / "checkpoints" / "step-40" / "manifest.json").read_bytes())
    assert manifest["processes"] == 2
