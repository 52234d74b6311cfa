"""Stored chat completions as the official client lists, reads, labels and deletes them, in every dialect."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AzureOpenAI, OpenAI

from tests.conformance.echo import CONFIG, WEATHER, ask
from tests.conformance.recording import Dialect, Judge, client_for
from tests.service import Service

pytestmark = pytest.mark.slow

OTHER = """
[[deployment]]
name = "other"
engine = "echo"
model = "echo"
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG + OTHER) as service:
        yield service


@pytest.fixture
def client(service: Service, dialect: Dialect, judge: Judge) -> Iterator[OpenAI]:
    """The official client in each dialect."""
    with client_for(service, dialect, judge) as client:
        yield client
        for found in client.chat.completions.list(limit=100).data:
            client.chat.completions.delete(found.id)


def streamed(client: OpenAI, **parameters: Any) -> list[Any]:
    """The chunks of a completion."""
    body = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}], **parameters}
    return list(client.chat.completions.create(**body, stream=True))


def test_a_completion_is_stored_if_it_is_asked_for(client: OpenAI) -> None:
    """With `store` the answer is found again as it was, with its metadata; without it is not; deleted it is gone."""
    made = ask(client, store=True, metadata={"team": "red"}, n=2, logprobs=True)
    ask(client, metadata={"team": "red"})
    ask(client, store=False)
    found = client.chat.completions.retrieve(made.id)
    assert found.metadata == {"team": "red"}
    assert [choice.model_dump() for choice in found.choices] == [
        {name: value for name, value in choice.model_dump().items() if not name.startswith("content_filter")}
        for choice in made.choices
    ]
    assert {choice.message.role for choice in found.choices} == {"assistant"}
    assert (found.usage, found.created, found.model) == (made.usage, made.created, "echo")
    assert [each.id for each in client.chat.completions.list()] == [made.id]
    deleted = client.chat.completions.delete(made.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (made.id, True, "chat.completion.deleted")
    assert client.chat.completions.list().data == []


def test_a_stream_is_stored_put_together(client: OpenAI) -> None:
    """What is stored of a stream is what its chunks add up to, with the usage whether or not the stream told it."""
    chunks = streamed(client, store=True, n=2)
    found = client.chat.completions.retrieve(chunks[0].id)
    for index in (0, 1):
        deltas = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert found.choices[index].message.content == "".join(each.delta.content or "" for each in deltas)
        assert found.choices[index].finish_reason == deltas[-1].finish_reason
    assert found.usage is not None
    assert found.usage.completion_tokens > 0
    called = streamed(client, store=True, tools=[WEATHER], tool_choice="required")
    kept = client.chat.completions.retrieve(called[0].id).choices[0]
    assert (kept.finish_reason, kept.message.content) == ("tool_calls", None)
    assert kept.message.tool_calls is not None
    pieces = [call for chunk in called for choice in chunk.choices for call in choice.delta.tool_calls or []]
    assert kept.message.tool_calls[0].type == "function"
    assert kept.message.tool_calls[0].id == pieces[0].id
    assert kept.message.tool_calls[0].function.arguments == "".join(
        piece.function.arguments or "" for piece in pieces if piece.function and piece.index == 0
    )


def test_completions_are_found_by_model_and_metadata(client: OpenAI) -> None:
    """Every pair must match, the client's iterator goes through all pages, oldest first unless it asks otherwise."""
    made = [
        ask(client, store=True, metadata={"team": "red" if number % 2 else "blue", "run[0]": f"{number} & more"}).id
        for number in range(5)
    ]
    completions = client.chat.completions
    assert [each.id for each in completions.list(limit=2)] == made
    assert [each.id for each in completions.list(limit=2, order="desc")] == made[::-1]
    assert [each.id for each in completions.list(limit=1, metadata={"team": "red"})] == [made[1], made[3]]
    assert [each.id for each in completions.list(metadata={"team": "red", "run[0]": "3 & more"})] == [made[3]]
    assert list(completions.list(metadata={"team": "red", "run[0]": "2 & more"})) == []
    assert [each.id for each in completions.list(model="echo", limit=100)] == made
    assert list(completions.list(model="gpt-4o")) == []
    page = completions.list(limit=2, after=made[1])
    assert ([each.id for each in page.data], page.has_more) == (made[2:4], True)


def test_metadata_is_replaced(client: OpenAI) -> None:
    """An update gives the whole completion back, which is found by what it has now."""
    made = ask(client, store=True, metadata={"a": "1", "b": "1"})
    changed = client.chat.completions.update(made.id, metadata={"b": "2"})
    assert changed == client.chat.completions.retrieve(made.id)
    assert changed.metadata == {"b": "2"}
    assert list(client.chat.completions.list(metadata={"a": "1"})) == []
    assert [each.id for each in client.chat.completions.list(metadata={"b": "2"})] == [made.id]
    assert client.chat.completions.update(made.id, metadata=None).metadata == {}


def test_the_messages_are_those_of_the_request(client: OpenAI) -> None:
    """They come in their order and by pages, texts as `content`, parts as `content_parts`, with ids of their own."""
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": parts, "name": "ann"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "rain", "tool_call_id": "c1"},
        {"role": "user", "content": "and?"},
    ]
    made = ask(client, store=True, messages=messages, tools=[WEATHER])
    found = list(client.chat.completions.messages.list(made.id, limit=2))
    assert [each.id for each in found] == [f"{made.id}-{number}" for number in range(5)]
    assert [str(each.role) for each in found] == ["system", "user", "assistant", "tool", "user"]
    assert [each.content for each in found] == ["be brief", None, None, "rain", "and?"]
    assert [part.model_dump(exclude_unset=True) for part in found[1].content_parts or []] == parts
    assert found[2].tool_calls is not None
    assert found[2].tool_calls[0].id == "c1"
    newest = client.chat.completions.messages.list(made.id, order="desc", limit=2)
    assert ([each.id for each in newest.data], newest.has_more) == ([f"{made.id}-4", f"{made.id}-3"], True)


def test_what_is_not_there_is_not_found(service: Service, dialect: Dialect) -> None:
    """An id that was not stored is a 404 to every operation and behind `after`; Azure's form of it is not OpenAI's."""
    with client_for(service, dialect, Judge(None, None)) as client:
        made = ask(client)
        completions = client.chat.completions
        for use in (
            lambda: completions.retrieve(made.id),
            lambda: completions.update(made.id, metadata={}),
            lambda: completions.delete(made.id),
            lambda: completions.messages.list(made.id),
            lambda: completions.list(after=made.id),
        ):
            with pytest.raises(openai.NotFoundError, match=f"No such stored chat completion: {made.id}"):
                use()


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"order": "up"}, "order"),
        ({"metadata": "red"}, "metadata"),
        ({"metadata[team][name]": "red", "metadata[": "x"}, "metadata"),
        ({f"metadata[{'k' * 65}]": "red"}, "metadata"),
        ({f"metadata[k{number}]": "red" for number in range(17)}, "metadata"),
    ],
)
def test_a_wrong_question_is_refused(client: OpenAI, query: dict[str, Any], param: str) -> None:
    """Values that a parameter cannot have are a 400 that names it."""
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.list(extra_query=query)
    assert (refused.value.param or "").startswith(param)


def test_a_client_for_one_deployment_lists_what_that_made(client: OpenAI, service: Service) -> None:
    """Microsoft's client that was made for a deployment asks below its path, and gets the completions of that one."""
    made = ask(client, store=True).id
    for name, ids in (("echo", [made]), ("gpt-4o", [made]), ("other", [])):
        with AzureOpenAI(
            azure_endpoint=service.url, azure_deployment=name, api_key=service.key, api_version="2024-10-21"
        ) as bound:
            assert [each.id for each in bound.chat.completions.list()] == ids
            assert bound.chat.completions.retrieve(made).id == made
    with (
        AzureOpenAI(
            azure_endpoint=service.url, azure_deployment="none", api_key=service.key, api_version="2024-10-21"
        ) as bound,
        pytest.raises(openai.NotFoundError),
    ):
        bound.chat.completions.list()
