"""The schema validator, judged by answers written by hand."""

import copy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.conformance.spec import AzureSpec, Document, OpenAISpec

USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
TOKEN = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1694268190,
    "model": "chat",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi", "refusal": None},
            "logprobs": {"content": [TOKEN], "refusal": None},
            "finish_reason": "stop",
        }
    ],
    "usage": USAGE,
}
CHUNK = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1694268190,
    "model": "chat",
    "choices": [{"index": 0, "delta": {"content": "Hi"}, "logprobs": None, "finish_reason": None}],
    "usage": None,
}
TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
COMPLETION = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1589478378,
    "model": "chat",
    "choices": [{"index": 0, "text": " test", "logprobs": None, "finish_reason": "length"}],
    "usage": USAGE,
}
EMBEDDINGS = {
    "object": "list",
    "model": "embed",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.6, -0.8]}],
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}
MODEL = {"id": "chat", "object": "model", "created": 1686935002, "owned_by": "freehold"}
ERROR = {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": None}}

GOOD = {
    "CreateChatCompletionResponse": CHAT,
    "CreateChatCompletionStreamResponse": CHUNK,
    "CreateCompletionResponse": COMPLETION,
    "CreateEmbeddingResponse": EMBEDDINGS,
    "ListModelsResponse": {"object": "list", "data": [MODEL]},
    "Model": MODEL,
    "ErrorResponse": ERROR,
}

BAD: list[tuple[str, tuple[str | int, ...], Any, str]] = [
    ("CreateChatCompletionResponse", ("choices", 0, "index"), "0", "$.choices[0].index"),
    ("CreateChatCompletionResponse", ("choices", 0, "finish_reason"), None, "$.choices[0].finish_reason"),
    ("CreateChatCompletionResponse", ("choices", 0, "message", "role"), "user", "$.choices[0].message.role"),
    ("CreateChatCompletionResponse", ("choices", 0, "message", "content"), 1, "$.choices[0].message.content"),
    ("CreateChatCompletionResponse", ("choices", 0, "logprobs", "content", 0, "logprob"), "x", "$.choices[0].logprobs"),
    ("CreateChatCompletionResponse", ("usage",), None, "$.usage"),
    ("CreateChatCompletionStreamResponse", ("object",), "chat.completion", "$.object"),
    ("CreateChatCompletionStreamResponse", ("usage",), {"prompt_tokens": 1}, "$.usage"),
    ("CreateChatCompletionStreamResponse", ("choices", 0, "finish_reason"), "ended", "$.choices[0].finish_reason"),
    ("CreateCompletionResponse", ("choices", 0, "text"), None, "$.choices[0].text"),
    ("CreateCompletionResponse", ("created",), 1.5, "$.created"),
    ("CreateEmbeddingResponse", ("data", 0, "embedding"), ["a"], "$.data[0].embedding[0]"),
    ("CreateEmbeddingResponse", ("usage", "total_tokens"), None, "$.usage.total_tokens"),
    ("ListModelsResponse", ("data", 0, "object"), "models", "$.data[0].object"),
    ("Model", ("created",), "now", "$.created"),
    ("ErrorResponse", ("error", "message"), None, "$.error.message"),
]


@pytest.fixture(scope="module")
def spec() -> OpenAISpec:
    found = OpenAISpec.load()
    if found is None:
        pytest.skip("OpenAI's document is not here (../shared/specs/openai.yaml)")
    return found


@pytest.fixture(scope="module")
def azure() -> AzureSpec:
    found = AzureSpec.load()
    if found is None:
        pytest.skip("Azure's document is not here (../shared/specs/azure-2024-10-21.yaml)")
    return found


def changed(instance: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """A copy of the instance with another value at a path."""
    result = copy.deepcopy(instance)
    here = result
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = value
    return result


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("name", GOOD)
def test_a_right_answer_is_accepted(spec: OpenAISpec, name: str, closed: bool) -> None:
    """An answer as OpenAI documents it has no problem, also for a closed validator."""
    assert spec.schema_validator(name, closed=closed).problems(GOOD[name]) == []


@pytest.mark.parametrize(("name", "path", "value", "reported"), BAD)
def test_a_wrong_value_is_reported_with_its_path(
    spec: OpenAISpec, name: str, path: tuple[str | int, ...], value: Any, reported: str
) -> None:
    """A wrong value is reported at its JSON path, and nothing else is."""
    for closed in (False, True):
        problems = spec.schema_validator(name, closed=closed).problems(changed(GOOD[name], path, value))
        assert {problem.path[: len(reported)] for problem in problems} == {reported}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("CreateChatCompletionResponse", ("choices", 0, "message", "refusal")),
        ("CreateChatCompletionResponse", ("choices", 0, "logprobs")),
        ("CreateChatCompletionResponse", ("id",)),
        ("CreateChatCompletionStreamResponse", ("choices", 0, "delta")),
        ("CreateCompletionResponse", ("choices", 0, "logprobs")),
        ("CreateEmbeddingResponse", ("usage", "prompt_tokens")),
        ("ErrorResponse", ("error", "param")),
    ],
)
def test_a_missing_property_is_reported_by_name(spec: OpenAISpec, name: str, path: tuple[str | int, ...]) -> None:
    """A required property that is missing is a problem that names it."""
    answer = copy.deepcopy(GOOD[name])
    here: Any = answer
    for step in path[:-1]:
        here = here[step]
    del here[path[-1]]
    (problem,) = spec.schema_validator(name).problems(answer)
    assert f"'{path[-1]}' is a required property" in problem.message


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("CreateChatCompletionResponse", ("timings",)),
        ("CreateChatCompletionResponse", ("choices", 0, "message", "reasoning_content")),
        ("CreateChatCompletionResponse", ("choices", 0, "logprobs", "content", 0, "id")),
        ("CreateChatCompletionResponse", ("usage", "seconds")),
        ("CreateChatCompletionStreamResponse", ("choices", 0, "delta", "text")),
        ("CreateCompletionResponse", ("choices", 0, "stop_reason")),
        ("CreateEmbeddingResponse", ("data", 0, "dimensions")),
        ("Model", ("meta",)),
        ("ErrorResponse", ("error", "status")),
    ],
)
def test_an_invented_property_is_noticed(spec: OpenAISpec, name: str, path: tuple[str | int, ...]) -> None:
    """A property that the document does not name passes an open validator, and is named by a closed one."""
    answer = changed(GOOD[name], path, 1)
    assert spec.schema_validator(name).problems(answer) == []
    problems = spec.schema_validator(name, closed=True).problems(answer)
    assert any(str(path[-1]) in problem.message for problem in problems)


def test_a_tool_call_is_judged_by_its_own_kind(spec: OpenAISpec) -> None:
    """Of the kinds of tool calls, the one that the call says it is judges it, closed or not."""
    message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [TOOL_CALL]}
    answer = changed(CHAT, ("choices", 0, "message"), message)
    for closed in (False, True):
        validator = spec.schema_validator("CreateChatCompletionResponse", closed=closed)
        assert validator.problems(answer) == []
        path = ("choices", 0, "message", "tool_calls", 0, "function", "arguments")
        assert validator.problems(changed(answer, path, {}))


def test_what_azure_adds_passes_a_closed_validator(spec: OpenAISpec) -> None:
    """Azure's content filter results are no invented properties, unless the caller says so."""
    answer = changed(CHAT, ("prompt_filter_results",), [])
    assert spec.schema_validator("CreateChatCompletionResponse", closed=True).problems(answer) == []
    strict = spec.schema_validator("CreateChatCompletionResponse", closed=True, allowed=())
    assert [problem.path for problem in strict.problems(answer)] == ["$"]


def test_free_form_properties_stay_free(spec: OpenAISpec) -> None:
    """A closed validator accepts any key where the document has a map."""
    validator = spec.schema_validator("CreateChatCompletionResponse", closed=True)
    assert validator.problems(changed(CHAT, ("metadata",), {"team": "a"})) == []
    assert validator.problems(changed(CHAT, ("metadata",), {"team": 1})) != []


def test_a_streamed_completion_has_nulls_until_its_end(spec: OpenAISpec) -> None:
    """The corrections of the document accept what OpenAI streams and what echo with logprobs gives."""
    chunk = changed(changed(COMPLETION, ("choices", 0, "finish_reason"), None), ("usage",), None)
    logprobs = {"tokens": ["a"], "token_logprobs": [None], "top_logprobs": [None], "text_offset": [0]}
    validator = spec.schema_validator("CreateCompletionResponse", closed=True)
    assert validator.problems(changed(chunk, ("choices", 0, "logprobs"), logprobs)) == []


def test_an_answered_approval_has_its_request_under_both_names(spec: OpenAISpec) -> None:
    """What the document demands without naming it passes a closed validator, and is demanded all the same."""
    answer = {"type": "mcp_approval_response", "id": "mcpa_1", "approval_request_id": "mcpr_1", "approve": True}
    validator = spec.schema_validator("MCPApprovalResponseResource", closed=True)
    assert validator.problems(answer | {"request_id": "mcpr_1"}) == []
    assert [problem.message for problem in validator.problems(answer)] == ["'request_id' is a required property"]


def test_a_stored_message_has_any_role_and_a_name(spec: OpenAISpec) -> None:
    """A user's message passes in the list of what a completion answers, one without a role or with more does not."""
    message = {"id": "m-0", "role": "user", "content": "a", "refusal": None, "content_parts": None, "name": None}
    listed = {"object": "list", "data": [message], "first_id": "m-0", "last_id": "m-0", "has_more": False}
    validator = spec.schema_validator("ChatCompletionMessageList", closed=True)
    assert validator.problems(listed) == []
    without_role = {name: value for name, value in message.items() if name != "role"}
    for wrong in (without_role, {**message, "content": 1}, {**message, "invented": "x"}):
        assert validator.problems({**listed, "data": [wrong]}) != []


def test_an_operation_leads_to_the_schema_of_its_answer(spec: OpenAISpec) -> None:
    """Operation, status and media type choose the schema."""
    assert spec.response_validator("POST", "/chat/completions", 200).problems(CHAT) == []
    assert spec.response_validator("POST", "/chat/completions", 200).problems(CHUNK) != []
    events = spec.response_validator("POST", "/chat/completions", 200, media="text/event-stream", closed=True)
    assert events.problems(CHUNK) == []
    assert spec.response_validator("GET", "/models", 200, closed=True).problems(GOOD["ListModelsResponse"]) == []
    assert spec.response_validator("GET", "/models/{model}", 200, closed=True).problems(MODEL) == []
    assert spec.response_validator("POST", "/chat/completions", 429).problems({"error": 1}) != []
    with pytest.raises(KeyError):
        spec.response_validator("POST", "/chat/completion", 200)


def test_validate_fails_with_every_problem(spec: OpenAISpec) -> None:
    """A test that validates an answer is told every problem with its path."""
    spec.schema_validator("Model").validate(MODEL)
    with pytest.raises(AssertionError, match=r"(?s)not a valid Model.*\$\.created: .*\$\.id: "):
        spec.schema_validator("Model").validate(MODEL | {"id": 1, "created": "x"})


def test_azure_answers_are_judged_by_azures_document(azure: AzureSpec) -> None:
    """Azure's operations have the same answers with content filter results added."""
    paths = {"chat/completions": CHAT, "completions": COMPLETION, "embeddings": EMBEDDINGS}
    for path, answer in paths.items():
        validator = azure.response_validator("POST", f"/deployments/{{deployment-id}}/{path}", 200, closed=True)
        assert validator.problems(answer) == []
        assert validator.problems(changed(answer, ("model",), None)) != []
    chunk = {name: value for name, value in CHUNK.items() if name != "usage"}
    assert azure.schema_validator("createChatCompletionStreamResponse", closed=True).problems(chunk) == []


def test_azure_errors_have_code_and_message(azure: AzureSpec) -> None:
    """Any other status is Azure's error, whose inner error is the content filter's."""
    error = {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}
    validator = azure.response_validator("POST", "/deployments/{deployment-id}/chat/completions", 404, closed=True)
    assert validator.problems({"error": error}) == []
    assert [problem.path for problem in validator.problems({"error": error | {"code": 404}})] == ["$.error.code"]
    assert validator.problems({"error": error | {"request_id": "x"}}) != []
    passed_on = {"code": None, "message": "no", "type": "invalid_request_error", "param": None}
    assert validator.problems({"error": passed_on}) == []


@pytest.mark.slow
def test_every_schema_of_the_documents_is_a_json_schema(spec: OpenAISpec, azure: AzureSpec) -> None:
    """Every named schema becomes valid JSON Schema, open and closed."""
    judge = Draft202012Validator(Draft202012Validator.META_SCHEMA)
    wrong = [
        (document.file, name, closed)
        for document in (spec, azure)
        for name in document.schema_names()
        for closed in (False, True)
        if not judge.is_valid(document.translated(name, closed=closed))
    ]
    assert wrong == []


class _Small(Document):
    """A document of the test's own."""

    file = "small.yaml"


SMALL = """
openapi: 3.0.0
paths: {}
components:
  schemas:
    Base: {type: object, properties: {code: {type: string}}}
    Derived:
      allOf: [{$ref: '#/components/schemas/Base'}]
      properties: {inner: {$ref: '#/components/schemas/Base', nullable: true, description: or nothing}}
    Marked: {type: object, properties: {file: {allOf: [{$ref: '#/components/schemas/Base'}, {nullable: true}]}}}
    Share: {type: number, minimum: 0, exclusiveMinimum: true}
    Tree: {type: object, properties: {children: {type: array, items: {$recursiveRef: '#'}}}}
"""


@pytest.fixture
def small(tmp_path: Path) -> Document:
    (tmp_path / "small.yaml").write_text(SMALL, encoding="utf-8")
    found = _Small.load(tmp_path, tmp_path / "cache")
    assert found is not None
    return found


def test_null_is_allowed_beside_a_reference(small: Document) -> None:
    """`nullable` beside a reference, or as a member of `allOf`, allows null and nothing else."""
    derived = small.schema_validator("Derived", closed=True)
    assert derived.problems({"code": "a", "inner": None}) == []
    assert [problem.path for problem in derived.problems({"inner": {"code": 1}})] == ["$.inner.code"]
    marked = small.schema_validator("Marked")
    assert marked.problems({"file": None}) == []
    assert marked.problems({"file": 1}) != []


def test_a_closed_schema_knows_what_it_inherits(small: Document) -> None:
    """Properties of an `allOf` count as named, and only those."""
    derived = small.schema_validator("Derived", closed=True)
    assert derived.problems({"code": "a", "inner": {"code": "b"}}) == []
    assert [problem.path for problem in derived.problems({"inner": {"inner": None}})] == ["$.inner"]


def test_a_recursive_reference_means_its_component(small: Document) -> None:
    """A recursive reference leads back to the schema in which it stands."""
    tree = small.schema_validator("Tree")
    assert tree.problems({"children": [{"children": []}]}) == []
    assert [problem.path for problem in tree.problems({"children": [{"children": 1}]})] == ["$.children[0].children"]


def test_an_absent_document_is_none(tmp_path: Path) -> None:
    """Without the document there is no specification, and no cache is made."""
    assert OpenAISpec.load(tmp_path, tmp_path / "cache") is None
    assert not (tmp_path / "cache").exists()


def test_a_changed_document_is_read_anew(tmp_path: Path, small: Document) -> None:
    """The cached copy belongs to one content of the document."""
    assert "Base" in small.schema_names()
    assert _Small.load(tmp_path, tmp_path / "cache") is not None
    assert len(list((tmp_path / "cache").iterdir())) == 1
    (tmp_path / "small.yaml").write_text(SMALL.replace("Base", "Root"), encoding="utf-8")
    again = _Small.load(tmp_path, tmp_path / "cache")
    assert again is not None
    assert "Root" in again.schema_names()
