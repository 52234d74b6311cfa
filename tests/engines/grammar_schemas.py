"""Schemas of many kinds, by name, that the tests of the llama.cpp engine share."""

from typing import Any

SCHEMAS: dict[str, dict[str, Any]] = {
    "person": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "minimum": 0, "maximum": 130},
            "email": {"type": "string", "format": "email"},
        },
        "required": ["name", "age", "email"],
        "additionalProperties": False,
    },
    "nested": {
        "type": "object",
        "properties": {
            "company": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "address": {
                        "type": "object",
                        "properties": {
                            "street": {"type": "string"},
                            "zip": {"type": "string", "pattern": "^\\d{5}(-\\d{4})?$"},
                        },
                        "required": ["street", "zip"],
                        "additionalProperties": False,
                    },
                },
                "required": ["name", "address"],
                "additionalProperties": False,
            }
        },
        "required": ["company"],
        "additionalProperties": False,
    },
    "list": {
        "type": "object",
        "properties": {
            "items": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "label": {"type": "string"},
                        "score": {"type": "number", "minimum": 0, "maximum": 1},
                    },
                    "required": ["label", "score"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["items"],
        "additionalProperties": False,
    },
    "enum": {
        "type": "object",
        "properties": {
            "sentiment": {"enum": ["positive", "negative", "neutral"]},
            "level": {"type": ["integer", "null"], "enum": [1, 2, 3, None, "x"]},
            "k": {"const": 'v"\n'},
        },
        "required": ["sentiment", "level", "k"],
        "additionalProperties": False,
    },
    "nullable": {
        "type": "object",
        "properties": {
            "a": {"type": ["string", "null"]},
            "b": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "c": {"type": "boolean"},
        },
        "required": ["a", "b", "c"],
        "additionalProperties": False,
    },
    "anyof": {
        "type": "object",
        "properties": {
            "shape": {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {"kind": {"const": "circle"}, "r": {"type": "number", "exclusiveMinimum": 0}},
                        "required": ["kind", "r"],
                        "additionalProperties": False,
                    },
                    {
                        "type": "object",
                        "properties": {
                            "kind": {"const": "square"},
                            "side": {"type": "number", "exclusiveMinimum": -3.25, "maximum": 17.5},
                        },
                        "required": ["kind", "side"],
                        "additionalProperties": False,
                    },
                ]
            }
        },
        "required": ["shape"],
        "additionalProperties": False,
    },
    "defs": {
        "type": "object",
        "properties": {"root": {"$ref": "#/$defs/node"}},
        "required": ["root"],
        "additionalProperties": False,
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "value": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["value", "children"],
                "additionalProperties": False,
            }
        },
    },
    "list2": {
        "$ref": "#/$defs/n",
        "$defs": {
            "n": {
                "type": "object",
                "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}},
                "required": ["v", "next"],
            }
        },
    },
    "optional": {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "integer"},
            "c": {"type": "boolean"},
            "d": {"type": "string"},
        },
        "required": ["c"],
    },
    "alloptional": {
        "type": "object",
        "properties": {
            "a": {"type": "string", "maxLength": 10},
            "b": {"type": "integer", "exclusiveMinimum": -5, "exclusiveMaximum": 0},
            "c": {"type": "boolean"},
        },
    },
    "formats": {
        "type": "object",
        "properties": {
            "day": {"type": "string", "format": "date"},
            "at": {"type": "string", "format": "date-time"},
            "id": {"type": "string", "format": "uuid"},
            "ip": {"type": "string", "format": "ipv4"},
            "ip6": {"type": "string", "format": "ipv6"},
            "h": {"type": "string", "format": "hostname"},
            "u": {"type": "string", "format": "uri"},
            "du": {"type": "string", "format": "duration"},
            "t": {"type": "string", "format": "time"},
            "e": {"type": "string", "format": "email"},
        },
        "required": ["day", "at", "id", "ip", "ip6", "h", "u", "du", "t", "e"],
        "additionalProperties": False,
    },
    "tuple": {
        "type": "object",
        "properties": {
            "p": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}], "items": False},
            "q": {
                "type": "array",
                "prefixItems": [{"type": "number"}],
                "items": {"type": "boolean"},
                "minItems": 2,
                "maxItems": 4,
            },
            "r": {"type": "array", "maxItems": 0},
            "s": {
                "type": "array",
                "minItems": 3,
                "maxItems": 3,
                "items": {"type": "integer", "minimum": -20, "maximum": 7},
            },
        },
        "required": ["p", "q", "r", "s"],
    },
    "map": {"type": "object", "additionalProperties": {"type": "integer"}},
    "free": {"type": "object"},
    "any": {},
    "ranges": {
        "type": "object",
        "properties": {
            "a": {"type": "number", "minimum": 0.25, "maximum": 0.75},
            "b": {"type": "number", "minimum": -1.5, "exclusiveMaximum": 2},
            "c": {"type": "integer", "minimum": 98, "maximum": 1234},
            "d": {"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 2},
            "e": {"type": "number", "maximum": -3},
            "f": {"type": "number", "minimum": 1000.0},
            "g": {"type": "integer", "exclusiveMaximum": -7},
            "h": {"type": "number", "minimum": 3, "maximum": 3},
            "i": {"type": "number", "exclusiveMinimum": -1, "exclusiveMaximum": 0},
        },
        "required": ["a", "b", "c", "d", "e", "f", "g", "h", "i"],
    },
    "pattern": {
        "type": "object",
        "properties": {
            "a": {"type": "string", "pattern": "^[A-Z][a-z]+( [A-Z][a-z]+)*$"},
            "b": {"type": "string", "pattern": '(foo|ba\\\\r|"q"){2,3}[^a-z]\\W\\S?x+?'},
            "c": {"type": "string", "pattern": "^#[0-9a-fA-F]{6}$", "minLength": 7, "maxLength": 7},
            "d": {"type": "string", "pattern": "^.{3}\\s[\\w.-]{1,}\\t$"},
        },
        "required": ["a", "b", "c", "d"],
    },
    "oneof": {
        "oneOf": [
            {"type": "string", "minLength": 2},
            {"type": "integer"},
            {"type": "object", "properties": {"t": {"const": 1}}, "required": ["t"]},
            {"type": "object", "properties": {"t": {"const": 2}}, "required": ["t"]},
        ]
    },
}
