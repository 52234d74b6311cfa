"""Fine-tuning on the nodes of a real cluster, by a program that only counts: where it may be, and what it outlives."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.nodes import HEAD, OTHER, Nodes, two_nodes
from tests.faults.books import check_reconciled
from tests.service import Service, eventually
from tests.tuning import JOBS, PROGRAM, begin, configured, ended, messages, reached, receipts_of

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

US_ONLY = """
[[policy]]
name = "us-only"
zones = ["us"]
"""
GRADER: dict[str, Any] = {
    "type": "string_check",
    "name": "yes",
    "input": "{{ sample.output_text }}",
    "operation": "eq",
    "reference": "{{ item.answer }}",
}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Two nodes for all tests of this file; the last of them loses one."""
    with two_nodes(tmp_path_factory.mktemp("ray")) as found:
        yield found


def config_of(nodes: Nodes, shared: Path) -> str:
    """A server whose jobs train on the nodes, with their folders in a shared one."""
    shared.mkdir()
    own = configured(nodes.first.parent / "models-to-be").partition('[[deployment]]\nname = "echo"')[0]
    own = own.replace("[fine_tuning]", f'[fine_tuning]\nfolder = "{shared}"\nthreads = 2')
    return own.replace('name = "tiny"', 'name = "tiny"\nzone = "us"') + nodes.config


def where(service: Service, job_id: str) -> str:
    """The name of the node that a job has room on; empty where it has none."""
    nodes = {node["id"]: node["name"] for node in service.get("/admin/cluster", key=service.key).json()["data"]}
    for each in service.get("/admin/arbiter", key=service.key).json()["workloads"]:
        if each["workload"] == job_id and each["nodes"]:
            return str(nodes[each["nodes"][0]])
    return ""


def steps(service: Service, job_id: str) -> int:
    """The newest step at which a job has a checkpoint."""
    found = service.get(f"{JOBS}/{job_id}/checkpoints?limit=1", key=service.key).json()["data"]
    return int(found[0]["step_number"]) if found else 0


def processes(job_id: str) -> list[int]:
    """The processes of a job, wherever they run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if PROGRAM.replace("_server", "_program").encode() in words and job_id.encode() in b" ".join(words):
                found.append(int(entry.name))
    return found


def drain(service: Service, node: str, *, undo: bool = False) -> None:
    """Place nothing more on a node, or place on it again."""
    assert service.post(f"/admin/cluster/nodes/{node}/{'resume' if undo else 'drain'}", {}).status == 200


def test_a_job_trains_where_its_project_may_be(nodes: Nodes, tmp_path: Path) -> None:
    """On the node of the permitted zone, with the base copied there, no network, and graders that answer from here."""
    with Service(nodes.first, config_of(nodes, tmp_path / "shared") + US_ONLY, program=PROGRAM) as service:
        slow = begin(service, suffix="patient")
        eventually(lambda: steps(service, slow["id"]) > 0, f"it trains: {service.log()[-3000:]}")
        assert where(service, slow["id"]) == OTHER
        assert processes(slow["id"])
        service.post(f"{JOBS}/{slow['id']}/pause", {})
        reached(service, slow["id"], "paused")
        kept = steps(service, slow["id"])
        assert not processes(slow["id"])
        service.post(f"{JOBS}/{slow['id']}/resume", {})
        eventually(lambda: steps(service, slow["id"]) > kept, f"it goes on: {service.log()[-3000:]}")
        assert f"Training goes on from step {kept}." in messages(service, slow["id"])
        assert service.post(f"{JOBS}/{slow['id']}/cancel", {}).json()["status"] == "cancelled"
        eventually(lambda: not processes(slow["id"]), "its process is gone")
        leaking = ended(service, begin(service, suffix="leak")["id"])
        assert leaking["status"] == "succeeded", leaking
        assert "network: False" in messages(service, leaking["id"])
        copies = [{file.name for file in (home / "models" / "blobs").iterdir()} for home in (nodes.first, nodes.second)]
        assert len(copies[1]) == 1
        assert copies[1] < copies[0], "the base, and not what came of it"
        graded = ended(service, begin(service, method=reinforcement(), data=questions())["id"])
        assert graded["status"] == "succeeded", graded
        rewards = [event["data"]["train_mean_reward"] for event in metrics(service, graded["id"])]
        assert set(rewards) == {0.0, 1.0}
        eventually(lambda: not list((tmp_path / "shared").glob("*/*")), "folders go with their jobs")


@pytest.mark.long
def test_a_job_outlives_its_process_and_its_node(nodes: Nodes, tmp_path: Path) -> None:
    """Killed on its node it goes on from its checkpoint; when the node is lost, on another; tokens are charged once."""
    with Service(nodes.first, config_of(nodes, tmp_path / "shared"), program=PROGRAM) as service:
        drain(service, HEAD)
        made = begin(service, suffix="patient")["id"]
        eventually(lambda: steps(service, made) > 0, f"it trains: {service.log()[-3000:]}")
        assert where(service, made) == OTHER
        killed = processes(made)
        assert killed
        for pid in killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: resumed(service, made) == 1, f"it is tried again: {service.log()[-3000:]}")
        assert where(service, made) == OTHER
        drain(service, HEAD, undo=True)
        nodes.lose_second()
        eventually(lambda: where(service, made) == HEAD, f"it goes on: {service.log()[-3000:]}")
        done = ended(service, made)
        assert (done["status"], done["trained_tokens"]) == ("succeeded", 15_000), done
        told = messages(service, made)
        assert resumed(service, made) == 2, told
        assert any("The node on which the job trained was lost" in each for each in told), told
        assert sum(row["prompt_tokens"] for row in receipts_of(service, made)) == 15_000
        check_reconciled(nodes.first)


def resumed(service: Service, job_id: str) -> int:
    """How often a job has gone on from a checkpoint."""
    return sum(each.startswith("Training goes on from step") for each in messages(service, job_id))


def reinforcement() -> dict[str, Any]:
    """A method whose answers are graded."""
    return {"type": "reinforcement", "reinforcement": {"grader": GRADER}}


def questions() -> bytes:
    """Examples of it."""
    line = b'{"messages": [{"role": "user", "content": "yes?"}], "answer": "yes"}\n'
    return line * 12


def metrics(service: Service, job_id: str) -> list[Any]:
    """The events that have numbers."""
    found = service.get(f"{JOBS}/{job_id}/events?limit=100", key=service.key).json()["data"]
    return [event for event in found if event["type"] == "metrics"]
