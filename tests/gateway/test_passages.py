"""Which texts of a request are examined, and the request with other texts in their places."""

from typing import Any

from freehold.gateway.passages import (
    Text,
    chat_texts,
    completion_texts,
    echoed,
    joined_texts,
    with_chat_texts,
    with_completion_texts,
)
from freehold.types.chat import ChatRequest
from freehold.types.completions import CompletionRequest
from freehold.types.content_filter import Source

CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "be kind"},
    {"role": "developer", "content": [{"type": "text", "text": "be brief"}]},
    {"role": "user", "content": 'read """<documents>one</documents>""" and """<documents> two\n</documents>""" now'},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
            {"type": "text", "text": "here"},
        ],
    },
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "1", "content": "sunny"},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "refusal": "never"},
    {"role": "function", "name": "g", "content": None},
    {"role": "user", "content": ""},
]


def request(messages: list[dict[str, Any]]) -> ChatRequest:
    """A chat request."""
    return ChatRequest.model_validate({"model": "m", "messages": messages})


def test_each_text_has_who_wrote_it() -> None:
    """Documents and answers of tools are documents, calls and refusals the assistant's; pictures are no texts."""
    assert chat_texts(request(MESSAGES)) == [
        Text("be kind", Source.SYSTEM),
        Text("be brief", Source.SYSTEM),
        Text('read """<documents>', Source.USER),
        Text("one", Source.DOCUMENT),
        Text('</documents>""" and """<documents>', Source.USER),
        Text(" two\n", Source.DOCUMENT),
        Text('</documents>""" now', Source.USER),
        Text("look", Source.USER),
        Text("here", Source.USER),
        Text('{"x": 1}', Source.ASSISTANT),
        Text("sunny", Source.DOCUMENT),
        Text("no", Source.ASSISTANT),
        Text("never", Source.ASSISTANT),
    ]


def test_a_message_in_parts_is_also_examined_as_one_text() -> None:
    """A word that lies across two parts is in the text that they come to."""
    assert joined_texts(request(MESSAGES)) == [Text("lookhere", Source.USER)]


def test_texts_go_back_into_their_places() -> None:
    """With its own texts a request is what it was, and with others they stand where the old ones stood."""
    original = request(MESSAGES)
    texts = [each.text for each in chat_texts(original)]
    assert with_chat_texts(original, texts) == original
    changed = with_chat_texts(original, [f"<{n}>" for n in range(len(texts))])
    assert changed.messages[0].content == "<0>"
    assert changed.messages[2].content == "<2><3><4><5><6>"


def test_prompts_of_completions_are_texts_by_themselves() -> None:
    """Each prompt is examined with the suffix, and tokens are no text."""
    written = CompletionRequest(model="m", prompt=["a", "b"], suffix="z", n=2, echo=True)
    assert completion_texts(written) == [
        [Text("a", Source.USER), Text("z", Source.USER)],
        [Text("b", Source.USER), Text("z", Source.USER)],
    ]
    changed = with_completion_texts(written, [["A", "Z"], ["B", "Z"]])
    assert (changed.prompts, changed.suffix) == (["A", "B"], "Z")
    assert echoed(written) == {0: "a", 1: "a", 2: "b", 3: "b"}
    assert completion_texts(CompletionRequest(model="m", prompt=[1, 2])) == []
