"""What goes to a tool and comes back: arguments that fit the tool's schema, and output as text within bounds."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import orjson
import re2
from jsonschema import Draft4Validator, Draft6Validator, Draft7Validator, Draft201909Validator, Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from freehold.errors import McpCallRefused, McpFailed
from freehold.types.mcp import Answer, RemoteResult, RemoteTool

DRAFTS: Final[Mapping[str, type[Validator]]] = {
    "http://json-schema.org/draft-04/schema": Draft4Validator,
    "http://json-schema.org/draft-06/schema": Draft6Validator,
    "http://json-schema.org/draft-07/schema": Draft7Validator,
    "https://json-schema.org/draft/2019-09/schema": Draft201909Validator,
}
"""What a schema may say that it is; else it is of the draft of 2020-12, as the protocol has it."""

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
        problem = next(iter(_validator(tool.input_schema).iter_errors(given)), None)
    except (SchemaError, Unresolvable, RecursionError) as exc:
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


def _validator(schema: Mapping[str, Any]) -> Validator:
    """Checks by the schema's own draft, fetches nothing, and matches patterns in linear time.

    Raises:
        SchemaError: it is no schema.
    """
    named = schema.get("$schema")
    draft = DRAFTS.get(named.rstrip("#"), Draft202012Validator) if isinstance(named, str) else Draft202012Validator
    draft.check_schema(dict(schema))
    return _linear(draft)(dict(schema), registry=Registry())


@cache
def _linear(draft: type[Validator]) -> type[Validator]:
    """A draft whose patterns are matched by RE2; what would need more than that is left to the server to check."""
    rules = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "unevaluatedProperties": _unchecked,
    }
    linear: type[Validator] = extend(draft, rules)  # type: ignore[no-untyped-call]
    return linear


def _matches(pattern: str, text: str) -> bool | None:
    """Whether a pattern is found in a text; None where only an engine that may take forever could tell."""
    try:
        return re2.search(pattern, text) is not None
    except re2.error:
        return None


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and _matches(pattern, value) is False:
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Mapping[str, Any], value: Any, _: Any) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    for pattern, schema in patterns.items():
        for name, each in value.items():
            if _matches(pattern, name):
                yield from validator.descend(each, schema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, rest: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, each in value.items():
        if name in named or any(_matches(pattern, name) is not False for pattern in patterns):
            continue
        if rest is False:
            yield ValidationError(f"there is no argument {name!r} here")
        elif isinstance(rest, dict):
            yield from validator.descend(each, rest, path=name)


def _unchecked(*_: Any) -> Iterator[ValidationError]:
    return iter(())


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
