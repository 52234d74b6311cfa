"""A real fine-tuning on the nodes of a real cluster: killed there, it makes the same model as one left in peace."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.nodes import Nodes, two_nodes
from tests.service import Service, eventually
from tests.training.finetune.data_sets import split, tickets, write
from tests.training.finetune.driving import MODULE
from tests.training.finetune.test_preempted import finished, metrics, steps, weights
from tests.tuning import begin, messages

pytestmark = [pytest.mark.slow, pytest.mark.finetune, pytest.mark.long, pytest.mark.xdist_group("ray")]

CONFIG = """
[server]
starter = false

[fine_tuning]
python = "{python}"
folder = "{shared}"
threads = 1
deploy = "never"

[[deployment]]
name = "tiny"
model = "file://{base}"
start = "on_demand"
"""
PATIENCE_S = 600.0


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Two nodes."""
    with two_nodes(tmp_path_factory.mktemp("ray")) as found:
        yield found


def test_a_job_killed_on_its_node_makes_the_same_model(
    nodes: Nodes, python: str, tiny_base: Path, tmp_path: Path
) -> None:
    """Numbers of every step, and every weight of the model, are those of the same job undisturbed."""
    shared = tmp_path / "shared"
    shared.mkdir()
    training, _ = split(tickets(240), 200)
    write(tmp_path / "training.jsonl", training)
    data = (tmp_path / "training.jsonl").read_bytes()
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 8, "batch_size": 4}}}
    config = CONFIG.format(python=python, base=tiny_base, shared=shared) + nodes.config
    with Service(nodes.first, config) as service:
        quiet, disturbed = (begin(service, data=data, seed=5, method=method)["id"] for _ in range(2))
        written = f"*/{disturbed}/checkpoints/step-*"  # the server hears of them later
        eventually(lambda: any(shared.glob(written)), f"it trains: {service.log()[-3000:]}", PATIENCE_S)
        assert kill(disturbed) > 0
        done = [finished(service, each) for each in (disturbed, quiet)]
        assert [each["status"] for each in done] == ["succeeded", "succeeded"], done
        assert any(each.startswith("Training goes on from step") for each in messages(service, disturbed))
        assert not any(each.startswith("Training goes on from step") for each in messages(service, quiet))
        assert metrics(service, disturbed) == metrics(service, quiet)
        assert steps(service, quiet) > 20
        one, other = (weights(service, each) for each in done)
        assert one == other


def kill(job_id: str) -> int:
    """Kill the processes of a job, wherever they run; how many there were."""
    count = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes()
            if MODULE.encode() in words and job_id.encode() in words:
                os.kill(int(entry.name), signal.SIGKILL)
                count += 1
    return count
