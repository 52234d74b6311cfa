"""Items as the conversation that an engine is given."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from freehold.errors import InvalidRequest, NotFound, RequestError, UnsupportedParameter
from freehold.gateway.files import Files
from freehold.gateway.items import kept
from freehold.gateway.response_files import MAX_ALL_BYTES, MAX_PICTURE_BYTES, MAX_TEXT_BYTES, FileReader
from freehold.gateway.response_images import ImageGeneration
from freehold.gateway.response_input import (
    IMAGE_FUNCTION,
    chat_request,
    check_offered,
    functions,
    mcp_function,
    messages,
    renamed,
)
from freehold.gateway.response_toolbox import MAX_TOOLS, ServerTools, Toolbox
from freehold.store.database import Database
from freehold.types.chat import ChatRequest
from freehold.types.files import FileRequest, Purpose
from freehold.types.identity import DATA_PLANE, Principal
from freehold.types.images import HeldUpload
from freehold.types.responses import ResponseRequest
from tests.gateway.kept import files_of
from tests.gateway.pictures import file

APP = Principal("org", "proj_a", "app", actions=DATA_PLANE)
FUNCTION = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"a":1}'}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "rain"}
QUESTION = {
    "type": "mcp_approval_request",
    "id": "mcpr_1",
    "server_label": "docs",
    "name": "find it",
    "arguments": '{"q":"x"}',
}


def asked(**fields: Any) -> ResponseRequest:
    """A request."""
    return ResponseRequest.model_validate({"model": "m", "input": "x", **fields})


def items_of(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A request's items as they are kept."""
    found = asked(input=given).input
    assert isinstance(found, list)
    return [kept(item) for item in found]  # type: ignore[arg-type]  # none is a reference here


def said(given: list[dict[str, Any]], names: set[str] | None = None, told: dict[str, str] | None = None) -> list[Any]:
    """The messages that items become, without what they leave out."""
    return [
        each.model_dump(mode="json", exclude_none=True)
        for each in messages(items_of(given), names or set(), told or {})
    ]


def test_each_role_says_its_own() -> None:
    """Messages keep role and order; parts of a text are one, pictures stay parts, refusals are said as words."""
    picture = {"type": "input_image", "image_url": "https://x/y.png", "detail": "low"}
    assert said(
        [
            {
                "role": "developer",
                "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}],
            },
            {"role": "system", "content": "c"},
            {"role": "user", "content": "d"},
            {"role": "user", "content": [{"type": "input_text", "text": "e"}, picture]},
            {
                "role": "assistant",
                "content": [{"type": "output_text", "text": "f"}, {"type": "refusal", "refusal": "no"}],
            },
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hidden"}]},
        ]
    ) == [
        {"role": "developer", "content": "a\nb"},
        {"role": "system", "content": "c"},
        {"role": "user", "content": "d"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "e"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
            ],
        },
        {"role": "assistant", "content": "f\nno"},
    ]


def test_calls_are_one_message_with_what_was_said_before_them() -> None:
    """Calls in a row belong to the assistant's message before; after an answer a new one begins."""
    second = CALL | {"call_id": "c2"}
    found = said(
        [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "let me see"},
            CALL,
            second,
            OUTPUT,
            OUTPUT | {"call_id": "c2", "output": [{"type": "input_text", "text": "sun"}]},
            CALL | {"call_id": "c3"},
        ],
        {"weather"},
    )
    assert [each["role"] for each in found] == ["user", "assistant", "tool", "tool", "assistant"]
    assert found[1]["content"] == "let me see"
    assert [call["id"] for call in found[1]["tool_calls"]] == ["c1", "c2"]
    assert found[1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"a":1}'}
    assert [(each["tool_call_id"], each["content"]) for each in found[2:4]] == [("c1", "rain"), ("c2", "sun")]
    assert "content" not in found[4]
    assert [call["id"] for call in found[4]["tool_calls"]] == ["c3"]


def test_what_was_not_allowed_is_told() -> None:
    """A denied call is a call whose answer says so, with the reason; an allowed one, and a question, say nothing."""
    denied = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": False, "reason": "too dear"}
    call, answer = said([QUESTION, denied])
    assert call["tool_calls"][0]["function"] == {"name": "docs__find_it", "arguments": '{"q":"x"}'}
    assert answer["content"] == "The user did not allow this call. The reason: too dear"
    assert answer["tool_call_id"] == call["tool_calls"][0]["id"]
    assert said([QUESTION]) == said([QUESTION, denied | {"approve": True}]) == []
    assert said([denied]) == [], "there is no such question"


def test_calls_of_tools_that_are_gone_are_told_in_words() -> None:
    """A call that was carried out here is a call where the tool is offered still, else the assistant's words."""
    mcp = {"type": "mcp_call", "id": "x", "server_label": "docs", "name": "find", "arguments": "{}", "output": "found"}
    picture = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "AAAA"}
    name = mcp_function("docs", "find")
    assert said([mcp, picture]) == [
        {"role": "assistant", "content": f"({name}: found)"},
        {"role": "assistant", "content": f"({IMAGE_FUNCTION}: A picture was shown.)"},
    ]
    call, answer = said([mcp], {name})
    assert call["tool_calls"][0]["function"]["name"] == name
    assert answer["content"] == "found"
    failed = mcp | {"output": None, "error": {"type": "http_error", "code": 500, "message": "down"}, "status": "failed"}
    assert said([failed])[0]["content"] == f"({name}: Error: down)"
    (item,) = items_of([picture])
    (told,) = messages([item], set(), {item["id"]: "The picture is red."})
    assert told.content == f"({IMAGE_FUNCTION}: The picture is red.)"


@pytest.mark.parametrize(("label", "name"), [("docs", "x" * 200), ("d" * 64, "find"), ("docs", "schön & gut")])
def test_names_of_tools_are_names_of_functions(label: str, name: str) -> None:
    """Whatever a tool is called, what the model calls has at most 64 of the characters that it may have."""
    found = mcp_function(label, name)
    assert len(found) <= 64
    assert all(sign.isascii() and (sign.isalnum() or sign in "_-") for sign in found)


def test_parameters_are_those_of_chat_completions() -> None:
    """Limits, formats and what is told of the caller go to the model under the names that they have there."""
    schema = {"type": "json_schema", "name": "s", "schema": {"type": "object"}, "strict": True}
    request = asked(
        instructions="Be brief.",
        max_output_tokens=20,
        temperature=0.5,
        top_p=0.25,
        text={"format": schema, "verbosity": "low"},
        reasoning={"effort": "high"},
        tools=[FUNCTION],
        parallel_tool_calls=False,
        top_logprobs=2,
        service_tier="flex",
        safety_identifier="u",
    )
    found = chat_request(request, items_of([{"role": "user", "content": "x"}]), functions(request), "auto", stream=True)
    assert found.messages[0].model_dump(exclude_none=True) == {"role": "system", "content": "Be brief."}
    told = found.model_dump(mode="json", exclude_none=True, by_alias=True, exclude={"messages", "tools"})
    assert told == {
        "model": "m",
        "stream": True,
        "max_completion_tokens": 20,
        "temperature": 0.5,
        "top_p": 0.25,
        "logprobs": True,
        "top_logprobs": 2,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": True},
        },
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "safety_identifier": "u",
        "service_tier": "flex",
        "reasoning_effort": "high",
        "verbosity": "low",
    }


def bare(request: ResponseRequest) -> ChatRequest:
    """What the model is asked in its first turn, without a word."""
    box = Toolbox(request, ServerTools())
    return chat_request(request, [], box.tools, box.choice(0), stream=False)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("none", "none"),
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "name": "weather"}, "weather"),
    ],
)
def test_what_is_demanded_is_demanded_once(given: Any, wanted: str) -> None:
    """The first turn has the caller's choice, later ones `auto`, but for `none`; after the last call there is none."""
    request = asked(tools=[FUNCTION], tool_choice=given, max_tool_calls=1)
    box = Toolbox(request, ServerTools())
    assert (box.choice(0), box.choice(1)) == (wanted, "none" if wanted == "none" else "auto")
    choice = bare(request).tool_choice
    assert (choice if isinstance(choice, str) else choice and choice.function.name) == wanted
    assert box.take()
    assert (box.choice(0), box.choice(1)) == ("none", "none")
    assert not box.take()


def test_a_question_without_a_word_is_one_of_no_words() -> None:
    """Where nothing is left to ask the model reads an empty message."""
    (message,) = bare(asked()).messages
    assert message.model_dump(exclude_none=True) == {"role": "user", "content": ""}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (
            {"tools": [{"type": "mcp", "server_label": "a"}], "tool_choice": {"type": "mcp", "server_label": "b"}},
            "tool_choice",
        ),
        ({"tools": [FUNCTION], "tool_choice": {"type": "image_generation"}}, "tool_choice"),
        ({"tools": [FUNCTION | {"name": "none"}], "tool_choice": {"type": "function", "name": "none"}}, "tool_choice"),
        ({"tools": [FUNCTION | {"name": f"f{number}"} for number in range(MAX_TOOLS)]}, "tools"),
        ({"tools": [FUNCTION | {"name": "here"}]}, "tools"),
    ],
)
def test_tools_that_cannot_be_offered_are_refused(fields: dict[str, Any], param: str) -> None:
    """What is demanded must be there, no two tools have one name, and there are not too many with those of servers."""
    options = asked(tools=[{"type": "image_generation"}]).tools
    assert options is not None
    tool = ImageGeneration(None, None, APP, None, options[0], "resp_1", stream=False)  # type: ignore[arg-type]  # unused
    server = ServerTools(tools={} if param == "tool_choice" else {"here": tool})
    with pytest.raises(InvalidRequest) as refused:
        Toolbox(asked(**fields), server).choice(0)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"context_management": []}, "context_management"),
        ({"reasoning": {"summary": "detailed"}}, "reasoning.summary"),
        ({"reasoning": {"mode": "x"}}, "reasoning.mode"),
        ({"reasoning": {"context": "all_turns"}}, "reasoning.context"),
    ],
)
def test_what_no_model_does_is_refused(fields: dict[str, Any], param: str) -> None:
    """By its name."""
    with pytest.raises(UnsupportedParameter) as refused:
        check_offered(asked(**fields))
    assert refused.value.param == param
    check_offered(asked(reasoning={"summary": "auto"}))


def test_errors_have_the_names_that_parameters_have_here() -> None:
    """What chat completions refuse is told in the words of responses."""
    error = renamed(InvalidRequest("'max_completion_tokens' is too large.", param="max_completion_tokens"))
    assert (error.message, str(error), error.param) == (
        "'max_output_tokens' is too large.",
        "'max_output_tokens' is too large.",
        "max_output_tokens",
    )


def test_a_function_gives_words_only() -> None:
    """A picture that a function gave is refused before anything is asked."""
    output = OUTPUT | {"output": [{"type": "input_image", "image_url": "https://x/y.png"}]}
    with pytest.raises(UnsupportedParameter, match="text only"):
        said([CALL, output])


def with_files(folder: Path, trial: Callable[[Files], Awaitable[None]]) -> None:
    """Run a trial on the files of a new home."""

    async def main() -> None:
        database = await Database.open(folder / "freehold.db")
        try:
            await trial(files_of(database, lambda: 1_800_000_000.0))
        finally:
            await database.close()

    asyncio.run(main())


async def uploaded(files: Files, data: bytes, name: str) -> str:
    """A new file's id."""
    return (await files.create(APP, HeldUpload(data, name), FileRequest(purpose=Purpose.USER_DATA))).id


async def read(files: Files, *parts: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a message with what is in their files."""
    items = items_of([{"role": "user", "content": list(parts)}])
    (found,) = await FileReader(files).inlined(APP, items)
    content: list[dict[str, Any]] = found["content"]
    return content


def test_files_are_read_into_what_is_asked(tmp_path: Path) -> None:
    """A text becomes a text with its name, a picture a `data:` URL; the items themselves stay as they are."""

    async def trial(files: Files) -> None:
        picture, text = file(Image.new("RGB", (2, 2))), "schön"
        names = [await uploaded(files, picture, "a.png"), await uploaded(files, text.encode(), "b.txt")]
        parts = [
            {"type": "input_image", "file_id": names[0], "detail": "high"},
            {"type": "input_file", "file_id": names[1]},
            {"type": "input_file", "file_data": base64.b64encode(b"\xef\xbb\xbfsent").decode(), "filename": "c.txt"},
            {"type": "input_file", "file_data": "data:text/plain;base64,c2VudA=="},
            {"type": "input_text", "text": "look"},
        ]
        items = items_of([{"role": "user", "content": parts}, OUTPUT | {"output": [parts[1]]}])
        said, answered = await FileReader(files).inlined(APP, items)
        url = "data:image/png;base64," + base64.b64encode(picture).decode()
        assert said["content"] == [
            {"type": "input_image", "detail": "high", "image_url": url},
            {"type": "input_text", "text": f"b.txt:\n{text}"},
            {"type": "input_text", "text": "c.txt:\nsent"},
            {"type": "input_text", "text": "file:\nsent"},
            {"type": "input_text", "text": "look"},
        ]
        assert answered["output"] == [{"type": "input_text", "text": f"b.txt:\n{text}"}]
        assert items[0]["content"][0] == {"type": "input_image", "detail": "high", "file_id": names[0]}

    with_files(tmp_path, trial)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """What is no text, no picture, too large, not there, or only an address."""

    async def trial(files: Files) -> None:
        text, zeros = await uploaded(files, b"text", "a.txt"), await uploaded(files, b"a\0b", "b.txt")
        large = await uploaded(files, b"x" * (MAX_TEXT_BYTES + 1), "c.txt")
        wrong: list[tuple[dict[str, Any], type[RequestError]]] = [
            ({"type": "input_image", "file_id": text}, InvalidRequest),
            ({"type": "input_file", "file_id": zeros}, UnsupportedParameter),
            ({"type": "input_file", "file_id": large}, InvalidRequest),
            ({"type": "input_file", "file_id": "file-0"}, NotFound),
            ({"type": "input_file", "file_url": "https://x/y.txt"}, UnsupportedParameter),
            ({"type": "input_file", "file_data": "data:text/plain;base64,???"}, InvalidRequest),
            ({"type": "input_file", "file_data": "A" * (MAX_TEXT_BYTES * 4 // 3 + 8)}, InvalidRequest),
            ({"type": "input_file", "file_data": base64.b64encode(b"\xff\xfe").decode()}, UnsupportedParameter),
        ]
        for part, kind in wrong:
            with pytest.raises(kind):
                await read(files, part)

    with_files(tmp_path, trial)


def test_files_of_one_request_have_a_bound_together(tmp_path: Path) -> None:
    """A file that is named again and again is not read more often than a request may read."""

    async def trial(files: Files) -> None:
        size = MAX_PICTURE_BYTES // 2
        name = await uploaded(files, file(Image.new("RGB", (2, 2))).ljust(size, b"\0"), "a.png")
        part = {"type": "input_image", "file_id": name}
        most = MAX_ALL_BYTES // size
        assert len(await read(files, *[part] * most)) == most
        with pytest.raises(InvalidRequest, match="together"):
            await read(files, *[part] * (most + 1))

    with_files(tmp_path, trial)


def test_an_error_that_begins_with_a_parameter_is_renamed_too() -> None:
    """Who asks for too many tokens reads the name that he has sent."""
    error = renamed(InvalidRequest("max_completion_tokens is too large: 9.", param="max_completion_tokens"))
    assert (error.param, error.message) == ("max_output_tokens", "max_output_tokens is too large: 9.")
