"""The published API descriptions, as validators of what the server answers.

The documents are not part of this repository; where they are absent (`../shared/specs/`), `load` returns
None and the tests that need them are skipped.

An OpenAPI document becomes JSON Schema, Draft 2020-12: `nullable` becomes a union with null, also beside
a `$ref`; `discriminator`, `format` and examples, which judge nothing here, go. `closed` validators
also refuse properties that the document does not name, so that an invented field is noticed.
"""

import copy
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

ROOT = Path(__file__).resolve().parents[2]
SPECS = ROOT.parent / "shared" / "specs"
CACHE = ROOT / ".cache"

AZURE_FIELDS = frozenset(
    {
        "prompt_filter_results",
        "content_filter_results",
        "content_filter_result",
        "content_filter_offsets",
        "content_filter_raw",
        "innererror",
        "inner_error",
    }
)
"""What Azure adds to OpenAI's objects; a closed validator lets it pass."""

_CLOSING = "unevaluatedProperties"
_DROPPED = frozenset(
    {"nullable", "discriminator", "format", "example", "examples", "xml", "externalDocs", "deprecated"}
)
_OF_SCHEMAS = frozenset({"anyOf", "allOf", "oneOf", "prefixItems"})
_OF_NAMED_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "dependentSchemas"})
_OF_ONE_SCHEMA = frozenset({"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"})
_PLACES = frozenset({"properties", "patternProperties", "items", "prefixItems", "additionalProperties"})
"""Keywords whose schemas judge a value of their own, not the same value once more."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One way in which an instance breaks its schema. `path` is a JSON path such as `$.choices[0].index`."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True, slots=True)
class Validator:
    """Judges instances by one schema of a document."""

    name: str
    inner: Draft202012Validator

    def problems(self, instance: Any) -> list[Problem]:
        """Everything wrong with an instance, in the order of its paths; of a union, the likeliest branch's fault."""
        errors = [best_match([error]) or error for error in self.inner.iter_errors(instance)]
        # A reference that fails names no properties: that all are then unknown is no problem of its own.
        faults = [error.json_path for error in errors if error.validator != _CLOSING]
        found = {
            Problem(error.json_path, error.message)
            for error in errors
            if error.validator != _CLOSING or not any(path.startswith(error.json_path) for path in faults)
        }
        return sorted(found, key=lambda problem: (problem.path, problem.message))

    def validate(self, instance: Any) -> None:
        """Fail with every problem and the instance if there is one.

        Raises:
            AssertionError: the instance breaks the schema.
        """
        problems = self.problems(instance)
        listed = "\n".join(f"  {problem}" for problem in problems)
        assert not problems, f"not a valid {self.name}:\n{listed}\nin {json.dumps(instance, default=str)[:2000]}"


class Document:
    """One OpenAPI document."""

    file: ClassVar[str]
    corrections: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Where the document forbids the null that its own service sends: (path of a schema, why)."""
    outdated: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Where the document lists fewer values than it allows elsewhere: (path of a schema, why)."""
    unnamed: ClassVar[tuple[tuple[str, str, str], ...]] = ()
    """Where the document demands a text that it does not name: (path of the properties, name, why)."""
    ambiguous: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Where the document has alternatives of which one value may meet several: (path of their schema, why)."""
    borrowed: ClassVar[tuple[tuple[str, tuple[str, ...], str], ...]] = ()
    """Where a schema it refers to says too little: (path of the reference, properties with any value, why)."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw
        self._registries: dict[frozenset[str] | None, Registry[Any]] = {}
        for path, _ in self.corrections:
            _find(raw, path)["nullable"] = True
        for path, _ in self.outdated:
            _find(raw, path).pop("enum", None)
        for path, _ in self.ambiguous:
            place = _find(raw, path)
            place["anyOf"] = place.pop("oneOf")
        for path, name, _ in self.unnamed:
            _find(raw, path).setdefault(name, {"type": "string"})
        for path, names, _ in self.borrowed:
            place = _find(raw, path)
            place.update(copy.deepcopy(_find(raw, place.pop("$ref").removeprefix("#/"))))
            place["properties"] |= {name: {} for name in names}

    @classmethod
    def load(cls, folder: Path = SPECS, cache: Path = CACHE) -> Self | None:
        """Read the document; None where it is absent. A copy that parses faster is kept by the file's digest."""
        try:
            source = (folder / cls.file).read_bytes()
        except FileNotFoundError:
            return None
        return cls(_decoded(source, cache))

    def schema_validator(self, name: str, *, closed: bool = False, allowed: Iterable[str] = AZURE_FIELDS) -> Validator:
        """The validator of a named schema.

        Args:
            name: as under `components/schemas`.
            closed: also refuse properties that the schema does not name.
            allowed: names that pass all the same.

        Raises:
            KeyError: the document has no such schema.
        """
        self._raw["components"]["schemas"][name]
        return self._validator(name, {"$ref": f"#/components/schemas/{name}"}, closed=closed, allowed=allowed)

    def response_validator(
        self,
        method: str,
        path: str,
        status: int,
        *,
        media: str = "application/json",
        closed: bool = False,
        allowed: Iterable[str] = AZURE_FIELDS,
    ) -> Validator:
        """The validator of an operation's answer.

        Args:
            method: such as `POST`.
            path: as in the document, parameters in braces: `/models/{model}`.
            status: the HTTP status; one that the operation does not name is its `default`.
            media: `application/json`, or `text/event-stream` for the events of a stream.
            closed: also refuse properties that the schema does not name.
            allowed: names that pass all the same.

        Raises:
            KeyError: the document has no such operation, status or media type.
        """
        responses = self._raw["paths"][path][method.lower()]["responses"]
        response = responses[str(status)] if str(status) in responses else responses["default"]
        if "$ref" in response:
            response = _find(self._raw, response["$ref"].removeprefix("#/"))
        schema = response["content"][media]["schema"]
        return self._validator(f"{method} {path} {status}", schema, closed=closed, allowed=allowed)

    def template(self, path: str) -> str:
        """The path as the document writes it, parameters in braces; itself where the document has none like it.

        Args:
            path: without a slash at its beginning.
        """
        steps = path.split("/")
        for known in self._raw["paths"]:
            parts = known.removeprefix("/").split("/")
            pairs = zip(parts, steps, strict=False)
            if len(parts) == len(steps) and all(part == step or part.startswith("{") for part, step in pairs):
                found: str = known.removeprefix("/")
                if "{" not in found or path not in {name.removeprefix("/") for name in self._raw["paths"]}:
                    return found
        return path

    def schema_names(self) -> list[str]:
        """The names of all schemas."""
        return list(self._raw["components"]["schemas"])

    def translated(self, name: str, *, closed: bool = False) -> Any:
        """A named schema as JSON Schema."""
        return _Translation(AZURE_FIELDS if closed else None).schema(self._raw["components"]["schemas"][name], name)

    def _validator(self, name: str, schema: Any, *, closed: bool, allowed: Iterable[str]) -> Validator:
        names = frozenset(allowed) if closed else None
        registry = self._registry(names)
        translated = _Translation(names).place(schema, name)
        return Validator(name, Draft202012Validator(_absolute(translated), registry=registry))

    def _registry(self, closed: frozenset[str] | None) -> Registry[Any]:
        """The document's schemas as a JSON Schema resource; made once."""
        if closed not in self._registries:
            translation = _Translation(closed)
            schemas = self._raw["components"]["schemas"]
            contents = {"components": {"schemas": {name: translation.schema(schemas[name], name) for name in schemas}}}
            resource: Resource[Any] = Resource.from_contents(contents, default_specification=DRAFT202012)
            empty: Registry[Any] = Registry()
            self._registries[closed] = empty.with_resource("urn:document", resource)
        return self._registries[closed]


_COMPLETION = "components/schemas/CreateCompletionResponse/properties"
_COMPLETION_CHOICE = f"{_COMPLETION}/choices/items/properties"
_RUN_MESSAGES = "properties/input_messages/oneOf/0/properties/template/items"
_COMPLETION_LOGPROBS = f"{_COMPLETION_CHOICE}/logprobs/anyOf/0/properties"


class OpenAISpec(Document):
    """OpenAI's own description of its API."""

    file = "openai.yaml"
    corrections = (
        (f"{_COMPLETION_CHOICE}/finish_reason", "a stream's chunks share the schema, and have null until the last"),
        (f"{_COMPLETION}/usage", "a stream with include_usage has null until the last chunk, as in chat"),
        (f"{_COMPLETION_LOGPROBS}/token_logprobs/items", "the first token of an echoed prompt follows nothing"),
        (f"{_COMPLETION_LOGPROBS}/top_logprobs/items", "likewise"),
        ("components/schemas/EvalApiError", "a run, or a sample, that did not fail has no error"),
    )
    outdated = (
        *(
            (f"components/schemas/{name}/properties/size", "a request may ask for any WIDTHxHEIGHT, 256x256 among them")
            for name in (
                "ImagesResponse",
                "ImageGenPartialImageEvent",
                "ImageGenCompletedEvent",
                "ImageEditPartialImageEvent",
                "ImageEditCompletedEvent",
            )
        ),
        ("components/schemas/OpenAIFile/properties/purpose", "files are uploaded for evals as well"),
    )
    ambiguous = (
        (
            f"components/schemas/CreateEvalCompletionsRunDataSource/{_RUN_MESSAGES}",
            "a message whose content is text is one of either kind",
        ),
        (f"components/schemas/CreateEvalResponsesRunDataSource/{_RUN_MESSAGES}", "likewise"),
    )
    unnamed = (
        (
            "components/schemas/MCPApprovalResponseResource/properties",
            "request_id",
            "required beside approval_request_id, which has the same meaning",
        ),
    )
    borrowed = (
        (
            "components/schemas/ChatCompletionMessageList/properties/data/items/allOf/0",
            ("role", "name", "tool_call_id"),
            "what a completion answers is not an assistant's only: the list's example has a user's message with a name",
        ),
    )


class AzureSpec(Document):
    """Azure's description of its inference API; paths begin with `/deployments/{deployment-id}`."""

    file = "azure-2024-10-21.yaml"
    corrections = (
        ("components/schemas/errorBase/properties/code", "a model's own error is passed on in OpenAI's form"),
        ("components/schemas/error/properties/param", "likewise"),
        ("components/schemas/error/properties/type", "the service sends null with what its content filter refused"),
        ("components/schemas/dalleError/properties/type", "likewise"),
    )


class AzureV1Spec(Document):
    """Azure's description of its v1 API, which names more of what its content filter tells."""

    file = "azure-v1.json"


def _decoded(source: bytes, cache: Path) -> dict[str, Any]:
    """The document as JSON values, from the cache where it has them."""
    kept = cache / f"openapi-{hashlib.sha256(source).hexdigest()[:32]}.json"
    if kept.exists():
        document: dict[str, Any] = json.loads(kept.read_bytes())
        return document
    text = json.dumps(yaml.load(source, yaml.CSafeLoader), default=str)  # the safe loader, in C
    cache.mkdir(parents=True, exist_ok=True)
    draft = kept.with_suffix(f".{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(kept)
    decoded: dict[str, Any] = json.loads(text)
    return decoded


def _find(raw: Any, path: str) -> Any:
    """What stands at a path of a document, steps separated by slashes."""
    for step in path.split("/"):
        raw = raw[int(step)] if isinstance(raw, list) else raw[step]
    return raw


def _absolute(schema: Any) -> Any:
    """The schema with its references pointing into the document."""
    if isinstance(schema, dict):
        return {
            key: f"urn:document{value}" if key == "$ref" and isinstance(value, str) else _absolute(value)
            for key, value in schema.items()
        }
    return [_absolute(value) for value in schema] if isinstance(schema, list) else schema


@dataclass(frozen=True, slots=True)
class _Translation:
    """From OpenAPI's schemas to JSON Schema's.

    Args:
        closed: None for schemas as they are; otherwise properties that a schema does not name are refused,
            except these.
    """

    closed: frozenset[str] | None

    def place(self, schema: Any, component: str) -> Any:
        """A schema that is alone in judging a value, as that of a property is: the place to close it."""
        translated = self.schema(schema, component)
        if self.closed is None or not isinstance(translated, dict) or not _names_properties(translated):
            return translated
        passing = {f"^{name}$": True for name in sorted(self.closed)}
        return {
            **translated,
            "patternProperties": {**translated.get("patternProperties", {}), **passing},
            _CLOSING: False,
        }

    def schema(self, schema: Any, component: str) -> Any:
        """A schema, in the component of that name, to which a recursive reference points back."""
        if not isinstance(schema, dict):
            return schema
        result = dict(self._keywords(schema, component))
        if self.closed is not None and _is_free(result):
            result["additionalProperties"] = True
        if schema.get("nullable") is True or _has_null_marker(schema):
            return {"anyOf": [result, {"type": "null"}]}
        return result

    def _keywords(self, schema: Mapping[str, Any], component: str) -> Iterator[tuple[str, Any]]:
        for key, value in schema.items():
            inner: Callable[[Any, str], Any] = self.place if key in _PLACES else self.schema
            if key in _DROPPED or key.startswith(("x-", "$recursiveAnchor")):
                continue
            if key in {"exclusiveMinimum", "exclusiveMaximum"} and isinstance(value, bool):
                continue  # OpenAPI 3.0's flag beside the limit, which is then judged as included
            if key == "$recursiveRef":
                yield "$ref", f"#/components/schemas/{component}"
            elif key in _OF_NAMED_SCHEMAS:
                yield key, {name: inner(each, component) for name, each in value.items()}
            elif key in _OF_SCHEMAS:
                yield key, [inner(each, component) for each in value if not _is_null_marker(each)]
            elif key in _OF_ONE_SCHEMA:
                yield key, inner(value, component)
            elif key == "required":
                yield key, list(dict.fromkeys(value))  # some documents name a property twice
            else:
                yield key, value


def _names_properties(schema: Mapping[str, Any]) -> bool:
    """Whether a schema says, itself or through others, which properties there are."""
    return bool(schema.keys() & {"properties", "$ref", "anyOf", "allOf", "oneOf"})


def _is_free(schema: Mapping[str, Any]) -> bool:
    """Whether a schema asks for an object and says nothing of its properties, so that any may stand in it."""
    return schema.get("type") == "object" and not (
        _names_properties(schema) or "additionalProperties" in schema or "patternProperties" in schema
    )


def _is_null_marker(schema: Any) -> bool:
    """Whether it is a member of `allOf` that only says that null is allowed, as OpenAI writes beside a reference."""
    return (
        isinstance(schema, dict) and schema.get("nullable") is True and not schema.keys() - {"nullable", "description"}
    )


def _has_null_marker(schema: Mapping[str, Any]) -> bool:
    return any(_is_null_marker(each) for each in schema.get("allOf", ()))
