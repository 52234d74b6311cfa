"""The content filter's annotations and errors, as Azure's own client reads them and its specification has them."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AzureOpenAI, OpenAI

from tests.conformance.recording import Judge, client_for
from tests.conformance.spec import AzureSpec, AzureV1Spec
from tests.service import Service, events_of

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[blocklist]]
name = "fruit"
prompt = "annotate"
items = [{ term = "bananaphone" }]

[[blocklist]]
name = "banned"
completion = "off"
items = [{ term = "grapefruit" }]

[[content_filter]]
name = "default"
blocklists = ["fruit", "banned"]
indirect_attack = "annotate"
personal_data = { prompt = "annotate", completion = "mask" }

[[content_filter]]
name = "later"
mode = "asynchronous"
blocklists = ["fruit"]

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"

[[deployment]]
name = "later"
engine = "echo"
model = "echo"
content_filter = "later"

[[deployment]]
name = "paint"
engine = "echo"
model = "echo"
task = "images"
"""
CATEGORIES = {"hate", "sexual", "violence", "self_harm"}
SEVERITIES = {"safe", "low", "medium", "high"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server whose filter has lists and shields."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


@pytest.fixture
def azure(service: Service, judge: Judge) -> Iterator[OpenAI]:
    """Microsoft's client."""
    with client_for(service, "azure", judge) as client:
        assert isinstance(client, AzureOpenAI)
        yield client


@pytest.fixture(scope="module")
def spec() -> AzureSpec:
    """Azure's specification."""
    spec = AzureSpec.load()
    if spec is None:
        pytest.skip("Azure's specification does not lie beside the repository")
    return spec


@pytest.fixture(scope="module")
def v1() -> AzureV1Spec:
    """That of its v1 API."""
    spec = AzureV1Spec.load()
    if spec is None:
        pytest.skip("Azure's specification does not lie beside the repository")
    return spec


def ask(client: OpenAI, text: str, **more: Any) -> Any:
    """A chat completion with one message."""
    return client.chat.completions.create(**({"model": "echo", "messages": [{"role": "user", "content": text}]} | more))


def extra(thing: Any, name: str) -> Any:
    """What Azure adds to one of OpenAI's objects."""
    return (thing.model_extra or {}).get(name)


def test_the_client_reads_what_was_found_in_an_answer(azure: OpenAI) -> None:
    """An answer tells of its prompt and of each choice the severities, and which list was hit."""
    answer = ask(azure, "hello, I have a bananaphone", n=2)
    (prompt,) = extra(answer, "prompt_filter_results")
    assert prompt["prompt_index"] == 0
    found = prompt["content_filter_results"]
    for name in CATEGORIES:
        assert found[name]["filtered"] is False
        assert found[name]["severity"] in SEVERITIES
    assert found["jailbreak"] == found["indirect_attack"] == {"filtered": False, "detected": False}
    assert found["custom_blocklists"] == {"filtered": False, "details": [{"id": "fruit", "filtered": False}]}
    for choice in answer.choices:
        assert choice.finish_reason == "content_filter"
        assert choice.message.content is None
        lists = extra(choice, "content_filter_results")["custom_blocklists"]
        assert lists == {"filtered": True, "details": [{"id": "fruit", "filtered": True}]}


def test_the_client_reads_why_a_prompt_was_refused(azure: OpenAI) -> None:
    """A prompt that does not pass is a 400 with `innererror`, as Microsoft documents it."""
    with pytest.raises(openai.BadRequestError) as refused:
        ask(azure, "a grapefruit")
    assert (refused.value.code, refused.value.param, refused.value.type) == ("content_filter", "prompt", None)
    body = refused.value.body
    assert isinstance(body, dict)
    assert body["innererror"]["code"] == "ResponsibleAIPolicyViolation"
    lists = body["innererror"]["content_filter_result"]["custom_blocklists"]
    assert lists == {"filtered": True, "details": [{"id": "banned", "filtered": True}]}
    assert "content management policy" in refused.value.message


def test_the_client_reads_a_stream_that_is_ended(azure: OpenAI) -> None:
    """A stream begins with the prompt's results and no choices, and a blocked choice says why it ended."""
    chunks = list(ask(azure, "hello, I have a bananaphone", stream=True))
    assert chunks[0].choices == []
    assert extra(chunks[0], "prompt_filter_results")[0]["content_filter_results"]["hate"]["filtered"] is False
    last = chunks[-1].choices[0]
    assert last.finish_reason == "content_filter"
    assert extra(last, "content_filter_results")["custom_blocklists"]["filtered"] is True
    assert all("bananaphone" not in (chunk.choices[0].delta.content or "") for chunk in chunks[1:])


def test_every_chunk_of_a_stream_is_annotated(azure: OpenAI) -> None:
    """A chunk with content tells its severities; the last one of the choice has an empty annotation."""
    chunks = [chunk for chunk in ask(azure, "hello my friend, how are you", stream=True) if chunk.choices]
    told = [extra(chunk.choices[0], "content_filter_results") for chunk in chunks if chunk.choices[0].delta.content]
    assert told
    assert all(results["violence"]["severity"] in SEVERITIES for results in told)
    assert extra(chunks[-1].choices[0], "content_filter_results") == {}


def test_asynchronous_annotations_have_offsets(azure: OpenAI) -> None:
    """In asynchronous mode annotations follow the text, and say by offsets which."""
    chunks = [chunk for chunk in ask(azure, "hello my friend", model="later", stream=True) if chunk.choices]
    offsets = [extra(chunk.choices[0], "content_filter_offsets") for chunk in chunks]
    (found,) = [each for each in offsets if each]
    assert found == {"check_offset": 15, "start_offset": 0, "end_offset": 15}


def test_completions_tell_of_each_prompt(azure: OpenAI) -> None:
    """A text completion of two prompts tells of both by their index."""
    answer = azure.completions.create(model="echo", prompt=["hello", "a bananaphone"], max_tokens=5)
    prompts = extra(answer, "prompt_filter_results")
    assert [each["prompt_index"] for each in prompts] == [0, 1]
    hits = [each["content_filter_results"]["custom_blocklists"]["details"] for each in prompts]
    assert hits == [[], [{"id": "fruit", "filtered": False}]]
    assert [choice.finish_reason for choice in answer.choices] == ["stop", "content_filter"]


@pytest.mark.parametrize("dialect", ["openai", "azure-v1"])
def test_openais_routes_have_no_annotations_and_azures_v1_has(service: Service, judge: Judge, dialect: Any) -> None:
    """Annotations are Azure's, dated or not."""
    with client_for(service, dialect, judge) as client:
        answer = ask(client, "hello")
        assert (extra(answer, "prompt_filter_results") is not None) is (dialect == "azure-v1")
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, "a grapefruit")
    assert refused.value.code == "content_filter"


CHAT = "/openai/deployments/echo/chat/completions?api-version=2024-10-21"


def body(text: str) -> dict[str, Any]:
    """A chat request."""
    return {"messages": [{"role": "user", "content": text}]}


def test_answers_are_as_azures_specification_has_them(service: Service, spec: AzureSpec) -> None:
    """Chat completions, whole and streamed, text completions and the refusal of a prompt are valid."""
    chat = "/deployments/{deployment-id}/chat/completions"
    for text in ("hello", "a bananaphone"):
        answer = service.post(CHAT, body(text)).json()
        assert spec.schema_validator("createChatCompletionResponse").problems(answer) == []
        with service.open("POST", CHAT, body(text) | {"stream": True}, key=service.key) as response:
            chunks = events_of_choices(response)
        for chunk in chunks:
            assert spec.schema_validator("createChatCompletionStreamResponse").problems(chunk) == []
        written = service.post(CHAT.replace("chat/", ""), {"prompt": text, "max_tokens": 5}).json()
        assert spec.schema_validator("createCompletionResponse").problems(written) == []
    refused = service.post(CHAT, body("a grapefruit"))
    assert spec.response_validator("POST", chat, 400).problems(refused.json()) == []


def events_of_choices(response: Any) -> list[Any]:
    """The chunks of a stream that have choices; Azure's schema leaves no room for the others' null usage."""
    return [event for event in events_of(response) if event != "[DONE]" and event["choices"]]


def test_pictures_are_as_azures_specification_has_them(service: Service, spec: AzureSpec) -> None:
    """A painted picture and the refusal of its prompt are valid."""
    address = CHAT.replace("echo/chat/completions", "paint/images/generations")
    painted = service.post(address, {"prompt": "a pear", "response_format": "b64_json"}).json()
    assert spec.schema_validator("generateImagesResponse").problems(painted) == []
    assert (
        spec.schema_validator("dalleErrorResponse").problems(service.post(address, {"prompt": "a grapefruit"}).json())
        == []
    )


def test_annotations_are_as_azures_v1_specification_has_them(service: Service, v1: AzureV1Spec) -> None:
    """Lists, shields and personal data are annotated in the shapes of Azure's v1 API."""
    answer = service.post(CHAT, body("hello bananaphone, write to ann@example.org")).json()
    choice = v1.schema_validator("AzureContentFilterResultForChoice", closed=True, allowed=["secrets"])
    assert choice.problems(answer["choices"][0]["content_filter_results"]) == []
    assert v1.schema_validator("AzureContentFilterResultForPrompt").problems(answer["prompt_filter_results"][0]) == []
    whole = v1.schema_validator("AzureCreateChatCompletionResponse")
    assert [problem for problem in whole.problems(answer) if "filter" in problem.path] == []
