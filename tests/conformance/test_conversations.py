"""Conversations as the official client makes, fills, lists and deletes them, in every dialect."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.conversations import ConversationItem

from tests.conformance.echo import CONFIG
from tests.conformance.recording import Dialect, Judge, client_for
from tests.conformance.spec import OpenAISpec
from tests.service import Service

pytestmark = pytest.mark.slow

EVERY_ITEM: list[dict[str, Any]] = [
    {"role": "user", "content": "What is the weather?"},
    {
        "type": "message",
        "role": "user",
        "content": [
            {"type": "input_text", "text": "And here?"},
            {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "low"},
            {"type": "input_file", "file_id": "file-1"},
        ],
    },
    {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": "abc"},
    {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city": "Oslo"}'},
    {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
    {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "rain"}]},
    {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "aGk="},
    {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "s", "tools": [{"name": "t", "input_schema": {}}]},
    {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "s", "name": "t", "arguments": "{}"},
    {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True},
    {"type": "mcp_call", "id": "mcp_1", "server_label": "s", "name": "t", "arguments": "{}", "output": "done"},
    {
        "role": "assistant",
        "content": [
            {"type": "output_text", "text": "Rain.", "annotations": []},
            {"type": "refusal", "refusal": "No more."},
        ],
    },
]
"""One of each kind, and messages of each role."""
ASKING = "mcp_approval_request"
"""Items of this type keep their ids, so that they cannot be there twice."""


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


def nested(levels: int) -> dict[str, Any]:
    """So many objects in each other."""
    found: dict[str, Any] = {}
    for _ in range(levels - 1):
        found = {"a": found}
    return found


def without_id(item: ConversationItem) -> dict[str, object]:
    """What an item says."""
    return {name: value for name, value in item.to_dict().items() if name != "id"}


def said(item: ConversationItem) -> str:
    """The text of a message."""
    text: str = item.to_dict()["content"][0]["text"]  # type: ignore[index]
    return text


def test_a_conversation_is_made_changed_and_deleted(client: OpenAI) -> None:
    """What the client makes it finds again, with the metadata that it has last, until it deletes it."""
    made = client.conversations.create(metadata={"topic": "demo"}, items=[{"role": "user", "content": "Hello!"}])
    assert made.id.startswith("conv_")
    assert (made.object, made.metadata) == ("conversation", {"topic": "demo"})
    assert client.conversations.retrieve(made.id) == made
    changed = client.conversations.update(made.id, metadata={"title": "Greeting"})
    assert (changed.id, changed.created_at, changed.metadata) == (made.id, made.created_at, {"title": "Greeting"})
    assert client.conversations.update(made.id, metadata=None).metadata == {}
    assert len(list(client.conversations.items.list(made.id))) == 1
    gone = client.conversations.delete(made.id)
    assert (gone.id, gone.object, gone.deleted) == (made.id, "conversation.deleted", True)
    assert client.conversations.create().metadata == {}


def test_items_of_every_kind_are_kept_and_told(client: OpenAI) -> None:
    """Each kind of item is valid in the answer to adding it, in the list and by itself, and can be sent once more."""
    conversation = client.conversations.create()
    added = client.conversations.items.create(conversation.id, items=EVERY_ITEM)  # type: ignore[arg-type]
    assert [item.type for item in added.data] == [item.get("type", "message") for item in EVERY_ITEM]
    assert (added.first_id, added.last_id, added.has_more) == (added.data[0].id, added.data[-1].id, False)
    assert len({item.id for item in added.data}) == len(EVERY_ITEM)
    listed = list(client.conversations.items.list(conversation.id, order="asc"))
    assert listed == added.data
    for item in listed:
        assert item.id is not None
        found = client.conversations.items.retrieve(item.id, conversation_id=conversation.id)
        assert found == item
    told = [item.to_dict() for item in listed]
    assert told[1]["content"] == [*EVERY_ITEM[1]["content"]]
    assert told[3]["encrypted_content"] == "abc"
    assert told[5]["output"] == "rain"
    again = client.conversations.items.create(conversation.id, items=[each for each in told if each["type"] != ASKING])  # type: ignore[misc]
    assert [without_id(item) for item in again.data] == [without_id(item) for item in listed if item.type != ASKING]


def test_items_are_listed_in_pages(client: OpenAI) -> None:
    """The client's iterator goes through all pages, newest first unless it is asked otherwise."""
    made = client.conversations.create(items=[{"role": "user", "content": str(n)} for n in range(20)])
    client.conversations.items.create(made.id, items=[{"role": "user", "content": str(n)} for n in range(20, 25)])
    oldest = [said(item) for item in client.conversations.items.list(made.id, limit=3, order="asc")]
    assert oldest == [str(n) for n in range(25)]
    assert [said(item) for item in client.conversations.items.list(made.id)] == oldest[::-1]
    page = client.conversations.items.list(made.id)
    assert (len(page.data), page.has_more) == (20, True)


def test_an_item_is_deleted(client: OpenAI) -> None:
    """The answer is the conversation, the item is gone, and the others are there."""
    made = client.conversations.create(metadata={"a": "b"}, items=[{"role": "user", "content": n} for n in ("1", "2")])
    first, second = client.conversations.items.list(made.id, order="asc").data
    assert first.id is not None
    assert client.conversations.items.delete(first.id, conversation_id=made.id) == made
    assert client.conversations.items.list(made.id).data == [second]


def test_include_is_understood_as_the_client_writes_it(client: OpenAI) -> None:
    """Every value of the specification is taken by each operation that has it; another is refused by name."""
    made = client.conversations.create(items=[{"role": "user", "content": "Hello!"}])
    items = client.conversations.items
    include: Any = ["message.output_text.logprobs", "reasoning.encrypted_content", "web_search_call.results"]
    (item,) = items.list(made.id, include=include).data
    assert item.id is not None
    assert items.retrieve(item.id, conversation_id=made.id, include=include) == item
    assert items.create(made.id, items=[{"role": "user", "content": "x"}], include=include[:1]).data
    with pytest.raises(openai.BadRequestError, match="nonsense") as refused:
        items.list(made.id, include=["nonsense"])  # type: ignore[list-item]
    assert refused.value.param == "include"


def test_what_is_not_there_is_not_found(service: Service, dialect: Dialect) -> None:
    """An id that names no conversation is a 404 to every operation; Azure's form of it is not OpenAI's."""
    client = client_for(service, dialect, Judge(None, None))
    items = client.conversations.items
    for ask in (
        lambda: client.conversations.retrieve("conv_0"),
        lambda: client.conversations.update("conv_0", metadata={}),
        lambda: client.conversations.delete("conv_0"),
        lambda: items.list("conv_0"),
        lambda: items.create("conv_0", items=[{"role": "user", "content": "x"}]),
        lambda: items.retrieve("msg_0", conversation_id="conv_0"),
        lambda: items.delete("msg_0", conversation_id="conv_0"),
    ):
        with pytest.raises(openai.NotFoundError, match="Conversation with id 'conv_0' not found"):
            ask()
    made = client.conversations.create()
    with pytest.raises(openai.NotFoundError, match="Item with id 'msg_0' not found"):
        items.retrieve("msg_0", conversation_id=made.id)
    with pytest.raises(openai.NotFoundError, match="Item with id 'msg_0' not found"):
        items.delete("msg_0", conversation_id=made.id)
    client.conversations.delete(made.id)
    with pytest.raises(openai.NotFoundError, match=made.id):
        client.conversations.retrieve(made.id)
    client.close()


def test_what_cannot_be_kept_is_refused(client: OpenAI) -> None:
    """The error names the parameter, in the path of it that the client sent."""
    made = client.conversations.create()
    user: Any = {"role": "user", "content": "x"}
    bodies: list[tuple[list[Any], str]] = [
        ([user] * 21, "items"),
        ([], "items"),
        ([user, {"type": "item_reference", "id": "msg_1"}], "items[1]"),
        ([{"role": "user", "content": 1}], "items[0].content"),
        ([{"role": "user", "content": "x", "colour": "red"}], "items[0].colour"),
        ([{"type": "function_call", "name": "f", "arguments": "{}"}], "items[0].call_id"),
        ([{**EVERY_ITEM[9], "id": "a/b"}], "items[0].id"),
        ([{**EVERY_ITEM[8], "tools": [{"name": "t", "input_schema": nested(101)}]}], "items[0].tools[0].input_schema"),
        ([user, {"type": "web_search_call", "id": "ws_1", "status": "completed"}], "items[1]"),
        (
            [{"type": "mcp_approval_response", "approval_request_id": "a", "request_id": "b", "approve": True}],
            "items[0].request_id",
        ),
    ]
    for items, param in bodies:
        with pytest.raises(openai.BadRequestError) as refused:
            client.conversations.items.create(made.id, items=items)
        assert refused.value.param == param
    for metadata in ({"x" * 65: "y"}, {"x": "y" * 513}, {str(n): "y" for n in range(17)}):
        with pytest.raises(openai.BadRequestError, match="metadata"):
            client.conversations.create(metadata=metadata)
    assert client.conversations.items.list(made.id).data == []
    deep: Any = {**EVERY_ITEM[8], "tools": [{"name": "t", "input_schema": nested(100)}]}
    client.conversations.items.create(made.id, items=[deep])
    assert client.conversations.items.list(made.id).data[0].to_dict()["tools"] == deep["tools"]


def test_ones_conversations_are_listed_in_the_same_shape(
    service: Service, dialect: Dialect, specification: OpenAISpec | None
) -> None:
    """The list that OpenAI has not got holds valid conversations between the marks of every other list."""
    prefix, version = {
        "openai": ("/v1", ""),
        "azure": ("/openai", "&api-version=2024-10-21"),
        "azure-v1": ("/openai/v1", ""),
    }[dialect]
    with client_for(service, dialect, Judge(None, None)) as client:
        made = [client.conversations.create(metadata={"dialect": dialect, "n": str(n)}) for n in range(3)]
    path = f"{prefix}/conversations?metadata%5Bdialect%5D={dialect}&limit=2{version}"
    page = service.get(path, key=service.key).json()
    assert page == {
        "object": "list",
        "data": [each.to_dict() for each in (made[2], made[1])],
        "first_id": made[2].id,
        "last_id": made[1].id,
        "has_more": True,
    }
    rest = service.get(f"{path}&after={page['last_id']}", key=service.key).json()
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == ([made[0].id], False)
    if specification is not None:
        for each in page["data"]:
            specification.schema_validator("ConversationResource", closed=True).validate(each)
