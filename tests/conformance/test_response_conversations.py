"""Responses in conversations, through the official client in every dialect."""

import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.conformance.recording import Dialect, Judge, client_for
from tests.service import Service

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"

[[deployment]]
name = "small"
engine = "echo"
model = "echo"
options = { context_length = 64 }

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
options = { delay_s = 0.05 }
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


@pytest.fixture
def client(service: Service, dialect: Dialect, judge: Judge) -> Iterator[OpenAI]:
    """The official client in each dialect."""
    with client_for(service, dialect, judge) as client:
        yield client


def texts(client: OpenAI, conversation_id: str) -> list[str]:
    """What was said in a conversation."""
    found: list[str] = []
    for item in client.conversations.items.list(conversation_id, order="asc", limit=100):
        assert item.type == "message"
        found += [part.to_dict()["text"] for part in item.content]  # type: ignore[misc]
    return found


def test_a_conversation_grows_by_what_is_asked_and_answered(client: OpenAI) -> None:
    """The model reads all that was said before; what is new of it is kept, in its order."""
    made = client.conversations.create(items=[{"type": "message", "role": "user", "content": "one two"}])
    first = client.responses.create(model="echo", input="three", conversation=made.id)
    second = client.responses.create(model="echo", input="four", conversation={"id": made.id}, stream=True)
    for event in second:
        last = event
    assert last.type == "response.completed"
    assert first.usage is not None
    assert last.response.usage is not None
    assert last.response.usage.input_tokens > first.usage.input_tokens > 1
    assert first.conversation is not None
    assert first.conversation.id == made.id
    assert texts(client, made.id) == ["one two", "three", "three", "four", "four"]
    with pytest.raises(openai.BadRequestError, match="belongs to the conversation"):
        client.responses.create(model="echo", input="x", previous_response_id=first.id)


def test_an_answer_in_the_background_is_in_the_conversation(client: OpenAI) -> None:
    """It is added when it is done, and what there is of it when it is cancelled."""
    made = client.conversations.create()
    asked = client.responses.create(model="slow", input="one two", conversation=made.id, background=True)
    while client.responses.retrieve(asked.id).status != "completed":
        time.sleep(0.02)
    assert texts(client, made.id) == ["one two", "one two"]
    cancelled = client.responses.create(model="slow", input="word " * 100, conversation=made.id, background=True)
    assert client.responses.cancel(cancelled.id).status == "cancelled"
    said = texts(client, made.id)
    assert said[2] == "word " * 100
    assert all(text != "word " * 100 for text in said[3:])


def test_a_long_conversation_is_read_as_far_as_the_model_can(client: OpenAI) -> None:
    """With `truncation` set to `auto` the newest of it are read, without it the model's limit is told."""
    made = client.conversations.create()
    for start in range(0, 60, 20):
        said = [f"item {start + number}" for number in range(20)]
        client.conversations.items.create(
            made.id, items=[{"type": "message", "role": "user", "content": text} for text in said]
        )
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        client.responses.create(model="small", input="the end", conversation=made.id)
    answer = client.responses.create(model="small", input="the end", conversation=made.id, truncation="auto")
    assert answer.output_text == "the end"
    assert texts(client, made.id) == [f"item {number}" for number in range(60)] + ["the end", "the end"]


def test_an_item_is_referred_to(client: OpenAI) -> None:
    """An item of a conversation, or of another response, stands in the input by its id alone."""
    made = client.conversations.create(items=[{"type": "message", "role": "user", "content": "one two three"}])
    (item,) = client.conversations.items.list(made.id)
    assert item.type == "message"
    referred = client.responses.create(model="echo", input=[{"type": "item_reference", "id": item.id}])
    assert referred.output_text == "one two three"
    again = client.responses.create(model="echo", input=[{"type": "item_reference", "id": referred.output[0].id or ""}])
    assert again.status == "completed"
    with pytest.raises(openai.BadRequestError, match="twice"):
        client.responses.create(model="echo", input=[{"type": "item_reference", "id": item.id}], conversation=made.id)


def test_a_conversation_that_is_not_there_is_not_found(service: Service, dialect: Dialect) -> None:
    """Nothing is made for it."""
    with client_for(service, dialect, Judge(None, None)) as client:
        with pytest.raises(openai.NotFoundError, match="conv_0"):
            client.responses.create(model="echo", input="x", conversation="conv_0")
        question: Any = {"role": "user", "content": "x"}
        with pytest.raises(openai.NotFoundError, match="msg_0") as missing:
            client.responses.create(model="echo", input=[question, {"type": "item_reference", "id": "msg_0"}])
        assert missing.value.param == ("input[1]" if dialect == "openai" else None)
