"""What `/metrics` counts is what receipts say, whoever a thing was done for."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.batching import ended, jsonl, line, send
from tests.faults.books import receipts
from tests.service import Service, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
price = { input = "1", output = "2" }

[[deployment]]
name = "painter"
engine = "echo"
model = "echo"
task = "images"
aliases = ["dall-e-2"]
price = { image = "0.02" }
"""
COUNTER = re.compile(r'^freehold_(\w+)_total\{deployment="(\w+)"(?:,kind="(\w+)")?\} (\S+)$', re.MULTILINE)


def told(service: Service) -> Counter[tuple[str, str]]:
    """What the counters of deployments say."""
    found: Counter[tuple[str, str]] = Counter()
    for name, deployment, kind, value in COUNTER.findall(service.get("/metrics").body.decode()):
        found[f"{name}_{kind}" if kind else name, deployment] = int(float(value))
    return +found


def recorded(home: Path) -> Counter[tuple[str, str]]:
    """The same by the receipts."""
    found: Counter[tuple[str, str]] = Counter()
    for body in receipts(home):
        for name, field in (
            ("tokens_prompt", "prompt_tokens"),
            ("tokens_completion", "completion_tokens"),
            ("images", "images"),
            ("cost_micro", "cost_micro"),
        ):
            if "deployment" in body:
                found[name, body["deployment"]] += body.get(field, 0)
    return +found


def test_everything_that_has_a_receipt_is_counted(tmp_path: Path) -> None:
    """Requests, later questions and pictures of a response, work in the background, and lines of a batch."""
    with Service(tmp_path / "home", CONFIG) as service:
        key = service.key
        asked = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}]}
        assert service.post("/v1/chat/completions", asked).status == 200
        tool = {"type": "image_generation", "size": "256x256"}
        painted = {"model": "echo", "input": "image_generation please", "tools": [tool]}
        assert service.post("/v1/responses", painted).status == 200
        later = service.post("/v1/responses", {"model": "echo", "input": "a b", "background": True}).json()["id"]
        eventually(
            lambda: service.get(f"/v1/responses/{later}", key=key).json()["status"] == "completed", "it is answered"
        )
        batch = send(service, jsonl([line("one"), line("two")]), key)
        assert ended(service, batch["id"], key)["status"] == "completed"
        found = recorded(service.home.root)
        assert {name for name, _ in found} == {"tokens_prompt", "tokens_completion", "images", "cost_micro"}
        assert told(service) == found
