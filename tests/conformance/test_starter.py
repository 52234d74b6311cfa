"""The starter models through the official clients: what a user has after `make serve`."""

import json
import math
from collections.abc import Iterator
from typing import Any

import jsonschema
import openai
import pytest
from openai import OpenAI

from tests.conformance.recording import Dialect, Judge, client_for
from tests.conftest import StarterModels
from tests.service import Service, eventually

pytestmark = pytest.mark.slow

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 1, "maximum": 110},
        "colour": {"enum": ["red", "green", "blue"]},
    },
    "required": ["name", "age", "colour"],
    "additionalProperties": False,
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": text,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 14}},
                "required": ["city", "days"],
                "additionalProperties": False,
            },
        },
    }
    for name, text in (("get_weather", "The weather of a city"), ("book_hotel", "Book a hotel in a city"))
]


@pytest.fixture(scope="module")
def service(starter_models: StarterModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server as a new home has it, on models that are already there."""
    home = starter_models.lay(tmp_path_factory.mktemp("starter") / "home")
    with Service(home, "") as service:
        eventually(lambda: set(states(service).values()) == {"ready", "unloaded"}, "what starts at once is ready")
        yield service


def states(service: Service) -> dict[str, str]:
    """The deployments' states."""
    found: dict[str, str] = service.get("/health/ready").json()["deployments"]
    return found


@pytest.fixture
def client(service: Service, dialect: Dialect, judge: Judge) -> Iterator[OpenAI]:
    """The official client."""
    with client_for(service, dialect, judge) as client:
        yield client


def test_a_new_home_serves_chat_embed_and_paint(service: Service) -> None:
    """With no configuration there are `chat` and `embed`, `paint` starts when it is asked, and the home has the key."""
    assert states(service) == {"chat": "ready", "embed": "ready", "paint": "unloaded"}
    assert service.key.startswith("fh-")
    assert "Admin key" in service.log()


def test_a_chat_is_answered(client: OpenAI) -> None:
    """A real chat has an answer, a finish reason and exact usage."""
    answer = client.chat.completions.create(
        model="chat", messages=[{"role": "user", "content": "What is the capital of Germany?"}], seed=1, temperature=0
    )
    assert "Berlin" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 20
    assert answer.usage.completion_tokens > 0


def test_a_chat_streams(client: OpenAI) -> None:
    """A stream comes in several pieces that add up to what the whole answer says, with the usage at its end."""
    body: dict[str, Any] = {
        "model": "chat",
        "messages": [{"role": "user", "content": "Write a long text about Berlin, the capital of Germany."}],
        "seed": 1,
        "temperature": 0,
        "max_completion_tokens": 150,
    }
    stream = client.chat.completions.create(**body, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    pieces = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert len(pieces) > 3
    assert "Berlin" in "".join(pieces)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens >= len(pieces)


def test_a_completion_is_made(client: OpenAI) -> None:
    """A text is continued, whole and streamed, with log probabilities."""
    answer = client.completions.create(model="chat", prompt="The capital of France is", max_tokens=8, temperature=0)
    assert "Paris" in answer.choices[0].text
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 8
    stream = client.completions.create(
        model="chat", prompt="The capital of France is", max_tokens=8, temperature=0, stream=True
    )
    assert "Paris" in "".join(chunk.choices[0].text for chunk in stream if chunk.choices)
    tokens = client.completions.create(model="chat", prompt="The capital of France is", max_tokens=2, logprobs=3)
    assert tokens.choices[0].logprobs is not None
    assert tokens.choices[0].logprobs.top_logprobs is not None
    assert len(tokens.choices[0].logprobs.top_logprobs[0]) == 3


def test_embeddings_tell_what_is_alike(client: OpenAI) -> None:
    """Sentences of the same meaning are nearer to each other than to another; vectors have unit length."""
    texts = ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "Invoices are due in thirty days."]
    vectors = [item.embedding for item in client.embeddings.create(model="embed", input=texts).data]
    assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-4) for vector in vectors)
    assert len(vectors[0]) == 384

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert cosine(vectors[0], vectors[1]) > cosine(vectors[0], vectors[2]) + 0.3


def test_penalties_and_biases_change_the_answer(client: OpenAI) -> None:
    """Strong penalties break a loop that greedy decoding falls into; a bias forbids a token."""
    body: dict[str, Any] = {"model": "chat", "prompt": "one one one one one one", "temperature": 0, "max_tokens": 24}
    looped = client.completions.create(**body, frequency_penalty=0).choices[0].text
    varied = client.completions.create(**body, frequency_penalty=2, presence_penalty=2).choices[0].text
    assert len(set(varied.split())) > len(set(looped.split()))
    plain = {**body, "prompt": "The capital of France is", "max_tokens": 1, "frequency_penalty": 0}
    assert client.completions.create(**plain).choices[0].text == " Paris"
    token = {"7042": -100}  # " Paris" in the starter model's vocabulary
    assert client.completions.create(**plain, logit_bias=token).choices[0].text != " Paris"
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**body, logit_bias={"999999": 1})
    assert caught.value.param == "logit_bias"


def test_sampling_parameters_do_what_they_say(client: OpenAI) -> None:
    """Seeds repeat, limits and stops end the answer, biases forbid tokens, several choices differ."""
    body: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "Tell me a story."}]}
    seeded = [
        client.completions.create(model="chat", prompt="Once", seed=5, temperature=1, max_tokens=12).choices[0].text
        for _ in range(2)
    ]
    assert seeded[0] == seeded[1]
    limited = client.chat.completions.create(**body, max_completion_tokens=5)
    assert limited.choices[0].finish_reason == "length"
    assert limited.usage is not None
    assert limited.usage.completion_tokens == 5
    stopped = client.chat.completions.create(**body, stop=["."], max_tokens=200)
    assert "." not in (stopped.choices[0].message.content or ".")
    several = client.chat.completions.create(**body, n=3, temperature=1.5, seed=1, max_tokens=12)
    assert len({choice.message.content for choice in several.choices}) > 1
    assert several.usage is not None
    assert several.usage.completion_tokens == 36
    first = client.chat.completions.create(**body, temperature=0, max_tokens=1, logprobs=True, top_logprobs=2)
    assert first.choices[0].logprobs is not None
    assert first.choices[0].logprobs.content is not None
    token = first.choices[0].logprobs.content[0]
    assert token.token == token.top_logprobs[0].token
    assert token.top_logprobs[0].logprob >= token.top_logprobs[1].logprob


@pytest.mark.parametrize("stream", [False, True])
def test_structured_output_is_valid(client: OpenAI, stream: bool) -> None:
    """Output under a schema parses and validates, whole and streamed, at a high temperature."""
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    for seed in range(3):
        body: dict[str, Any] = {
            "model": "chat",
            "messages": [{"role": "user", "content": "Invent a person."}],
            "response_format": form,
            "temperature": 1.2,
            "seed": seed,
        }
        if stream:
            chunks = client.chat.completions.create(**body, stream=True)
            text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        else:
            text = client.chat.completions.create(**body).choices[0].message.content or ""
        assert not list(jsonschema.Draft202012Validator(PERSON).iter_errors(json.loads(text)))


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "book_hotel"}}])
def test_demanded_tools_are_called(client: OpenAI, choice: Any) -> None:
    """A required tool call is one of the tools, a named one is that tool; the arguments meet their schema."""
    for seed in range(3):
        answer = client.chat.completions.create(
            model="chat",
            messages=[{"role": "user", "content": "I want to go to Paris for three days."}],
            tools=TOOLS,  # type: ignore[arg-type]
            tool_choice=choice,
            temperature=1,
            seed=seed,
        ).choices[0]
        assert answer.finish_reason == "tool_calls"
        assert answer.message.tool_calls is not None
        call = answer.message.tool_calls[0]
        assert call.type == "function"
        assert call.function.name in ({"get_weather", "book_hotel"} if choice == "required" else {"book_hotel"})
        jsonschema.validate(json.loads(call.function.arguments), TOOLS[0]["function"]["parameters"])  # type: ignore[index]


def test_a_tools_answer_is_used(client: OpenAI) -> None:
    """A conversation with an earlier call and its result goes on."""
    answer = client.chat.completions.create(
        model="chat",
        messages=[
            {"role": "user", "content": "What is the weather in Paris?"},
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "get_weather", "arguments": '{"city": "Paris", "days": 1}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "12 degrees, rain"},
        ],
        tools=TOOLS,  # type: ignore[arg-type]
        temperature=0,
        max_tokens=60,
    )
    assert answer.choices[0].message.content or answer.choices[0].message.tool_calls


def test_too_long_a_conversation_tells_both_numbers(client: OpenAI) -> None:
    """A prompt beyond the context length is refused with the limit and with what was needed."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "hello " * 5000}])
    assert caught.value.code == "context_length_exceeded"
    assert "4096" in caught.value.message
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="embed", input="hello " * 1000)
    assert caught.value.code == "context_length_exceeded"


def test_the_wrong_model_for_the_operation_is_told(client: OpenAI) -> None:
    """An embedding model does not chat, and a chat model makes no embeddings."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="embed", messages=[{"role": "user", "content": "x"}])
    assert caught.value.code == "operation_not_supported"
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="chat", input="x")
    assert caught.value.param == "model"
