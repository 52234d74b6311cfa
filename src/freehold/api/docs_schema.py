"""JSON Schema as OpenAPI documents have it, in the words of a reference."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

_MOST_DEPTH: Final = 4
_BOUNDS: Final = (
    ("minimum", "at least {}"),
    ("exclusiveMinimum", "more than {}"),
    ("maximum", "at most {}"),
    ("exclusiveMaximum", "less than {}"),
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minItems", "at least {} items"),
    ("maxItems", "at most {} items"),
    ("pattern", "matches {}"),
    ("format", "format {}"),
)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object: `depth` is how deep it stands in others."""

    name: str
    depth: int
    kind: str
    required: bool
    about: str


def fields_of(schema: Schema, schemas: Mapping[str, Schema], depth: int = 0) -> Iterator[Field]:
    """The fields of an object, each followed by those of the objects in it.

    Args:
        schema: the object's, or a reference to it.
        schemas: `components/schemas` of the document.
        depth: how deep the object stands in others.
    """
    found = resolved(schema, schemas)
    required = frozenset(found.get("required", ()))
    for name, inner in found.get("properties", {}).items():
        yield Field(name, depth, kind_of(inner, schemas), name in required, _about(inner, schemas))
        child = _object_in(inner, schemas)
        if child is not None and depth < _MOST_DEPTH:
            yield from fields_of(child, schemas, depth + 1)


def kind_of(schema: Schema, schemas: Mapping[str, Schema]) -> str:
    """What a value is, in a few words, such as `array of string or null`."""
    schema = resolved(schema, schemas)
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema:
        return " | ".join(f"{value}" for value in schema["enum"])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " or ".join(dict.fromkeys(kind_of(each, schemas) for each in schema[union]))
    if "allOf" in schema:
        return kind_of(schema["allOf"][0], schemas)
    kind = schema.get("type", "any value")
    if kind == "array":
        return f"array of {kind_of(schema.get('items', {}), schemas)}"
    return str(kind) if isinstance(kind, str) else " or ".join(kind)


def resolved(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    """The schema itself, where one is a reference."""
    while "$ref" in schema:
        schema = {**schemas[str(schema["$ref"]).rpartition("/")[2]], **_beside(schema)}
    return schema


def _beside(schema: Schema) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != "$ref"}


def _object_in(schema: Schema, schemas: Mapping[str, Schema]) -> Schema | None:
    """The object that a value is, or holds as items or as one of its kinds."""
    schema = resolved(schema, schemas)
    if "properties" in schema:
        return schema
    inner = [schema["items"]] if "items" in schema else [*schema.get("anyOf", ()), *schema.get("allOf", ())]
    return next((found for each in inner if (found := _object_in(each, schemas)) is not None), None)


def _about(schema: Schema, schemas: Mapping[str, Schema]) -> str:
    """Description, bounds and default."""
    schema = resolved(schema, schemas)
    bounded = [schema, *schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])]
    bounds = [
        text.format(_plain(each[name]))
        for each in (resolved(one, schemas) for one in bounded)
        for name, text in _BOUNDS
        if name in each
    ]
    default = schema.get("default")
    parts = [str(schema.get("description", "")).strip().rstrip("."), ", ".join(dict.fromkeys(bounds))]
    if default not in (None, {}, []):
        parts.append(f"default `{default}`")
    return "; ".join(part for part in parts if part)


def _plain(value: object) -> object:
    """A bound as people write it: whole numbers without a fraction."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
