"""`freehold jobs`, without a running server and with one."""

import json
import urllib.request

import pytest

from tests.api.uploads import BOUNDARY, form
from tests.batching import CHAT, jsonl, line
from tests.cli.program import Program, Server

pytestmark = pytest.mark.slow


def test_what_is_not_there_is_named(program: Program) -> None:
    """There are none at first, and what is not there is named."""
    assert program.json("jobs", "list")["data"] == []
    assert "batch_0" in program.refused(2, "jobs", "show", "batch_0")
    assert "batch_0" in program.refused(2, "jobs", "cancel", "batch_0")


def test_what_is_wrong_with_an_input_is_shown(echo_server: tuple[Program, Server]) -> None:
    """The errors of a batch stand in the table with their lines; what has ended cannot be cancelled."""
    program, _ = echo_server
    url = json.loads((program.home / "run" / "server.json").read_text())["url"]
    key = (program.home / "admin.key").read_text().strip()

    def post(path: str, body: bytes, content_type: str) -> str:
        headers = {"authorization": f"Bearer {key}", "content-type": content_type}
        with urllib.request.urlopen(urllib.request.Request(url + path, body, headers)) as answer:
            return str(json.load(answer)["id"])

    data = form(jsonl([line("a"), line("a")]), "in.jsonl", purpose="batch")
    file_id = post("/v1/files", data, f"multipart/form-data; boundary={BOUNDARY}")
    asked = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
    batch_id = post("/v1/batches", json.dumps(asked).encode(), "application/json")
    while program.json("jobs", "show", batch_id)["status"] == "validating":
        pass
    assert "duplicate_custom_id" in program.fine("jobs", "show", batch_id)
    assert batch_id in program.fine("jobs", "list")
    assert batch_id not in program.fine("jobs", "list", "--active")
    assert "failed" in program.refused(2, "jobs", "cancel", batch_id)
