"""The smallest JSON value that meets a JSON schema, for an engine that has no model to ask."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


class UnmeetableSchemaError(ValueError):
    """No value meets the schema, or this small reader cannot find one."""


def minimal_instance(schema: Any) -> Any:
    """A small value that meets the schema; optional properties are left out.

    Reads types, `enum`, `const`, `required`, minima and maxima, `multipleOf`, `prefixItems`, `anyOf`, `oneOf`,
    `allOf` and references into the schema itself. Patterns, formats and conditions are not looked at.

    Raises:
        UnmeetableSchemaError: it contradicts itself, points nowhere or contains itself without an end.
    """
    return _Builder(schema).build(schema, ())


class _Builder:
    def __init__(self, root: Any) -> None:
        self._root = root

    def build(self, schema: Any, refs: tuple[str, ...]) -> Any:
        """A value for a schema that was reached through these references; none of them may come again."""
        schema, refs = self._merged(schema, refs)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        for name in ("anyOf", "oneOf"):
            if schema.get(name):
                return self._first_possible(schema, name, refs)
        kinds = schema.get("type", "object" if "properties" in schema else "null")
        kind = kinds[0] if isinstance(kinds, list) and kinds else kinds
        if kind == "object":
            return self._object(schema, refs)
        if kind == "array":
            return self._array(schema, refs)
        return _scalar(kind, schema)

    def _first_possible(self, schema: Mapping[str, Any], name: str, refs: tuple[str, ...]) -> Any:
        rest = {key: value for key, value in schema.items() if key != name}
        for alternative in schema[name]:
            try:
                return self.build({"allOf": [rest, alternative]} if rest else alternative, refs)
            except UnmeetableSchemaError:
                continue
        raise UnmeetableSchemaError(f"none of the schema's {name} can be met")

    def _object(self, schema: Mapping[str, Any], refs: tuple[str, ...]) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        others = schema.get("additionalProperties", True)
        return {name: self.build(properties.get(name, others), refs) for name in schema.get("required") or ()}

    def _array(self, schema: Mapping[str, Any], refs: tuple[str, ...]) -> list[Any]:
        first = schema.get("prefixItems") or []
        count = schema.get("minItems", 0)
        return [
            self.build(first[index] if index < len(first) else schema.get("items", True), refs)
            for index in range(count)
        ]

    def _merged(self, schema: Any, refs: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The schema with its references and its `allOf` put into one."""
        if schema is True:
            return {}, refs
        if not isinstance(schema, Mapping):
            raise UnmeetableSchemaError("a part of the schema allows nothing or is no schema")
        merged = {key: value for key, value in schema.items() if key not in {"$ref", "allOf"}}
        parts = list(schema.get("allOf") or ())
        reference = schema.get("$ref")
        if reference is not None:
            if reference in refs:
                raise UnmeetableSchemaError(f"the schema contains itself without an end at {reference}")
            refs = (*refs, reference)
            parts.append(self._resolve(reference))
        for part in parts:
            piece, refs = self._merged(part, refs)
            merged = _both(merged, piece)
        return merged, refs

    def _resolve(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise UnmeetableSchemaError("the schema refers to something outside of itself")
        here = self._root
        for step in reference[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(here, Mapping) or name not in here:
                raise UnmeetableSchemaError(f"the schema has nothing at {reference}")
            here = here[name]
        return here


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """A schema that asks for what both ask for, where the two can be put together key by key."""
    merged = {**one, **other}
    for name in ("minimum", "exclusiveMinimum", "minLength", "minItems"):
        if name in one and name in other:
            merged[name] = max(one[name], other[name])
    for name in ("maximum", "exclusiveMaximum"):
        if name in one and name in other:
            merged[name] = min(one[name], other[name])
    if "required" in one and "required" in other:
        merged["required"] = list(dict.fromkeys((*one["required"], *other["required"])))
    if "properties" in one and "properties" in other:
        merged["properties"] = {**one["properties"], **other["properties"]}
    if "enum" in one and "enum" in other:
        merged["enum"] = [value for value in one["enum"] if value in other["enum"]]
        if not merged["enum"]:
            raise UnmeetableSchemaError("two parts of the schema have no value in common")
    return merged


def _scalar(kind: Any, schema: Mapping[str, Any]) -> Any:
    match kind:
        case "string":
            return "x" * int(schema.get("minLength", 0))
        case "integer":
            return int(_number(schema, 1))
        case "number":
            return _number(schema, 0.5)
        case "boolean":
            return False
        case "null":
            return None
        case _:
            raise UnmeetableSchemaError("a part of the schema has a type that does not exist")


def _number(schema: Mapping[str, Any], step: float) -> float:
    """Zero, or the bound that is nearest to it; `step` is how far an exclusive bound is left behind."""
    lows: Sequence[float] = [schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf) + step]
    highs: Sequence[float] = [schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf) - step]
    low, high = max(lows), min(highs)
    if step == 1 and math.isfinite(low):
        low = math.ceil(low)
    value = min(max(0, low), high)
    multiple = schema.get("multipleOf")
    return math.ceil(value / multiple) * multiple if multiple else value
