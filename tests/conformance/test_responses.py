"""Responses as the official client makes, follows, fetches, cancels and deletes them, in every dialect."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.responses import Response
from pydantic import BaseModel

from tests.conformance.echo import WEATHER
from tests.conformance.recording import Dialect, Judge, client_for
from tests.gateway.pictures import opened
from tests.service import Service

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
aliases = ["gpt-4o"]
options = { context_length = 512 }

[[deployment]]
name = "painter"
engine = "echo"
model = "echo"
task = "images"
aliases = ["dall-e-2"]
price = { image = "0.02" }

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
options = { delay_s = 0.05 }
"""
TOOL: Any = {"type": "function", **WEATHER["function"], "strict": True}  # type: ignore[dict-item]


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


@pytest.fixture
def unjudged(service: Service, dialect: Dialect) -> Iterator[OpenAI]:
    """The official client in each dialect, for errors that Azure's form of differs from the document."""
    with client_for(service, dialect, Judge(None, None)) as client:
        yield client


@pytest.fixture
def plain(service: Service) -> Iterator[OpenAI]:
    """The official client, where the dialect does not matter."""
    with client_for(service, "openai", Judge(None, None)) as client:
        yield client


def settled(client: OpenAI, response_id: str) -> Response:
    """A response in the background once it is done."""
    while (found := client.responses.retrieve(response_id)).status in {"queued", "in_progress"}:
        time.sleep(0.02)
    return found


def test_a_response_is_made_kept_and_deleted(client: OpenAI, unjudged: OpenAI) -> None:
    """What was answered is fetched again, with what was asked; once deleted it is gone."""
    made = client.responses.create(
        model="echo", input="one two three", instructions="Be brief.", metadata={"topic": "numbers"}, temperature=0.5
    )
    assert made.id.startswith("resp_")
    assert (made.status, made.output_text, made.model) == ("completed", "one two three", "echo")
    assert made.usage is not None
    assert made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens > 0
    assert (made.instructions, made.metadata, made.temperature) == ("Be brief.", {"topic": "numbers"}, 0.5)
    assert client.responses.retrieve(made.id).to_dict() == made.to_dict()
    (asked,) = client.responses.input_items.list(made.id)
    assert asked.to_dict()["content"] == [{"type": "input_text", "text": "one two three"}]
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError, match=made.id):
        unjudged.responses.retrieve(made.id)


def test_a_stream_tells_what_the_whole_answer_does(client: OpenAI) -> None:
    """Events are numbered from 0 without a gap, their pieces make the text, and the last has what is kept."""
    events = list(client.responses.create(model="echo", input="one two three", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "one two three"
    assert events[-1].type == "response.completed"
    assert client.responses.retrieve(events[-1].response.id).to_dict() == events[-1].response.to_dict()


def test_a_response_goes_on_with_the_one_before(client: OpenAI) -> None:
    """The model reads everything that was said before, but for the instructions; of an unknown one nothing is made."""
    first = client.responses.create(model="echo", input="one two", instructions="a b c d e")
    alone = client.responses.create(model="echo", input="three")
    second = client.responses.create(model="echo", input="three", previous_response_id=first.id)
    third = client.responses.create(model="echo", input="four", previous_response_id=second.id)
    tokens = [each.usage.input_tokens for each in (alone, second, third) if each.usage is not None]
    assert tokens == sorted(set(tokens))
    assert third.previous_response_id == second.id
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="echo", input="x", previous_response_id="resp_0")
    assert refused.value.code == "previous_response_not_found"


def test_functions_are_called_and_answered(client: OpenAI) -> None:
    """A call comes as an item, whole and as a stream; its output goes back by reference and by value."""
    made = client.responses.create(model="echo", input="weather", tools=[TOOL], tool_choice="required")
    (call,) = made.output
    assert call.type == "function_call"
    assert (call.name, call.status) == ("get_weather", "completed")
    assert set(json.loads(call.arguments)) == {"city"}
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    after = client.responses.create(model="echo", input=[output], previous_response_id=made.id, tools=[TOOL])
    by_value: Any = [{"role": "user", "content": "weather"}, call.to_dict(), output]
    again = client.responses.create(model="echo", input=by_value, tools=[TOOL])
    assert after.usage is not None
    assert again.usage is not None
    assert after.usage.input_tokens == again.usage.input_tokens
    events = list(
        client.responses.create(model="echo", input="weather", tools=[TOOL], tool_choice="required", stream=True)
    )
    pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    (done,) = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert "".join(pieces) == done.arguments == call.arguments
    assert done.to_dict()["name"] == "get_weather"


def test_the_model_has_a_picture_painted(client: OpenAI) -> None:
    """A call of `image_generation` becomes a picture, whole and as a stream, and the model goes on after it."""
    tool: Any = {"type": "image_generation", "size": "256x256"}
    made = client.responses.create(model="echo", input="image_generation please", tools=[tool])
    call, said = made.output
    assert call.type == "image_generation_call"
    assert call.result is not None
    assert opened(base64.b64decode(call.result)).size == (256, 256)
    assert said.type == "message"
    assert made.output_text == "The picture was painted, and the user sees it now."
    tool["partial_images"] = 2
    stream = client.responses.create(model="echo", input="image_generation please", tools=[tool], stream=True)
    kinds = [event.type.removeprefix("response.image_generation_call.") for event in stream]
    assert [kind for kind in kinds if "." not in kind] == [
        "in_progress",
        "generating",
        "partial_image",
        "partial_image",
        "completed",
    ]
    again = client.responses.create(model="echo", input="thanks", previous_response_id=made.id)
    assert again.output_text == "thanks"


def test_calls_of_tools_are_bounded(client: OpenAI) -> None:
    """Behind `max_tool_calls` nothing is painted, and the model has to answer."""
    tool: Any = {"type": "image_generation", "size": "256x256"}
    made = client.responses.create(
        model="echo", input="image_generation", tools=[tool], tool_choice="required", max_tool_calls=1
    )
    assert [item.type for item in made.output] == ["image_generation_call", "message"]


class Weather(BaseModel):
    """What an answer is parsed as."""

    city: str


def test_an_answer_meets_its_schema(client: OpenAI) -> None:
    """`text.format` is held, through the client's own parsing too."""
    parsed = client.responses.parse(model="echo", input="where", text_format=Weather)
    assert isinstance(parsed.output_parsed, Weather)
    made = client.responses.create(model="echo", input="x", text={"format": {"type": "json_object"}})
    assert isinstance(json.loads(made.output_text), dict)


def test_an_answer_that_is_cut_off_says_so(client: OpenAI) -> None:
    """With `max_output_tokens` the response is incomplete, and why; log probabilities come where they are included."""
    made = client.responses.create(model="echo", input="word " * 40, max_output_tokens=16)
    assert made.status == "incomplete"
    assert made.incomplete_details is not None
    assert made.incomplete_details.reason == "max_output_tokens"
    told = client.responses.create(
        model="echo", input="one two", include=["message.output_text.logprobs"], top_logprobs=2
    )
    (said,) = told.output
    assert said.type == "message"
    (part,) = said.content
    assert part.type == "output_text"
    assert part.logprobs is not None
    assert "".join(token.token for token in part.logprobs) == "one two"


def test_a_response_in_the_background_is_polled(client: OpenAI) -> None:
    """It is queued at once, done later, and the same as one that was waited for."""
    made = client.responses.create(model="slow", input="one two three", background=True)
    assert made.status in {"queued", "in_progress"}
    done = settled(client, made.id)
    assert (done.status, done.output_text, done.background) == ("completed", "one two three", True)
    with pytest.raises(openai.BadRequestError, match="no stream"):
        list(client.responses.retrieve(made.id, stream=True))


def test_what_was_said_so_far_is_shown_and_kept(client: OpenAI) -> None:
    """A response in the background shows its output while it is made, and keeps it when it is cancelled."""
    made = client.responses.create(model="slow", input="word " * 400, background=True)
    while not (found := client.responses.retrieve(made.id)).output_text:
        assert found.status in {"queued", "in_progress"}
    cancelled = client.responses.cancel(made.id)
    assert cancelled.status == "cancelled"
    assert cancelled.output_text.startswith(found.output_text)
    assert client.responses.retrieve(made.id).to_dict() == cancelled.to_dict()


def test_a_dropped_stream_goes_on_where_it_broke(client: OpenAI) -> None:
    """From whichever event on, during the work and after it, the rest comes without one missing or twice."""
    with client.responses.create(model="slow", input="one two three four", background=True, stream=True) as stream:
        seen = [next(iter(stream)) for _ in range(1)]
        assert seen[0].type == "response.created"
        response_id = seen[0].response.id
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=0))
    whole = list(client.responses.retrieve(response_id, stream=True))
    assert [event.sequence_number for event in whole] == list(range(len(whole)))
    assert whole[1:] == rest
    assert whole[-1].type == "response.completed"
    for after in (3, len(whole) - 2, len(whole) - 1):
        assert list(client.responses.retrieve(response_id, stream=True, starting_after=after)) == whole[after + 1 :]


def test_a_response_in_the_background_is_cancelled(client: OpenAI) -> None:
    """It stops and stays cancelled; one that is done stays as it is, one that is not in the background is refused."""
    made = client.responses.create(model="slow", input="word " * 200, background=True)
    assert client.responses.cancel(made.id).status == "cancelled"
    assert client.responses.retrieve(made.id).status == "cancelled"
    assert client.responses.cancel(made.id).status == "cancelled"
    direct = client.responses.create(model="echo", input="x")
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.cancel(direct.id)


def test_tokens_are_counted_as_they_will_be_read(client: OpenAI) -> None:
    """`input_tokens` tells what the usage tells afterwards, with what came before and with instructions."""
    first = client.responses.create(model="echo", input="one two three")
    asked: dict[str, Any] = {"model": "echo", "input": "four", "previous_response_id": first.id, "instructions": "a b"}
    counted = client.responses.input_tokens.count(**asked)
    made = client.responses.create(**asked)
    assert made.usage is not None
    assert counted.input_tokens == made.usage.input_tokens


def test_the_oldest_goes_where_the_model_cannot_read_all(client: OpenAI) -> None:
    """With `truncation` set to `auto` a long conversation is answered, without it refused by the model's limit."""
    long: Any = [{"role": "user", "content": "word " * 100} for _ in range(20)]
    long.append({"role": "user", "content": "the end"})
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        client.responses.create(model="echo", input=long)
    made = client.responses.create(model="echo", input=long, truncation="auto")
    assert made.output_text == "the end"
    assert made.usage is not None
    assert 100 < made.usage.input_tokens <= 512
    assert len(list(client.responses.input_items.list(made.id, limit=100))) == 21


def test_files_are_read_into_the_input(client: OpenAI) -> None:
    """An uploaded text, and one that is sent along, become text; what is kept names the file."""
    file = client.files.create(file=("notes.txt", b"alpha beta"), purpose="user_data")
    part: Any = {"type": "input_file", "file_id": file.id}
    made = client.responses.create(model="echo", input=[{"role": "user", "content": [part]}])
    assert made.output_text.split() == ["notes.txt:", "alpha", "beta"]
    (asked,) = client.responses.input_items.list(made.id)
    assert asked.to_dict()["content"] == [part]
    data = "data:text/plain;base64," + base64.b64encode(b"gamma").decode()
    sent: Any = [{"role": "user", "content": [{"type": "input_file", "filename": "g.txt", "file_data": data}]}]
    assert client.responses.create(model="echo", input=sent).output_text.split() == ["g.txt:", "gamma"]


def test_nothing_is_kept_that_is_not_to_be(client: OpenAI, unjudged: OpenAI) -> None:
    """With `store` false the response is answered, and not there afterwards."""
    made = client.responses.create(model="echo", input="one", store=False)
    assert made.output_text == "one"
    with pytest.raises(openai.NotFoundError):
        unjudged.responses.retrieve(made.id)


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tools": [{"type": "image_generation", "action": "edit"}]}, "tools"),
        ({"tools": [{"type": "image_generation"}, {"type": "image_generation"}]}, "tools"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"background": True, "store": False}, "background"),
        ({"max_output_tokens": 1}, "max_output_tokens"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://a.example/b"}]}]},
            "input",
        ),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
    ],
)
def test_what_is_not_done_is_refused_by_its_name(plain: OpenAI, parameters: dict[str, Any], param: str) -> None:
    """Each parameter that cannot be done is named in the error."""
    with pytest.raises(openai.BadRequestError) as refused:
        plain.responses.create(**{"model": "echo", "input": "x", **parameters})
    assert refused.value.param is not None
    assert refused.value.param.startswith(param)


def test_a_picture_is_referred_to_by_its_id(client: OpenAI, unjudged: OpenAI) -> None:
    """A picture that was painted stands in the input by type and id alone, as in OpenAI's guide; it must be there."""
    tool: Any = {"type": "image_generation"}
    painted = client.responses.create(model="echo", input="a cat", tools=[tool], tool_choice=tool)
    picture = next(item for item in painted.output if item.type == "image_generation_call")
    reference: Any = {"type": "image_generation_call", "id": picture.id}
    ask: Any = {"role": "user", "content": "make it blue"}
    again = client.responses.create(model="echo", input=[{"role": "user", "content": "a cat"}, reference, ask])
    kept = list(client.responses.input_items.list(again.id, order="asc"))
    assert [item.type for item in kept] == ["message", "image_generation_call", "message"]
    assert kept[1].type == "image_generation_call"
    assert kept[1].result == picture.result
    reference["id"] = "ig_0"
    with pytest.raises(openai.NotFoundError, match="ig_0"):
        unjudged.responses.create(model="echo", input=[reference, ask])


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"model": "nobody"}, "tools[1].model"),
        ({"action": "edit"}, "tools[1].action"),
        ({"input_fidelity": "high"}, "tools[1].input_fidelity"),
    ],
)
def test_what_is_wrong_with_pictures_is_named_by_its_place(plain: OpenAI, options: dict[str, Any], param: str) -> None:
    """The model that answers is not the one that is missing; the option stands in the tool."""
    tools: Any = [TOOL, {"type": "image_generation", **options}]
    with pytest.raises(openai.APIStatusError) as refused:
        plain.responses.create(model="echo", input="x", tools=tools)
    assert refused.value.param == param


def test_what_tokens_are_not_counted_for_is_named(plain: OpenAI) -> None:
    """A preset of a style is a parameter that no model has, not an unknown one; null is none."""
    counted = plain.responses.input_tokens.count(model="echo", input="one two", extra_body={"personality": None})
    assert counted.input_tokens == 2
    with pytest.raises(openai.BadRequestError, match="Unsupported parameter: 'personality'") as refused:
        plain.responses.input_tokens.count(model="echo", input="one two", extra_body={"personality": "friendly"})
    assert (refused.value.param, refused.value.code) == ("personality", "unsupported_parameter")


def test_some_of_the_tools_are_allowed(client: OpenAI) -> None:
    """The model must call the one that is allowed, and the response tells the choice."""
    tools: Any = [TOOL, {**TOOL, "name": "clock"}]
    choice: Any = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "clock"}]}
    made = client.responses.create(model="echo", input="x", tools=tools, tool_choice=choice)
    assert [call.name for call in made.output if call.type == "function_call"] == ["clock"]
    assert made.model_dump()["tool_choice"] == choice
    assert len(made.tools) == 2


def test_what_is_done_anyway_may_be_asked_for(plain: OpenAI) -> None:
    """A prompt's cache is kept in memory, and no longer than that."""
    assert plain.responses.create(model="echo", input="x", prompt_cache_retention="in_memory").output_text == "x"
    with pytest.raises(openai.BadRequestError, match=r"'prompt_cache_retention': .* can be 'in_memory'"):
        plain.responses.create(model="echo", input="x", prompt_cache_retention="24h")
