"""Conversations become what chat templates take, and lose nothing."""

import json
from typing import Any

import pytest

from freehold.engines import conversation
from freehold.types.chat import ChatRequest
from tests.engines.subject import chat_request


def _talk(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    return conversation.messages(ChatRequest.model_validate({"model": "m", "messages": list(messages)}))


def test_parts_of_a_message_become_one_text() -> None:
    """Templates know text only as one string, whoever wrote the message."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    converted = _talk(
        {"role": "system", "content": parts},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": [{"type": "text", "text": "c"}, {"type": "refusal", "refusal": "d"}]},
        {"role": "tool", "content": parts, "tool_call_id": "t"},
    )
    assert [message["content"] for message in converted] == ["ab", "ab", "cd", "ab"]


def test_a_developer_is_a_system() -> None:
    """The newer name of the role is the older one to templates, and leading messages of both become one."""
    assert _talk(
        {"role": "developer", "content": "Be brief."},
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "developer", "content": "Be loud."},
    ) == [
        {"role": "system", "content": "Be brief.\n\nBe kind."},
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": "Be loud."},
    ]


def test_pictures_stay_parts() -> None:
    """A message with a picture keeps its parts, and is known as one with a picture."""
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    request = ChatRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": parts}]})
    (message,) = conversation.messages(request)
    assert [part["type"] for part in message["content"]] == ["text", "image_url"]
    assert conversation.has_pictures(request)
    assert not conversation.has_pictures(chat_request())


@pytest.mark.parametrize(
    ("arguments", "expected"), [('{"a": 1}', {"a": 1}), ("", {}), ("[1]", {"value": [1]}), ("no {", {"value": "no {"})]
)
def test_arguments_of_earlier_calls_are_an_object(arguments: str, expected: dict[str, Any]) -> None:
    """Whatever text an earlier call had as arguments, templates can read it as an object."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    (message,) = _talk({"role": "assistant", "content": None, "tool_calls": [call]})
    assert message["content"] == ""
    (converted,) = message["tool_calls"]
    assert (converted["id"], converted["function"]["name"]) == ("c", "f")
    assert json.loads(converted["function"]["arguments"]) == expected


def test_older_calls_are_tool_calls() -> None:
    """A `function_call` and the `function` message that answers it carry the same id."""
    asked, answered = _talk(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": None},
    )
    assert asked["tool_calls"][0]["id"] == answered["tool_call_id"] == "f"
    assert answered == {"role": "tool", "content": "", "tool_call_id": "f"}


def test_wanted_json_brings_a_grammar() -> None:
    """A `response_format` other than text is held by a grammar; text has none."""
    assert "root ::=" in str(conversation.response_grammar(chat_request(response_format={"type": "json_object"}), 100))
    assert conversation.response_grammar(chat_request(response_format={"type": "text"}), 100) is None


def test_tokens_for_the_answer_are_what_the_prompt_leaves() -> None:
    """A longer prompt leaves fewer tokens, the caller's limit is kept, and a little is always left."""
    assert conversation.answer_tokens(chat_request("a" * 3000), 4096) < conversation.answer_tokens(chat_request(), 4096)
    assert conversation.answer_tokens(chat_request(max_tokens=9), 4096) == 9
    assert conversation.answer_tokens(chat_request("a" * 30000), 512) > 0
