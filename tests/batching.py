"""Batches as tests send and read them, over plain HTTP."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tests.api.uploads import form, upload
from tests.service import Service, eventually

CHAT = "/v1/chat/completions"
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


def line(custom_id: Any, said: str = "one two", url: str = CHAT, **more: Any) -> dict[str, Any]:
    """A line that asks the echo engine."""
    body = {"model": "echo", "messages": [{"role": "user", "content": said}], **more}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def jsonl(lines: Iterable[Mapping[str, Any]]) -> bytes:
    """Lines as a file."""
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


def send(service: Service, data: bytes, key: str, endpoint: str = CHAT, **more: Any) -> Any:
    """Upload a file and make a batch of it; the answer's body."""
    sent = upload(service, form(data, "in.jsonl", purpose="batch"), key)
    assert sent.status == 200, sent.body
    asked = {"input_file_id": sent.json()["id"], "endpoint": endpoint, "completion_window": "24h", **more}
    return service.post("/v1/batches", asked, key=key).json()


def look(service: Service, batch_id: str, key: str) -> Any:
    """A batch as it is now."""
    return service.get(f"/v1/batches/{batch_id}", key=key).json()


def ended(service: Service, batch_id: str, key: str) -> Any:
    """A batch once it has ended."""
    eventually(lambda: look(service, batch_id, key)["status"] in ENDED, f"ends: {batch_id}")
    return look(service, batch_id, key)


def lines_in(service: Service, file_id: str | None, key: str) -> list[Any]:
    """The lines of a file of answers; none of no file."""
    if file_id is None:
        return []
    found = service.get(f"/v1/files/{file_id}/content", key=key)
    assert found.status == 200
    return [json.loads(each) for each in found.body.splitlines()]
