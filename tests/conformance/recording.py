"""The official client, with everything that it receives kept and judged by the published specification."""

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx2
from openai import AzureOpenAI, OpenAI

from tests.conformance.spec import AzureSpec, OpenAISpec
from tests.service import Service

Dialect = Literal["openai", "azure", "azure-v1"]

CHUNKS = {
    "chat/completions": "CreateChatCompletionStreamResponse",
    "completions": "CreateCompletionResponse",
    "images/generations": "ImageGenStreamEvent",
    "images/edits": "ImageEditStreamEvent",
    "responses": "ResponseStreamEvent",
    "responses/{response_id}": "ResponseStreamEvent",
}
UNDESCRIBED = {("DELETE", "responses/{response_id}")}
"""Operations of whose answers the document says nothing but their status."""


@dataclass(slots=True)
class Judge:
    """Collects what is wrong with answers; `count` tells how many were looked at."""

    spec: OpenAISpec | None
    azure: AzureSpec | None
    problems: list[str] = field(default_factory=list)
    count: int = 0

    def look(self, method: str, url: str, status: int, content_type: str, body: bytes) -> None:
        """Judge one answer, or every event of a stream."""
        if self.spec is None:
            return
        operation = self.spec.template(_operation(url))
        if status >= 400:
            error = _as_openai(json.loads(body)) if "/openai/" in url else json.loads(body)
            self._check("ErrorResponse", error, f"{method} {operation} {status}")
            return
        if content_type.startswith("text/event-stream"):
            for event in sse_events(body):
                self._check(CHUNKS[operation], event, f"{method} {operation} event")
            return
        if content_type == "application/octet-stream":
            return  # a file, which may hold anything
        if (method, operation) in UNDESCRIBED:
            return
        validator = self.spec.response_validator(method, f"/{operation}", status, closed=True)
        self._note(validator.problems(_as_floats(json.loads(body))), f"{method} {operation}")

    def _check(self, schema: str, instance: Any, where: str) -> None:
        assert self.spec is not None, "checked by the caller"
        self._note(self.spec.schema_validator(schema, closed=True).problems(instance), where)

    def _note(self, problems: list[Any], where: str) -> None:
        self.count += 1
        self.problems += [f"{where}: {problem}" for problem in problems]


class RecordingTransport(httpx2.BaseTransport):
    """A transport that shows each answer to the judge once it was read."""

    def __init__(self, judge: Judge) -> None:
        self._inner = httpx2.HTTPTransport()
        self._judge = judge

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, read its answer whole, and hand it on."""
        response = self._inner.handle_request(request)
        body = response.read()
        kind = response.headers.get("content-type", "")
        self._judge.look(request.method, str(request.url), response.status_code, kind, body)
        return httpx2.Response(response.status_code, headers=response.headers, content=body, request=request)

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


def client_for(service: Service, dialect: Dialect, judge: Judge, *, key: str | None = None) -> OpenAI:
    """The official client in one of the dialects; it never retries, so that an error shows."""
    http = httpx2.Client(transport=RecordingTransport(judge), timeout=120)
    given = key or service.key
    if dialect == "azure":
        return AzureOpenAI(
            azure_endpoint=service.url, api_key=given, api_version="2024-10-21", http_client=http, max_retries=0
        )
    base = "/v1" if dialect == "openai" else "/openai/v1"
    return OpenAI(base_url=service.url + base, api_key=given, http_client=http, max_retries=0)


def sse_events(body: bytes) -> Iterator[Any]:
    """The events of a stream, without the closing `[DONE]`."""
    for block in body.split(b"\n\n"):
        lines = dict(line.split(b": ", 1) for line in block.splitlines() if line)
        data = lines.get(b"data")
        if data and data != b"[DONE]":
            event = json.loads(data)
            assert lines.get(b"event", event.get("type", "").encode()) == event.get("type", "").encode()
            yield event


def _as_openai(answer: Any) -> Any:
    """Azure's refusal of a prompt in OpenAI's form: Azure sends no type, and the HTTP status once more."""
    error = answer["error"]
    if error.get("code") == "content_filter" and error["type"] is None and error["status"] == 400:
        return {"error": {"type": "", **{name: error[name] for name in error if name not in {"type", "status"}}}}
    return answer


def _as_floats(answer: Any) -> Any:
    """An answer with base64 vectors as arrays: the document knows the parameter, but only the shape of floats."""
    for item in answer.get("data", []):
        if isinstance(item.get("embedding"), str):
            raw = base64.b64decode(item["embedding"])
            item["embedding"] = list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return answer


def _operation(url: str) -> str:
    """The operation's path without server, dialect and deployment."""
    path = url.split("?", maxsplit=1)[0].split("://", 1)[1].split("/", 1)[1]
    for prefix in ("openai/v1/", "v1/"):
        if path.startswith(prefix):
            path = path.removeprefix(prefix)
            break
    else:
        path = path.removeprefix("openai/")
        if path.startswith("deployments/"):
            path = path.split("/", 2)[2]
    return path
