"""References within a JSON schema: what they point to, which go round in circles, which schemas exclude each other."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote


class References:
    """The references of one schema by their pointers, `#` and `#/…`."""

    def __init__(self, schema: Any) -> None:
        self._targets: dict[str, Any] = {}
        self._next: dict[str, set[str]] = {}
        waiting = list(_pointers(schema))
        while waiting:
            pointer = waiting.pop()
            if pointer in self._next:
                continue
            found, target = _resolve(schema, pointer)
            self._next[pointer] = set(_pointers(target)) if found else set()
            if found:
                self._targets[pointer] = target
            waiting.extend(self._next[pointer])

    def __contains__(self, pointer: object) -> bool:
        return pointer in self._targets

    def __getitem__(self, pointer: str) -> Any:
        return self._targets[pointer]

    def recursive(self, pointer: str) -> bool:
        """Whether following references from the target leads back to it."""
        seen: set[str] = set()
        waiting = list(self._next[pointer])
        while waiting:
            step = waiting.pop()
            if step == pointer:
                return True
            if step not in seen:
                seen.add(step)
                waiting.extend(self._next[step])
        return False

    def follow(self, node: Any) -> Any:
        """The node, or what it refers to in the end."""
        for _ in range(16):
            if not isinstance(node, dict) or node.get("$ref") not in self._targets:
                break
            node = self._targets[node["$ref"]]
        return node


def _pointers(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            elif key not in {"enum", "const", "default", "examples", "$defs", "definitions"}:
                yield from _pointers(value)
    elif isinstance(node, list):
        for value in node:
            yield from _pointers(value)


def _resolve(schema: Any, pointer: str) -> tuple[bool, Any]:
    if pointer == "#":
        return True, schema
    if not pointer.startswith("#/"):
        return False, None
    node = schema
    for raw in pointer[2:].split("/"):
        step = unquote(raw).replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and step in node:
            node = node[step]
        elif isinstance(node, list) and step.isdecimal() and int(step) < len(node):
            node = node[int(step)]
        else:
            return False, None
    return True, node


def disjoint(branches: list[Any], references: References) -> bool:
    """Whether no value can meet two of the branches, as far as types and listed values tell."""
    nodes = [references.follow(branch) for branch in branches]
    return all(_apart(nodes[i], nodes[j], references) for i in range(len(nodes)) for j in range(i))


def _apart(one: Any, other: Any, references: References) -> bool:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return False
    listed, others = _listed(one), _listed(other)
    if listed is not None and others is not None:
        return all(value not in others for value in listed)
    kinds, other_kinds = _kinds(one), _kinds(other)
    if kinds and other_kinds and not kinds & other_kinds:
        return True
    if kinds != {"object"} or other_kinds != {"object"}:
        return False
    for name in set(one.get("required", [])) & set(other.get("required", [])):
        mine = references.follow(one.get("properties", {}).get(name))
        theirs = references.follow(other.get("properties", {}).get(name))
        if isinstance(mine, dict) and isinstance(theirs, dict) and _apart(mine, theirs, references):
            return True
    return False


def _listed(node: dict[str, Any]) -> list[Any] | None:
    if "const" in node:
        return [node["const"]]
    values: list[Any] | None = node.get("enum")
    return values


def _kinds(node: dict[str, Any]) -> set[str]:
    named = node.get("type")
    names = [named] if isinstance(named, str) else named or []
    return {"number" if name == "integer" else name for name in names}
