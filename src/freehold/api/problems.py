"""Pydantic's findings in OpenAI's words: one message, one parameter, one code."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from freehold.errors import InvalidRequest, UnknownParameter

_TYPE_NAMES: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "decimal number",
    list: "array",
    dict: "object",
    type(None): "null",
}
_WANTED = {
    "string_type": "string",
    "bool_type": "boolean",
    "int_type": "integer",
    "float_type": "decimal number",
    "list_type": "array",
    "dict_type": "object",
    "model_type": "object",
    "model_attributes_type": "object",
}


def describe(exc: ValidationError, body: Mapping[str, Any]) -> InvalidRequest:
    """The error to answer with: the first unknown parameter, else the deepest of the other findings.

    Of a union's findings, one for each member, those furthest along the input are the ones that its author
    meant; of several of those, different wanted types are named together.
    """
    problems = [(e, _locate(e["loc"], body, e["type"])) for e in exc.errors(include_url=False, include_context=True)]
    unknown = [place for e, place in problems if e["type"] == "extra_forbidden"]
    if unknown:
        path = min(unknown, key=lambda place: place.depth).path
        return UnknownParameter(f"Unknown parameter: '{path}'.", param=path)
    deepest = max(place.depth for _, place in problems)
    first, place = next(found for found in problems if found[1].depth == deepest)
    path = place.path
    kind = first["type"]
    if kind == "union_tag_not_found" and isinstance(place.value, Mapping):
        key = first["ctx"]["discriminator"].strip("'")
        path = f"{path}.{key}"
    if kind in {"missing", "union_tag_not_found"}:
        return InvalidRequest(f"Missing required parameter: '{path}'.", param=path, code="missing_required_parameter")
    if kind == "value_error":
        return _broken_rule(first["msg"].removeprefix("Value error, "), path)
    wanted = [_WANTED[e["type"]] for e, where in problems if where.path == path and e["type"] in _WANTED]
    others = [e for e, where in problems if where.path == path and e["type"] not in _WANTED]
    if wanted and not others:
        got = _TYPE_NAMES.get(type(place.value), "value")
        article = "an" if wanted[0][0] in "aeiou" else "a"
        expected = " or ".join(dict.fromkeys(wanted))
        return InvalidRequest(
            f"Invalid type for '{path}': expected {article} {expected}, but got {_with_article(got)} instead.",
            param=path,
            code="invalid_type",
        )
    if isinstance(place.value, Mapping):  # then its author did not mean one of the words that could stand there
        others = [e for e in others if e["type"] != "literal_error"] or others
    return InvalidRequest(f"Invalid value for '{path}': {_finding((others or [first])[0])}.", param=path)


def _finding(found: ErrorDetails) -> str:
    """What is wrong, in words that follow a colon."""
    if found["type"] == "union_tag_invalid":
        told = found["ctx"]
        return f"its {told['discriminator']} is '{str(told['tag'])[:64]}', and can be {told['expected_tags']}"
    if found["type"] == "value_error":
        return found["msg"].removeprefix("Value error, ")
    message = found["msg"].removeprefix("Input ").removeprefix("Value ")
    return f"{message[0].lower()}{message[1:]}"


def _broken_rule(text: str, path: str) -> InvalidRequest:
    """The error for a rule that a part of the body breaks: 'name: what it must be', or only the latter.

    Args:
        text: the rule, in the words of the part's model.
        path: of the part; empty for the whole body.
    """
    name, colon, rule = text.partition(": ")
    if not colon or not name.isidentifier():
        subject = f"Invalid value for '{path}'" if path else "Invalid value"
        return InvalidRequest(f"{subject}: {text}.", param=path or None)
    place = f"{path}.{name}" if path else name
    return InvalidRequest(f"Invalid value: '{place}' {rule}.", param=place)


def _with_article(name: str) -> str:
    return name if name == "null" else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the input a finding is: the path in the caller's words, how deep, and what stands there."""

    path: str
    depth: int
    value: Any


def _locate(loc: tuple[int | str, ...], body: Mapping[str, Any], kind: str) -> _Place:
    """The place of a finding of this kind, such as `messages[0].content`.

    Pydantic mixes names of union members into its location; a step counts if the input has it, or if it is
    the last one of a missing key.
    """
    path, depth = "", 0
    here: Any = body
    for position, step in enumerate(loc):
        lacks = kind == "missing" and position == len(loc) - 1
        if isinstance(here, list) and isinstance(step, int) and step < len(here):
            path, here = f"{path}[{step}]", here[step]
        elif isinstance(here, Mapping) and isinstance(step, str) and (step in here or (lacks and step.isidentifier())):
            path, here = (f"{path}.{step}" if path else step), here.get(step)
        else:
            continue
        depth += 1
    return _Place(path, depth, here)
