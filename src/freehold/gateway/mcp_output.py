"""What goes to a tool and comes back: arguments that fit the tool's schema, and output as text within bounds."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from jsonschema.exceptions import SchemaError
from referencing.exceptions import Unresolvable

from freehold.errors import McpCallRefused, McpFailed
from freehold.gateway.linear_schemas import SchemaTooCostly, linear_validator, problem_of
from freehold.types.mcp import Answer, RemoteResult, RemoteTool

MAX_ARGUMENT_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 64
"""How deep objects and lists of a listing may be nested."""
CUT: Final = "\n[The rest of the output was cut off: it is longer than {most} bytes.]"


def read_arguments(label: str, tool: RemoteTool, arguments: str) -> dict[str, Any]:
    """The arguments of a call, if they are what the tool takes.

    Args:
        label: of the tool's server.
        tool: that is to be called.
        arguments: JSON text, as a model wrote it; empty for none.

    Raises:
        McpCallRefused: they are not; the message tells the model what to do.
        McpFailed: the server's schema is none.
    """
    if len(arguments) > MAX_ARGUMENT_BYTES:
        raise _refused(tool, f"are longer than {MAX_ARGUMENT_BYTES} characters")
    try:
        given = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError as exc:
        raise _refused(tool, "are not JSON") from exc
    if not isinstance(given, dict):
        raise _refused(tool, "are not a JSON object")
    try:
        problem = problem_of(linear_validator(tool.input_schema), given)
    except (SchemaError, Unresolvable, SchemaTooCostly, RecursionError) as exc:
        raise McpFailed(
            f"The MCP server '{label}' describes the arguments of '{tool.name}' with an invalid schema.",
            kind="mcp_protocol_error",
            number=-32603,
        ) from exc
    if problem is not None:
        where = problem.json_path.removeprefix("$").removeprefix(".")
        raise _refused(tool, f"do not fit: {f'{where}: ' if where else ''}{problem.message[:300]}")
    return given


def _refused(tool: RemoteTool, why: str) -> McpCallRefused:
    return McpCallRefused(f"The arguments for the tool '{tool.name}' {why}.", param="arguments")


def read_output(answer: Answer, most_bytes: int) -> RemoteResult:
    """What a model is shown of a tool's answer.

    Args:
        answer: of the server.
        most_bytes: how much of it, in UTF-8.
    """
    text = "\n".join(_text(block) for block in answer.content)
    if not answer.content and answer.structured is not None:
        text = json.dumps(answer.structured, ensure_ascii=False)
    data = text.encode("utf-8", "replace")
    if len(data) <= most_bytes:
        return RemoteResult(data.decode(), answer.is_error)
    mark = CUT.format(most=most_bytes)
    kept = data[: most_bytes - len(mark)].decode("utf-8", "ignore")
    return RemoteResult(kept + mark, answer.is_error, cut=True)


def _text(block: Mapping[str, Any]) -> str:
    """A block of content as text; what is no text is named instead."""
    match block.get("type"):
        case "text":
            return str(block.get("text", ""))
        case "resource" if isinstance((block.get("resource") or {}).get("text"), str):
            return str(block["resource"]["text"])
        case "resource":
            return f"[A resource that is no text: {block.get('resource', {}).get('uri', '')}]"
        case "resource_link":
            return f"[A link: {block.get('name', '')} {block.get('uri', '')}]"
        case "image" | "audio":
            return f"[Content of the type {block.get('mimeType', '')}, which cannot be shown here.]"
    return "[Content of a kind that cannot be shown here.]"


def listing(tools: Sequence[RemoteTool]) -> bytes:
    """Tools as JSON, for their size and digest.

    Raises:
        TypeError: something in them is nested too deep, or is a number beyond 64 bits.
    """
    items = [tool.item() for tool in tools]
    _check_depth(items, MAX_DEPTH)
    return orjson.dumps(items)


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise TypeError(f"nested deeper than {MAX_DEPTH} levels")
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            _check_depth(each, left - 1)
