"""JSON schemas as grammars that llama.cpp holds the model to while it generates.

Every text that a grammar makes is valid under its schema; not every valid text is made (an object has its
properties in the schema's order and no undeclared ones, text has one spelling). A keyword that cannot be held is
refused by name and place, never dropped. Lengths without a bound get one, so that an answer ends before its
tokens do: generous where there is room, tight where there is not.
"""

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from jsonschema import Draft202012Validator

from freehold.engines.grammar_pattern import UnsupportedPattern, pattern_grammar
from freehold.engines.grammar_pieces import CHAR, FORMATS, NUMBER_LENGTH, integer, json_text, literal
from freehold.engines.grammar_pieces import number as number_between
from freehold.engines.grammar_refs import References, disjoint
from freehold.engines.grammar_rules import Bounds, FreeJson, Piece, Rules, fit
from freehold.errors import InvalidRequest, UnsupportedParameter

ANNOTATIONS: Final = {
    *("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "discriminator"),
    *("$schema", "$id", "$comment", "$defs", "definitions", "contentMediaType", "contentEncoding"),
}
"""Keywords that allow and forbid nothing."""
TYPES: Final = ("object", "array", "string", "integer", "number", "boolean", "null")
OF_TYPE: Final = {
    "object": ("properties", "required", "additionalProperties", "minProperties", "maxProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
COMBINERS: Final = ("$ref", "allOf", "anyOf", "oneOf")
KNOWN: Final = {"type", "enum", "const", *COMBINERS, *(name for names in OF_TYPE.values() for name in names)}


def schema_grammar(schema: Mapping[str, Any], *, tokens: int, param: str, lenient: bool = False) -> str:
    """The grammar of the JSON texts that are valid under the schema.

    Args:
        schema: the schema.
        tokens: how many there are for the answer.
        param: the request parameter that holds the schema, for errors.
        lenient: drop what cannot be held instead of refusing it.

    Raises:
        UnsupportedParameter: a keyword cannot be held.
        InvalidRequest: the schema is not one, allows nothing, or is too large.
    """
    return _compiled(json.dumps(schema), tokens // 64 * 64, param, lenient)


@lru_cache(maxsize=128)
def _compiled(schema: str, tokens: int, param: str, lenient: bool) -> str:
    def build(rules: Rules, bounds: Bounds) -> Piece:
        return SchemaReader(json.loads(schema), rules, bounds, param=param, lenient=lenient).root()

    return fit(build, tokens)


class SchemaReader:
    """Reads one schema into rules.

    Args:
        schema: the schema, against whose root references are resolved.
        rules: receives the rules.
        bounds: for what the schema leaves open.
        param: the request parameter that holds the schema, for errors.
        lenient: drop what cannot be held instead of refusing it.
    """

    def __init__(self, schema: Any, rules: Rules, bounds: Bounds, *, param: str, lenient: bool) -> None:
        self._schema = schema
        self._rules = rules
        self._bounds = bounds
        self._param = param
        self._lenient = lenient
        self._references = References(schema)
        self._free = FreeJson(rules, bounds)
        self._resolved: dict[tuple[str, int], Piece | None] = {}

    def root(self) -> Piece:
        """The schema itself.

        Raises: as `schema_grammar`.
        """
        try:
            piece = self.value(self._schema, "#", self._bounds.depth)
        except (TypeError, ValueError, AttributeError, LookupError, RecursionError) as exc:
            reason = str(exc) if isinstance(exc, ValueError) else "it is not a valid JSON schema"
            raise self._invalid(f"Invalid schema: {reason}.") from exc
        if piece is None:
            raise self._invalid("Invalid schema: no value can meet it.")
        return piece

    def value(self, node: Any, path: str, fuel: int) -> Piece | None:
        """What meets the node; None where nothing does. `fuel` is how often recursion may still go round."""
        if node is True or node == {}:
            return self._free.value(2)
        if node is False:
            return None
        for name in node:
            if name not in KNOWN and name not in ANNOTATIONS:
                self._refuse(name, path)
        combined = [name for name in COMBINERS if name in node]
        if combined:
            return self._combined(combined[0], node, path, fuel)
        if "enum" in node or "const" in node:
            return self._listed(node)
        return self._either([self._typed(name, node, path, fuel) for name in _types(node)])

    def _combined(self, name: str, node: dict[str, Any], path: str, fuel: int) -> Piece | None:
        beside = {key: value for key, value in node.items() if key not in ANNOTATIONS and key != name}
        branches = node[name]
        if name in {"anyOf", "oneOf"} and set(beside) == {"type"}:
            branches = [{**beside, **branch} if isinstance(branch, dict) else branch for branch in branches]
        elif beside:
            self._refuse(next(iter(beside)), path, f"beside '{name}'")
        if name == "$ref":
            return self._reference(branches, path, fuel)
        if name == "allOf":
            if len(branches) > 1:
                self._refuse("allOf", path, "of more than one schema")
            return self.value(branches[0], f"{path}/allOf/0", fuel)
        if name == "oneOf" and not disjoint(branches, self._references):
            self._refuse("oneOf", path, "whose branches may overlap")
        return self._either([self.value(branch, f"{path}/{name}/{i}", fuel) for i, branch in enumerate(branches)])

    def _reference(self, pointer: str, path: str, fuel: int) -> Piece | None:
        if pointer not in self._references:
            self._refuse("$ref", path, "to something outside of the schema", always=True)
        if self._references.recursive(pointer):
            fuel -= 1
        if fuel < 0:
            return None
        if (pointer, fuel) not in self._resolved:
            self._resolved[pointer, fuel] = self.value(self._references[pointer], pointer, fuel)
        return self._resolved[pointer, fuel]

    def _listed(self, node: dict[str, Any]) -> Piece | None:
        source = "enum" if "enum" in node else "const"
        values = node["enum"] if source == "enum" else [node["const"]]
        beside = {key: value for key, value in node.items() if key not in ANNOTATIONS and key != source}
        if beside:
            shared = {key: self._schema[key] for key in ("$defs", "definitions") if key in self._schema}
            validator = Draft202012Validator({**shared, **beside})
            values = [value for value in values if validator.is_valid(value)]
        texts = [json_text(value) for value in values]
        return self._either([Piece(literal(text), len(text)) for text in texts])

    def _either(self, pieces: list[Piece | None]) -> Piece | None:
        possible = [piece for piece in pieces if piece is not None]
        if not possible:
            return None
        if len(possible) == 1:
            return possible[0]
        choices = dict.fromkeys(piece.text for piece in possible)
        return Piece(self._rules.add(" | ".join(choices)), max(piece.most for piece in possible))

    def _typed(self, name: str, node: dict[str, Any], path: str, fuel: int) -> Piece | None:
        match name:
            case "object":
                return self._object(node, path, fuel)
            case "array":
                return self._array(node, path, fuel)
            case "string":
                return self._string(node, path)
            case "integer" | "number":
                return self._number(node, path, whole=name == "integer")
            case "boolean":
                return Piece('("true" | "false")', 5)
            case "null":
                return Piece('"null"', 4)
        raise ValueError(f"there is no type '{name}'")

    def _string(self, node: dict[str, Any], path: str) -> Piece | None:
        least, most = int(node.get("minLength", 0)), node.get("maxLength")
        pattern = node.get("pattern")
        if pattern is None and "format" in node:
            pattern = FORMATS.get(node["format"])
            if pattern is None:
                self._refuse("format", path, f"of '{node['format']}'")
        elif "format" in node:
            self._refuse("format", path, "beside 'pattern'")
        if pattern is not None:
            try:
                piece = pattern_grammar(pattern, min(self._bounds.string, 64), self._rules.add)
            except UnsupportedPattern as exc:
                self._refuse("pattern", path, f"with {exc}")
            else:
                if piece.least < least or (most is not None and piece.most > most):
                    self._refuse("minLength" if piece.least < least else "maxLength", path, "beside such a 'pattern'")
                return Piece(self._rules.add(f'"\\"" {piece.text} "\\""'), piece.most + 2)
        top = max(least, self._bounds.string if most is None else min(int(most), self._bounds.string))
        if most is not None and least > most:
            return None
        return Piece(self._rules.add(f'"\\"" {self._rules.add(CHAR)}{{{least},{top}}} "\\""'), top + 2)

    def _number(self, node: dict[str, Any], path: str, *, whole: bool) -> Piece | None:
        if node.get("multipleOf", 1) != 1 or ("multipleOf" in node and not whole):
            self._refuse("multipleOf", path)
        lows = [(Decimal(str(node[key])), key[0] == "e") for key in ("minimum", "exclusiveMinimum") if key in node]
        highs = [(Decimal(str(node[key])), key[0] == "e") for key in ("maximum", "exclusiveMaximum") if key in node]
        low, above = max(lows) if lows else (None, False)
        high, below = min(highs, key=lambda bound: (bound[0], not bound[1])) if highs else (None, False)
        if whole:
            least = None if low is None else math.floor(low) + 1 if above else math.ceil(low)
            most = None if high is None else math.ceil(high) - 1 if below else math.floor(high)
            text = integer(least, most)
        else:
            text = number_between(low, high, above=above, below=below)
        return None if text is None else Piece(self._rules.add(text), NUMBER_LENGTH)

    def _array(self, node: dict[str, Any], path: str, fuel: int) -> Piece | None:
        if node.get("uniqueItems") and node.get("maxItems", 2) > 1:
            self._refuse("uniqueItems", path)
        least, limit = int(node.get("minItems", 0)), node.get("maxItems")
        first: list[Piece] = []
        ended = False
        for index, sub in enumerate(node.get("prefixItems", [])):
            piece = self.value(sub, f"{path}/prefixItems/{index}", fuel)
            ended = piece is None or (limit is not None and index >= limit)
            if piece is None or ended:
                break
            first.append(piece)
        most = least if first and "items" not in node else max(least, self._bounds.items)
        most = most if limit is None else min(most, limit)
        more = not ended and most > len(first)
        rest = self.value(node.get("items", True), f"{path}/items", fuel) if more else None
        if least > (len(first) if rest is None else most):
            return None
        return self._sequence(first, rest, least, most)

    def _sequence(self, first: list[Piece], rest: Piece | None, least: int, most: int) -> Piece:
        """An array of the first pieces, then as many of the rest as the counts leave room for."""
        size = 2 + sum(piece.most + 2 for piece in first)
        head = ' ", " '.join(piece.text for piece in first)
        low, high = max(least - len(first), 0), most - len(first)
        if rest is None or high <= 0:
            return Piece(self._rules.add(f'"[" {head} "]"' if first else '"[]"'), size)
        size += high * (rest.most + 2)
        if first:
            return Piece(self._rules.add(f'"[" {head} (", " {rest.text}){{{low},{high}}} "]"'), size)
        body = f'"[" {rest.text} (", " {rest.text}){{{max(low - 1, 0)},{high - 1}}} "]"'
        return Piece(self._rules.add(body if low else f'"[]" | {body}'), size)

    def _object(self, node: dict[str, Any], path: str, fuel: int) -> Piece | None:
        properties, required = node.get("properties", {}), list(node.get("required", []))
        extra = node.get("additionalProperties", True)
        declared = {**properties, **{name: extra for name in required if name not in properties}}
        self._check_count(node, path, len(declared), len(set(required)))
        if not declared and extra is not False:
            value = self.value(extra, f"{path}/additionalProperties", fuel)
            least, most = int(node.get("minProperties", 0)), int(node.get("maxProperties", self._bounds.items))
            if value is not None and most > 0:
                return self._free.mapping(value, least, min(most, self._bounds.items))
            return None if least else Piece('"{}"', 2)
        pairs: list[tuple[Piece, bool]] = []
        for name, sub in declared.items():
            piece = self.value(sub, f"{path}/properties/{name}", fuel)
            if piece is not None:
                key = json_text(name) + ": "
                pairs.append((Piece(f"{literal(key)} {piece.text}", piece.most + len(key)), name in required))
            elif name in required:
                return None
        return Piece(self._members(pairs), 2 + sum(piece.most + 2 for piece, _ in pairs))

    def _members(self, pairs: list[tuple[Piece, bool]]) -> str:
        """An object of these pairs in their order; those that are not required may be missing."""
        empty = self._rules.add('""')
        rest = empty  # what may follow once there is a pair
        whole: str | None = None if any(needed for _, needed in pairs) else empty
        for pair, needed in reversed(pairs):
            begun = pair.text if rest == empty else f"{pair.text} {rest}"
            whole = begun if needed or whole is None else self._rules.add(f"{begun} | {whole}")
            follow = f'", " {pair.text}' if needed else f'(", " {pair.text})?'
            rest = self._rules.add(follow if rest == empty else f"{follow} {rest}")
        return self._rules.add(f'"{{" {whole} "}}"' if pairs else '"{}"')

    def _check_count(self, node: dict[str, Any], path: str, declared: int, required: int) -> None:
        if declared:
            if node.get("minProperties", 0) > required:
                self._refuse("minProperties", path)
            if node.get("maxProperties", declared) < declared:
                self._refuse("maxProperties", path)
        elif node.get("minProperties", 0) > 1:
            self._refuse("minProperties", path)

    def _refuse(self, keyword: str, path: str, how: str = "", *, always: bool = False) -> None:
        if self._lenient and not always:
            return
        where = f"'{keyword}' {how}".rstrip()
        raise UnsupportedParameter(
            f"Unsupported schema in {self._param}: {where} at '{path}' cannot be enforced by this deployment's model.",
            param=self._param,
        )

    def _invalid(self, message: str) -> InvalidRequest:
        return InvalidRequest(message, param=self._param, code="invalid_json_schema")


def _types(node: dict[str, Any]) -> list[str]:
    """The types that the node allows; where it names none, those that its keywords speak of."""
    named = node.get("type")
    if named is not None:
        names = [named] if isinstance(named, str) else list(named)
        return [name for name in names if name != "integer" or "number" not in names]
    spoken = [name for name, keywords in OF_TYPE.items() if any(keyword in node for keyword in keywords)]
    return spoken[:1] or [name for name in TYPES if name != "integer"]
