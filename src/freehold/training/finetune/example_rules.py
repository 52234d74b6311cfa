"""What an example may look like, for each method; source: OpenAI's guide to fine-tuning, and its types of messages.

Rules are functions that add complaints to a finding, each with the field's path, and go on: whoever mends a file wants
to know all that is wrong with a line.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from freehold.training.finetune.protocol import Method

ROLES: Final = ("system", "developer", "user", "assistant", "tool")
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "system": frozenset({"role", "content", "name"}),
    "developer": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset({"role", "content", "name", "weight", "tool_calls", "refusal"}),
    "tool": frozenset({"role", "content", "tool_call_id"}),
}
_CHAT: Final = frozenset({"messages", "tools", "parallel_tool_calls"})


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with a field of an example."""

    field: str
    message: str


@dataclass(slots=True)
class Finding:
    """What was found in an example: complaints, and how much text it has."""

    complaints: list[Complaint] = field(default_factory=list)
    text_bytes: int = 0

    def add(self, path: str, message: str) -> None:
        """Complain about a field."""
        self.complaints.append(Complaint(path, message))

    def text(self, value: str) -> None:
        """Count a text; one that was decoded strictly can always be encoded."""
        self.text_bytes += len(value.encode())


def complaints(example: Mapping[str, Any], method: Method) -> Finding:
    """Check one example of a method."""
    finding = Finding()
    _EXAMPLES[method](example, finding)
    return finding


def _supervised(example: Mapping[str, Any], finding: Finding) -> None:
    if "messages" not in example:
        _completion(example, finding)
        return
    _closed(example, _CHAT, "", finding)
    messages = _conversation(example, "", finding)
    if messages and messages[-1].get("role") != "assistant":
        finding.add(f"messages[{len(messages) - 1}].role", "the last message must be the assistant's, to be learnt")
    answers = [message for message in messages or () if message.get("role") == "assistant"]
    if messages and answers and all(message.get("weight") == 0 for message in answers):
        finding.add("messages", "every message of the assistant has weight 0, so nothing would be learnt")


def _completion(example: Mapping[str, Any], finding: Finding) -> None:
    if "prompt" not in example and "completion" not in example:
        finding.add("messages", "is missing; an example has messages, or a prompt and a completion")
        return
    _closed(example, frozenset({"prompt", "completion"}), "", finding)
    for name in ("prompt", "completion"):
        value = example.get(name)
        if not isinstance(value, str):
            finding.add(name, "must be a text" if name in example else "is missing")
            continue
        finding.text(value)
    if example.get("completion") == "":
        finding.add("completion", "must not be empty")


def _preference(example: Mapping[str, Any], finding: Finding) -> None:
    _closed(example, frozenset({"input", "preferred_output", "non_preferred_output"}), "", finding)
    given = example.get("input")
    if not isinstance(given, dict):
        finding.add("input", "must be an object with messages" if "input" in example else "is missing")
    else:
        _closed(given, _CHAT, "input.", finding)
        messages = _conversation(given, "input.", finding)
        if messages and messages[-1].get("role") not in ("user", "tool"):
            place = f"input.messages[{len(messages) - 1}].role"
            finding.add(place, "the last message must be the user's or a tool's, to be answered")
    known = _tool_call_ids(given.get("messages") if isinstance(given, dict) else None)
    for name in ("preferred_output", "non_preferred_output"):
        output = example.get(name)
        if not isinstance(output, list) or not output:
            finding.add(name, "must be a list of messages" if name in example else "is missing")
            continue
        _messages(output, name, finding, roles=("assistant", "tool"), known=set(known), weights=False)
        if isinstance(output[-1], dict) and output[-1].get("role") == "tool":
            finding.add(f"{name}[{len(output) - 1}].role", "the last message must be the assistant's")
    if "preferred_output" in example and example["preferred_output"] == example.get("non_preferred_output"):
        finding.add("non_preferred_output", "is the same as the preferred one, so nothing could be learnt")


def _reinforcement(example: Mapping[str, Any], finding: Finding) -> None:
    messages = _conversation(example, "", finding)
    if messages and messages[-1].get("role") not in ("user", "tool"):
        place = f"messages[{len(messages) - 1}].role"
        finding.add(place, "the last message must be the user's or a tool's, to be answered")


_EXAMPLES: Final[Mapping[Method, Callable[[Mapping[str, Any], Finding], None]]] = {
    "supervised": _supervised,
    "dpo": _preference,
    "reinforcement": _reinforcement,
}


def _conversation(example: Mapping[str, Any], prefix: str, finding: Finding) -> list[dict[str, Any]] | None:
    """The messages, if each of them is an object; the tools are checked too."""
    if not isinstance(example.get("parallel_tool_calls"), bool | None):
        finding.add(f"{prefix}parallel_tool_calls", "must be true or false")
    _tools(example.get("tools"), f"{prefix}tools", finding)
    messages = example.get("messages")
    if not isinstance(messages, list) or not messages:
        finding.add(f"{prefix}messages", "must be a list of messages" if "messages" in example else "is missing")
        return None
    _messages(messages, f"{prefix}messages", finding, roles=ROLES, known=set(), weights=True)
    return messages if all(isinstance(message, dict) for message in messages) else None


def _messages(
    messages: list[Any], path: str, finding: Finding, *, roles: tuple[str, ...], known: set[str], weights: bool
) -> None:
    """Check messages; `known` has the ids of calls that a tool may answer, and grows."""
    for index, message in enumerate(messages):
        place = f"{path}[{index}]"
        if not isinstance(message, dict):
            finding.add(place, "must be an object with a role and content")
            continue
        role = message.get("role")
        if not isinstance(role, str) or role not in roles:
            given = f"'{role[:32]}' is none" if isinstance(role, str) else "is missing" if role is None else "is none"
            finding.add(f"{place}.role", f"{given}; must be one of: {', '.join(roles)}")
            continue
        _closed(message, _FIELDS[role] if weights else _FIELDS[role] - {"weight"}, f"{place}.", finding)
        _message(message, place, role, known, finding)
        known |= _tool_call_ids([message])


def _message(message: Mapping[str, Any], place: str, role: str, known: set[str], finding: Finding) -> None:
    calls = message.get("tool_calls")
    _content(message, f"{place}.content", finding, optional=role == "assistant" and bool(calls))
    if message.get("name") is not None and not isinstance(message["name"], str):
        finding.add(f"{place}.name", "must be a text")
    weight = message.get("weight", 1)
    if isinstance(weight, bool) or not isinstance(weight, int) or weight not in {0, 1}:
        finding.add(f"{place}.weight", "must be 0 (not learnt) or 1")
    if message.get("refusal") is not None:
        finding.add(f"{place}.refusal", "must be null; write a refusal as the message's content")
    if "tool_calls" in message:
        _tool_calls(calls, f"{place}.tool_calls", finding)
    if role == "tool":
        answered = message.get("tool_call_id")
        if not isinstance(answered, str):
            finding.add(f"{place}.tool_call_id", "must be the id of a call")
        elif answered not in known:
            finding.add(f"{place}.tool_call_id", "is the id of no call before it")


def _content(message: Mapping[str, Any], place: str, finding: Finding, *, optional: bool) -> None:
    content = message.get("content")
    if content is None and optional:
        return
    if isinstance(content, str):
        finding.text(content)
        if not content and not optional and message["role"] == "assistant":
            finding.add(place, "must not be empty")
        return
    if not isinstance(content, list) or not content:
        finding.add(place, "must be a text or a list of parts" if "content" in message else "is missing")
        return
    for index, part in enumerate(content):
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            kind = part.get("type") if isinstance(part, dict) else None
            told = (
                f"parts of the type '{kind[:32]}' are not learnt; " if isinstance(kind, str) and kind != "text" else ""
            )
            finding.add(f"{place}[{index}]", f'{told}a part must be {{"type": "text", "text": …}}')
            continue
        _closed(part, frozenset({"type", "text"}), f"{place}[{index}].", finding)
        finding.text(part["text"])


def _tool_calls(calls: Any, path: str, finding: Finding) -> None:
    if not isinstance(calls, list) or not calls:
        finding.add(path, "must be a list of calls")
        return
    for index, call in enumerate(calls):
        place = f"{path}[{index}]"
        if not isinstance(call, dict) or call.get("type") != "function" or not isinstance(call.get("function"), dict):
            finding.add(place, 'must be {"id": …, "type": "function", "function": {"name": …, "arguments": …}}')
            continue
        _closed(call, frozenset({"id", "type", "function"}), f"{place}.", finding)
        function = call["function"]
        _closed(function, frozenset({"name", "arguments"}), f"{place}.function.", finding)
        if not isinstance(call.get("id"), str) or not call["id"]:
            finding.add(f"{place}.id", "must be a text that is not empty")
        if not isinstance(function.get("name"), str) or not function["name"]:
            finding.add(f"{place}.function.name", "must be the name of a function")
        arguments = function.get("arguments")
        if not isinstance(arguments, str) or not _is_object(arguments):
            finding.add(f"{place}.function.arguments", "must be a JSON object, written as a text")
        else:
            finding.text(arguments)


def _tools(tools: Any, path: str, finding: Finding) -> None:
    if tools is None:
        return
    if not isinstance(tools, list) or not tools:
        finding.add(path, "must be a list of tools")
        return
    for index, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
            finding.add(f"{path}[{index}]", 'must be {"type": "function", "function": {"name": …, "parameters": …}}')
        elif not isinstance(function.get("parameters", {}), dict):
            finding.add(f"{path}[{index}].function.parameters", "must be a JSON schema, which is an object")


def _closed(value: Mapping[str, Any], known: frozenset[str], prefix: str, finding: Finding) -> None:
    for name in value:
        if name not in known:
            finding.add(
                f"{prefix}{name[:64]}", f"is not a field that is known here; there are: {', '.join(sorted(known))}"
            )


def _tool_call_ids(messages: Any) -> set[str]:
    """The ids of the calls in messages, as far as they are in order."""
    found: set[str] = set()
    for message in messages if isinstance(messages, list) else ():
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict) and isinstance(call.get("id"), str):
                found.add(call["id"])
    return found


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
