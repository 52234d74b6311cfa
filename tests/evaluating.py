"""Evaluations as tests make and follow them, over plain HTTP."""

from collections.abc import Iterable, Mapping
from typing import Any

from tests.service import Service, eventually

ENDED = frozenset({"completed", "canceled", "failed"})
SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["question"],
}
ASKED = {"type": "template", "template": [{"role": "user", "content": "{{ item.question }}"}]}


def check(name: str = "right", operation: str = "eq") -> dict[str, Any]:
    """A criterion: the answer is, or has in it, `item.answer`."""
    return {
        "type": "string_check",
        "name": name,
        "input": "{{ sample.output_text }}",
        "reference": "{{ item.answer }}",
        "operation": operation,
    }


def evaluation(*criteria: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """An evaluation of questions and answers."""
    config = {"type": "custom", "item_schema": SCHEMA, "include_sample_schema": True}
    return {"name": "quiz", "data_source_config": config, "testing_criteria": list(criteria or [check()]), **more}


def items(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Questions and answers, within a request."""
    content = [{"item": {"question": question, "answer": answer}} for question, answer in pairs]
    return {"type": "file_content", "content": content}


def asking(source: Mapping[str, Any], model: str = "echo", **more: Any) -> dict[str, Any]:
    """A run that asks a model."""
    return {"data_source": {"type": "completions", "source": source, "input_messages": ASKED, "model": model, **more}}


def begun(service: Service, body: Mapping[str, Any], key: str, criteria: Any = ()) -> tuple[Any, Any]:
    """A new evaluation, and a run of it."""
    made = service.post("/v1/evals", evaluation(*criteria), key=key)
    assert made.status == 201, made.body
    run = service.post(f"/v1/evals/{made.json()['id']}/runs", body, key=key)
    assert run.status == 201, run.body
    return made.json(), run.json()


def look(service: Service, run: Mapping[str, Any], key: str, behind: str = "") -> Any:
    """A run as it is now."""
    return service.get(f"/v1/evals/{run['eval_id']}/runs/{run['id']}{behind}", key=key).json()


def ended(service: Service, run: Mapping[str, Any], key: str) -> Any:
    """A run once it has ended."""
    eventually(lambda: look(service, run, key)["status"] in ENDED, f"ends: {run['id']}")
    return look(service, run, key)
