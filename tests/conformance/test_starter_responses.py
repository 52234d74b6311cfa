"""Responses of the starter models: what a user has after `make serve`."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.conformance.recording import Judge, client_for
from tests.conftest import StarterModels
from tests.service import Service, eventually

pytestmark = [pytest.mark.slow, pytest.mark.llamacpp]


class Person(BaseModel):
    """What an answer is parsed as."""

    name: str
    age: int


TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


@pytest.fixture(scope="module")
def service(starter_models: StarterModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server as a new home has it, on models that are already there."""
    home = starter_models.lay(tmp_path_factory.mktemp("starter") / "home")
    with Service(home, "") as service:
        ready = {"ready", "unloaded"}
        eventually(
            lambda: set(service.get("/health/ready").json()["deployments"].values()) == ready, "what starts is ready"
        )
        yield service


@pytest.fixture
def client(service: Service, judge: Judge) -> Iterator[OpenAI]:
    """The official client."""
    with client_for(service, "openai", judge) as client:
        yield client


def test_a_conversation_is_remembered(client: OpenAI) -> None:
    """The model reads what was said before: more with each answer, as much as it was counted to be."""
    talk = client.conversations.create()
    first = client.responses.create(model="chat", input="My name is Ada.", conversation=talk.id, max_output_tokens=24)
    counted = client.responses.input_tokens.count(model="chat", input="What is my name?", conversation=talk.id)
    second = client.responses.create(model="chat", input="What is my name?", conversation=talk.id, max_output_tokens=24)
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens
    assert counted.input_tokens == second.usage.input_tokens
    assert len(list(client.conversations.items.list(talk.id))) == 4


def test_functions_and_schemas_are_held(client: OpenAI) -> None:
    """A demanded call has arguments of its schema, an answer under a schema is parsed, tokens of tools are counted."""
    asked: dict[str, Any] = {"model": "chat", "input": "The weather of Paris?", "tools": [TOOL]}
    for choice in ("required", "auto", "none"):
        counted = client.responses.input_tokens.count(**asked, tool_choice=choice)
        made = client.responses.create(**asked, tool_choice=choice, max_output_tokens=64)
        assert made.usage is not None
        assert counted.input_tokens == made.usage.input_tokens
        if choice == "required":
            (call,) = made.output
            assert call.type == "function_call"
            assert set(json.loads(call.arguments)) == {"city"}
    parsed = client.responses.parse(
        model="chat", input="Ada Lovelace was 36.", text_format=Person, max_output_tokens=128
    )
    assert isinstance(parsed.output_parsed, Person)


def test_an_answer_in_the_background_is_there_later(client: OpenAI) -> None:
    """It is made while nobody waits, and its stream is there from the beginning afterwards."""
    made = client.responses.create(
        model="chat", input="Tell me a story.", background=True, stream=True, max_output_tokens=48
    )
    events = list(made)
    assert events[0].type == "response.created"
    response_id = events[0].response.id
    while (found := client.responses.retrieve(response_id)).status in {"queued", "in_progress"}:
        time.sleep(0.05)
    again = list(client.responses.retrieve(response_id, stream=True))
    assert again == events
    assert found.output_text == "".join(e.delta for e in again if e.type == "response.output_text.delta")


def test_the_model_paints(client: OpenAI) -> None:
    """The starter painter paints what the chat model asks for."""
    made = client.responses.create(
        model="chat",
        input="Paint a red apple.",
        tools=[{"type": "image_generation"}],
        tool_choice={"type": "image_generation"},
        max_tool_calls=1,
        max_output_tokens=128,
    )
    call = made.output[0]
    assert call.type == "image_generation_call"
    assert call.status == "completed"
    assert call.result is not None
