"""A server with something to see in the console: deployments, requests, a limit, a model and a batch."""

from decimal import Decimal
from pathlib import Path

from tests.api.uploads import form, upload
from tests.batching import ended, jsonl
from tests.catalog.making import gguf_bytes
from tests.service import Service, eventually

OWNER = "olga@example.org"
CONFIG = """
[server]
starter = false

[[deployment]]
name = "chat"
engine = "echo"
model = "echo"
aliases = ["gpt-4o"]
replicas = 2
price = { input = "0.15", output = "0.6" }

[[deployment]]
name = "vectors"
engine = "echo"
model = "echo"
task = "embeddings"
"""


def ask(service: Service, said: str = "one two three", model: str = "chat") -> str:
    """Ask a model for an answer; the request's id."""
    body = {"model": model, "messages": [{"role": "user", "content": said}]}
    reply = service.post("/v1/chat/completions", body)
    return reply.headers["x-request-id"]


def send_batch(service: Service, lines: int, model: str = "chat", said: str = "one two") -> str:
    """Send a batch for the deployment; its id."""
    body = {"model": model, "messages": [{"role": "user", "content": said}]}
    data = jsonl(
        {"custom_id": f"line-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        for number in range(lines)
    )
    sent = upload(service, form(data, "in.jsonl", purpose="batch"), service.key)
    asked = {
        "input_file_id": sent.json()["id"],
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    made: str = service.post("/v1/batches", asked).json()["id"]
    return made


def job_of(service: Service, subject: str) -> str:
    """The id of the job that works on a batch."""
    found = service.get("/v1/jobs", key=service.key).json()["data"]
    return next(str(each["id"]) for each in found if each["subject"] == subject)


def fill(service: Service, folder: Path) -> dict[str, str]:
    """Have things happen that the console's pages show; the ids of some of them."""
    weights = folder / "tiny.gguf"
    weights.write_bytes(gguf_bytes())
    service.post("/admin/models", {"source": weights.as_uri(), "name": "tiny-1"})
    service.post("/admin/models/tiny-1/default", {"family": "tiny", "version": "1"})
    price = {"input": "1.5", "output": "6"}
    service.post("/admin/deployments", {"name": "tea", "model": "echo", "engine": "echo", "price": price})
    service.post("/admin/deployments", {"name": "broken", "model": "nothing-here", "engine": "llamacpp"})
    eventually(lambda: _state(service, "tea") == "ready", "the deployment is ready")
    units = {"units": 5, "reserved": {"proj-default": 2}, "spillover": "chat"}
    service.request("PUT", "/admin/deployments/tea/capacity?force=true", units, key=service.key)
    canary = {"model": "echo-2", "share": 0.2, "rollback_if": "errors > base + 0.05"}
    service.post("/admin/deployments/tea/canary", canary)
    for words in range(1, 9):
        ask(service, "word " * words)
        ask(service, "word " * words, "tea")
    ask(service, model="nobody")
    batch = send_batch(service, 4)
    ended(service, batch, service.key)
    receipt = ask(service, "the last one")
    eventually(lambda: service.get(f"/v1/receipts/{receipt}", key=service.key).status == 200, "its receipt is there")
    _limit_to_little_more_than_was_used(service)
    return {"receipt": receipt, "job": job_of(service, batch)}


def _limit_to_little_more_than_was_used(service: Service) -> None:
    rates = {"scope": "project", "id": "proj-default", "requests_per_minute": 1000, "budget_per_month": "50"}
    put = service.request("PUT", "/admin/limits", rates, key=service.key).json()
    most = Decimal(put["used"]["budget_per_month"]) * Decimal("1.1")
    budget = str(most.quantize(Decimal("0.000001")))
    service.request("PUT", "/admin/limits", {**rates, "budget_per_month": budget}, key=service.key)


def _state(service: Service, name: str) -> str:
    found: str = service.get(f"/admin/deployments/{name}", key=service.key).json()["state"]
    return found
