"""Fine-tuning as tests ask for it, over plain HTTP, of a server that only counts."""

import json
from pathlib import Path
from typing import Any

from tests.api.uploads import form, upload
from tests.catalog.making import gguf_bytes
from tests.service import Service, eventually

JOBS = "/v1/fine_tuning/jobs"
PROGRAM = "tests.tuning_server"
ENDED = frozenset({"succeeded", "failed", "cancelled"})
CONFIG = """
[server]
starter = false

[fine_tuning]
price = "0.5"
max_running = 2
max_running_per_project = 2

[[deployment]]
name = "tiny"
aliases = ["small"]
model = "file://{folder}/tiny-base.gguf"
start = "on_demand"
price = {{ input = "1" }}

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
"""


def configured(folder: Path) -> str:
    """The configuration, with a base to train in that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny-base.gguf").write_bytes(gguf_bytes())
    return CONFIG.format(folder=folder)


def examples(count: int = 20, said: str = "good day") -> bytes:
    """A file of examples."""
    lines = [
        {"messages": [{"role": "user", "content": f"{said} {n}"}, {"role": "assistant", "content": f"answer {n}"}]}
        for n in range(count)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def send_file(service: Service, data: bytes, key: str | None = None, purpose: str = "fine-tune") -> str:
    """Upload a file of examples; its id."""
    sent = upload(service, form(data, "examples.jsonl", purpose=purpose), key or service.key)
    assert sent.status == 200, sent.body
    return str(sent.json()["id"])


def begin(service: Service, key: str | None = None, data: bytes | None = None, **more: Any) -> Any:
    """Make a job; the answer's body."""
    file_id = send_file(service, examples() if data is None else data, key)
    return service.post(JOBS, {"model": "tiny", "training_file": file_id, **more}, key=key).json()


def look(service: Service, job_id: str, key: str | None = None) -> Any:
    """A job as it is now."""
    return service.get(f"{JOBS}/{job_id}", key=key or service.key).json()


def ended(service: Service, job_id: str, key: str | None = None) -> Any:
    """A job once it has ended."""
    eventually(
        lambda: look(service, job_id, key)["status"] in ENDED,
        lambda: f"{look(service, job_id, key)} ends; {messages(service, job_id, key)}; {service.log()[-3000:]}",
    )
    return look(service, job_id, key)


def reached(service: Service, job_id: str, status: str) -> Any:
    """A job once it has that status."""
    eventually(
        lambda: look(service, job_id)["status"] == status,
        lambda: f"{look(service, job_id)} is {status}; {messages(service, job_id)}; {service.log()[-3000:]}",
    )
    return look(service, job_id)


def messages(service: Service, job_id: str, key: str | None = None) -> list[str]:
    """What is told of a job, oldest first."""
    found: list[Any] = []
    more = True
    while more:
        after = f"&after={found[-1]['id']}" if found else ""
        page = service.get(f"{JOBS}/{job_id}/events?limit=100{after}", key=key or service.key).json()
        found, more = [*found, *page["data"]], page["has_more"]
    return [event["message"] for event in reversed(found)]


def receipts_of(service: Service, job_id: str) -> list[Any]:
    """The receipts of the runs of a job that trained something, oldest first."""
    paths = sorted((service.home.journal / "main").glob("*.jsonl"))
    lines = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    bodies = [line["body"] for line in lines if line["kind"] == "receipt"]
    mine = [body for body in bodies if (body.get("parameters") or {}).get("fine_tuning_job") == job_id]
    return [body for body in mine if body["prompt_tokens"]]
