"""Asking a server whose content filter is on, for tests: what its answers say, and how they end."""

from typing import Any

from tests.service import Reply, Service, events_of, eventually


def path(dialect: str, deployment: str, operation: str) -> str:
    """The address of an operation in a dialect."""
    operation = operation.replace("tools", "chat/completions")
    if dialect == "openai":
        return f"/v1/{operation}"
    return f"/openai/deployments/{deployment}/{operation}?api-version=2024-10-21"


def body_saying(deployment: str, operation: str, text: str) -> dict[str, Any]:
    """A request whose answer says the text."""
    body: dict[str, Any] = {"model": deployment}
    match operation:
        case "completions":
            return body | {"prompt": text, "max_tokens": 400}
        case "tools":
            parameters = {"type": "object", "properties": {"x": {"const": text}}, "required": ["x"]}
            tool = {"type": "function", "function": {"name": "say", "parameters": parameters}}
            return body | {
                "messages": [{"role": "user", "content": "hello"}],
                "tools": [tool],
                "tool_choice": "required",
            }
    return body | {"messages": [{"role": "user", "content": text}]}


def streamed(service: Service, address: str, body: dict[str, Any]) -> list[Any]:
    """The events of a stream, without `[DONE]`, which must be the last."""
    with service.open("POST", address, body | {"stream": True}, key=service.key) as response:
        assert response.status == 200, response.read()
        events = events_of(response)
    assert events[-1] == "[DONE]"
    return events[:-1]


def said(events: list[Any]) -> dict[int, str]:
    """What each choice of a stream said, on whichever channel."""
    texts: dict[int, str] = {}
    for choice in (choice for event in events for choice in event["choices"]):
        delta = choice.get("delta", {})
        text = choice.get("text") or delta.get("content") or ""
        text += "".join(call["function"]["arguments"] for call in delta.get("tool_calls", ()))
        texts[choice["index"]] = texts.get(choice["index"], "") + text
    return texts


def ends(events: list[Any]) -> dict[int, list[str]]:
    """The finish reasons of each choice; the last thing that it says."""
    found: dict[int, list[str]] = {}
    for choice in (choice for event in events for choice in event["choices"]):
        assert choice["index"] not in found, "nothing of a choice comes after its end"
        if choice["finish_reason"]:
            found.setdefault(choice["index"], []).append(choice["finish_reason"])
    return found


def receipt(service: Service, reply: Reply) -> dict[str, Any]:
    """The receipt of a request."""
    return receipt_of(service, reply.headers["x-request-id"])


def receipt_of(service: Service, request_id: str) -> dict[str, Any]:
    """The receipt of that id."""
    address = f"/v1/receipts/{request_id}"
    eventually(lambda: service.get(address, key=service.key).status == 200, "the receipt")
    found: dict[str, Any] = service.get(address, key=service.key).json()["receipt"]
    return found
