"""Bodies: what is JSON here and what is not."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessage
from pydantic import BaseModel

from freehold.api.body import decode, origin_of, parse
from freehold.errors import InvalidRequest, MalformedBody, UnknownParameter
from freehold.types.chat import ChatRequest
from freehold.types.completions import CompletionRequest
from freehold.types.conversations import ItemsRequest
from freehold.types.responses import ResponseRequest

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"{",
        b"[1]",
        b'"text"',
        b"null",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b'{"a": 1} x',
        b"{'a': 1}",
        b'{"a": 1, "a": 2}',
        b'{"b": {"a": 1, "a": 2}}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_not_an_acceptable_object_is_refused(body: bytes) -> None:
    """Broken, deep, doubtful or non-object JSON is a `MalformedBody`."""
    with pytest.raises(MalformedBody):
        decode(body)


def test_the_duplicate_key_is_named() -> None:
    """A key that stands twice is named, since decoders disagree on which one counts."""
    with pytest.raises(MalformedBody, match="'temperature' stands twice"):
        decode(b'{"temperature": 0, "temperature": 2}')


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=8),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**70), 2**70)
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(),
            lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=4), each, max_size=4),
            max_leaves=12,
        ),
        max_size=6,
    )
)
def test_how_json_is_spaced_changes_nothing(value: dict[str, object]) -> None:
    """A body is read to the same value, or refused, whether it is written as most clients do or in another way."""
    read = []
    for written in (
        json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False),
        json.dumps(value, indent=1, allow_nan=False),
    ):
        try:
            read.append(repr(decode(written.encode("utf-8", "surrogatepass"))))
        except MalformedBody as exc:
            read.append(exc.message)
    assert read[0] == read[1]


@pytest.mark.parametrize(
    "body", [b'{"a":1,"a":2}', b'{"a":9223372036854775808}', b'{"a":[{"b":1,"b":1}]}', b'{"a":1}x']
)
def test_json_without_spaces_is_held_to_the_same(body: bytes) -> None:
    """A body that is written as most clients do is refused for what any other is refused for."""
    with pytest.raises(MalformedBody):
        decode(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    """No input makes the decoder raise anything but its own error."""
    try:
        value: object = decode(body)
    except MalformedBody:
        value = {}
    assert isinstance(value, dict)


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"foo": 1}, "foo", "unknown_parameter"),
        ({"messages": None}, "messages", "invalid_type"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": "x", "nmae": "y"}]}, "messages[0].nmae", "unknown_parameter"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0]", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"temperature": "1"}, "temperature", "invalid_type"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": True}, "n", "invalid_type"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "invalid_value"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "invalid_value"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"logit_bias": {"x": 1}}, "logit_bias.x", "invalid_value"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1", "invalid_value"),
        ({"metadata": {"a": 1}}, "metadata.a", "invalid_type"),
        ({"model": ""}, "model", "invalid_value"),
        ({"response_format": {"type": "yaml"}}, "response_format", "invalid_value"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", "invalid_value"),
    ],
)
def test_a_wrong_parameter_is_named(change: dict[str, object], param: str, code: str) -> None:
    """The error names the parameter by its path and says what kind of wrong it is."""
    with pytest.raises(InvalidRequest) as caught:
        parse(ChatRequest, {**CHAT, **change})
    assert (caught.value.param, caught.value.code) == (param, code)
    assert param.split(".", maxsplit=1)[0] in caught.value.message


def test_messages_read_like_openais() -> None:
    """The wording follows OpenAI's where clients match on it."""
    with pytest.raises(UnknownParameter, match=r"^Unknown parameter: 'foo'\.$"):
        parse(ChatRequest, {**CHAT, "foo": 1})
    with pytest.raises(InvalidRequest, match=r"^Missing required parameter: 'messages'\.$"):
        parse(ChatRequest, {"model": "m"})
    with pytest.raises(
        InvalidRequest, match=r"^Invalid type for 'temperature': expected a decimal number, but got a string instead\.$"
    ):
        parse(ChatRequest, {**CHAT, "temperature": "warm"})


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([[1], [2, 3]], [[1], [2, 3]]),
        (None, ["<|endoftext|>"]),
    ],
)
def test_prompts_come_one_by_one(prompt: object, prompts: list[object]) -> None:
    """A prompt may be a text, texts, tokens or lists of tokens."""
    assert parse(CompletionRequest, {"model": "m", "prompt": prompt}).prompts == prompts


@pytest.mark.parametrize("prompt", [[], [[]], [1, "a"], ["a", [1]], [-1], 3, {"a": 1}])
def test_mixed_and_empty_prompts_are_refused(prompt: object) -> None:
    """A list of both texts and tokens, or an empty one, is refused by the parameter's name."""
    with pytest.raises(InvalidRequest) as caught:
        parse(CompletionRequest, {"model": "m", "prompt": prompt})
    assert caught.value.param is not None
    assert caught.value.param.startswith("prompt")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (b"ai.example.org", "http://ai.example.org"),
        (b"127.0.0.1:8080", "http://127.0.0.1:8080"),
        (b"[::1]:8080", "http://[::1]:8080"),
        (b"evil/path", "http://10.0.0.1:80"),
        (b"a b", "http://10.0.0.1:80"),
        (b"a@b", "http://10.0.0.1:80"),
        (b"", "http://10.0.0.1:80"),
        (None, "http://10.0.0.1:80"),
    ],
)
def test_the_origin_is_what_the_caller_says_if_it_is_one(host: bytes | None, origin: str) -> None:
    """A `Host` that is a name or an address goes into addresses; anything else is replaced by the server's own."""
    headers = [] if host is None else [(b"host", host)]
    assert origin_of({"scheme": "http", "headers": headers, "server": ("10.0.0.1", 80)}) == origin


RESPONSE = {"model": "m", "input": "hi"}
SAID = {"role": "user", "content": "a"}
TOOLS = "'function', 'image_generation', 'mcp'"
NAMED = {"type": "function", "name": "f"}


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        (
            {"input": [SAID, {"role": "user", "content": [{"type": "refusal", "refusal": ""}]}]},
            "input[1].content",
            "Invalid value: 'input[1].content' can hold 'refusal' only in the assistant's message.",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0]",
            "Invalid value for 'input[0].content[0]': needs either 'image_url' or 'file_id'.",
        ),
        (
            {"tools": [{"type": "mcp", "server_label": "s", "allowed_tools": {}}]},
            "tools[0].allowed_tools",
            "Invalid value for 'tools[0].allowed_tools': give 'tool_names', 'read_only' or both.",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            "tools[0].function",
            "Unknown parameter: 'tools[0].function'.",
        ),
        (
            {"tools": [NAMED, {"type": "web_search"}]},
            "tools[1]",
            f"Invalid value for 'tools[1]': its 'type' is 'web_search', and can be {TOOLS}.",
        ),
        (
            {"tools": [NAMED], "tool_choice": {"type": "custom", "name": "f"}},
            "tool_choice",
            f"Invalid value for 'tool_choice': its 'type' is 'custom', and can be {TOOLS}, 'allowed_tools'.",
        ),
        ({"tools": [{"name": "f"}]}, "tools[0].type", "Missing required parameter: 'tools[0].type'."),
        ({"text": {"format": {}}}, "text.format.type", "Missing required parameter: 'text.format.type'."),
        ({"tools": ["f"]}, "tools[0]", "Invalid type for 'tools[0]': expected an object, but got a string instead."),
        (
            {"tools": [NAMED], "tool_choice": "maybe"},
            "tool_choice",
            "Invalid value for 'tool_choice': should be 'none', 'auto' or 'required'.",
        ),
        (
            {"conversation": "conv_1", "previous_response_id": "resp_1"},
            "previous_response_id",
            "Invalid value: 'previous_response_id' cannot be combined with 'conversation'.",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_what_is_wrong_deep_in_a_response_is_named_by_its_path(
    change: dict[str, object], param: str, message: str
) -> None:
    """Rules between parameters, and wrong members of unions, are told where they are broken."""
    with pytest.raises(InvalidRequest) as caught:
        parse(ResponseRequest, {**RESPONSE, **change})
    assert (caught.value.param, caught.value.message) == (param, message)


def test_a_rule_of_an_item_of_a_conversation_is_named_by_its_path() -> None:
    """The second item is wrong, not a parameter of the body."""
    wrong = {"role": "assistant", "content": [{"type": "input_file", "file_id": "f"}]}
    with pytest.raises(InvalidRequest) as caught:
        parse(ItemsRequest, {"items": [SAID, wrong]})
    assert caught.value.param == "items[1].content"


def test_a_message_of_the_official_client_is_a_message() -> None:
    """What the client dumps of an answer goes back into the conversation: its nulls say nothing."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = ChatCompletionMessage.model_validate({"role": "assistant", "content": None, "tool_calls": [call]})
    dumped = BaseModel.model_dump(said)
    assert dumped["annotations"] is dumped["refusal"] is None
    request = parse(ChatRequest, {"model": "m", "messages": [*CHAT["messages"], dumped]})
    assert request.messages[1].model_dump(exclude_none=True) == {"role": "assistant", "tool_calls": [call]}
    with pytest.raises(UnknownParameter, match=r"messages\[1\]\.annotations"):
        parse(ChatRequest, {"model": "m", "messages": [*CHAT["messages"], {**dumped, "annotations": []}]})
