"""The content filter in a real server: what is blocked, held back and hidden, and what the receipt says of it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from freehold.content_filter.normalise import squeezed
from tests.content_filter.filters import PHRASE
from tests.gateway.filtered import body_saying, ends, path, receipt, receipt_of, said, streamed
from tests.service import Service, events_of, eventually

pytestmark = pytest.mark.slow

OFF = """
hate = { prompt = { action = "off" }, completion = { action = "off" } }
sexual = { prompt = { action = "off" }, completion = { action = "off" } }
violence = { prompt = { action = "off" }, completion = { action = "off" } }
self_harm = { prompt = { action = "off" }, completion = { action = "off" } }
jailbreak = "off"
"""
CONFIG = f"""
[server]
starter = false

[[blocklist]]
name = "fruit"
prompt = "off"
items = [{{ term = "{PHRASE}" }}]

[[blocklist]]
name = "banned"
completion = "off"
items = [{{ term = "grapefruit" }}]

[[content_filter]]
name = "default"
blocklists = ["fruit", "banned"]

[[content_filter]]
name = "later"
mode = "asynchronous"
blocklists = ["fruit", "banned"]

[[content_filter]]
name = "off"
{OFF}

[[deployment]]
name = "later"
engine = "echo"
model = "echo"
content_filter = "later"
options = {{ piece_length = 3, delay_s = 0.0005 }}

[[deployment]]
name = "off"
engine = "echo"
model = "echo"
content_filter = "off"

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
options = {{ delay_s = 0.05 }}
price = {{ from = "2020-01-01", input = "1000", output = "1000" }}

[[deployment]]
name = "broken"
engine = "echo"
model = "echo"
fallbacks = ["off"]
options = {{ fail_on = "now" }}

[[deployment]]
name = "paint"
engine = "echo"
model = "echo"
task = "images"
""" + "".join(
    f"""
[[deployment]]
name = "by-{length}"
engine = "echo"
model = "echo"
options = {{ piece_length = {length}, delay_s = 0.0002 }}
"""
    for length in (1, 2, 3)
)
DIALECTS = ("openai", "azure")
ROUTES = ("chat/completions", "completions", "tools")
SPELLINGS = (PHRASE, "\u200b".join(PHRASE), "b4n4n4 ph0ne", PHRASE.replace("a", "\u0430"), "b.a.n.a.n.a.p.h.o.n.e")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server whose filter has lists."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("operation", ROUTES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_listed_phrase_is_never_streamed(service: Service, dialect: str, operation: str, length: int, n: int) -> None:
    """Whatever the chunks, no stream on any endpoint brings a character of the phrase, for no choice."""
    deployment = f"by-{length}"
    for spelling in SPELLINGS:
        for shift in range(length):
            before = "x" * shift + " we all like the "
            body = body_saying(deployment, operation, f"{before}{spelling} that rings") | {"n": n}
            events = streamed(service, path(dialect, deployment, operation), body)
            texts = said(events)
            assert set(texts) == set(range(n))
            for text in texts.values():
                assert PHRASE not in squeezed(text)
                assert text.removeprefix('{"x":"') in before
            assert ends(events) == {index: ["content_filter"] for index in range(n)}


@pytest.mark.parametrize("operation", ROUTES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_passes_is_streamed_whole(service: Service, dialect: str, operation: str) -> None:
    """A text with nothing in it arrives as the engine made it, with the engine's own end."""
    text = "we all like the banana " * 20 + "telephone"
    events = streamed(service, path(dialect, "by-3", operation), body_saying("by-3", operation, text))
    expected = json.dumps({"x": text}, separators=(",", ":")) if operation == "tools" else text
    assert said(events) == {0: expected}
    assert ends(events) == {0: ["tool_calls" if operation == "tools" else "stop"]}


@pytest.mark.parametrize("operation", ROUTES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_blocked_choice_that_is_no_stream_has_no_content(service: Service, dialect: str, operation: str) -> None:
    """Nothing of a choice that does not pass is in an answer that is not a stream."""
    reply = service.post(path(dialect, "by-3", operation), body_saying("by-3", operation, f"a nice {PHRASE} rings"))
    (choice,) = reply.json()["choices"]
    assert reply.status == 200
    assert choice["finish_reason"] == "content_filter"
    assert choice.get("text", "") == ""
    assert choice.get("message", {}).get("content") is None
    assert "tool_calls" not in choice.get("message", {})
    found = receipt(service, reply)
    assert (found["outcome"], found["finish_reason"]) == ("filtered", "content_filter")
    assert found["filter"]["blocked"] == ["completion:blocklist:fruit"]
    assert found["filter"]["completion"]["blocklist:fruit"] == "detected"


def test_a_schema_that_cannot_be_met_is_refused_where_clients_look(service: Service) -> None:
    """A blocked answer to a request with a JSON schema says so in `refusal`."""
    schema = {"type": "object", "properties": {"x": {"const": PHRASE}}, "required": ["x"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = body_saying("by-3", "chat/completions", "hello") | {"response_format": form}
    message = service.post("/v1/chat/completions", body).json()["choices"][0]["message"]
    assert message["content"] is None
    assert "content filter" in message["refusal"]


@pytest.mark.parametrize("operation", ["chat/completions", "completions"])
def test_a_prompt_that_does_not_pass_is_refused_and_metered(service: Service, operation: str) -> None:
    """A blocked prompt is a 400 `content_filter`; its estimated tokens are charged and its receipt says `filtered`."""
    body = body_saying("slow", operation, "I would like a grape-fruit")
    reply = service.post(f"/v1/{operation}", body)
    assert (reply.status, reply.json()["error"]["code"]) == (400, "content_filter")
    found = receipt(service, reply)
    assert (found["outcome"], found["error_code"], found["attempt"]) == ("filtered", "content_filter", 0)
    assert found["filter"]["blocked"] == ["prompt:blocklist:banned"]
    assert found["filter"]["scanned"] == ["prompt"]
    assert found["prompt_tokens"] > 0
    assert found["estimated"] is True
    assert found["cost_micro"] == found["prompt_tokens"] * 1000


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": "a grapefruit"},
        {"role": "user", "content": [{"type": "text", "text": "a grape"}, {"type": "text", "text": "fruit"}]},
        {"role": "user", "content": '"""<documents>\na grapefruit\n</documents>"""'},
        {"role": "assistant", "content": "a grapefruit"},
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": "grapefruit"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "gr\u200bapefruit"},
    ],
)
def test_every_text_of_a_conversation_is_examined(service: Service, message: dict[str, Any]) -> None:
    """Whoever wrote it, and wherever in the conversation it stands."""
    body = {"model": "by-3", "messages": [message, {"role": "user", "content": "hello"}]}
    reply = service.post("/v1/chat/completions", body)
    assert (reply.status, reply.json()["error"]["code"]) == (400, "content_filter")


def test_a_long_prompt_is_examined_to_its_end(service: Service) -> None:
    """What stands behind a hundred thousand characters is found as well."""
    text = "we all like it. " * 7000
    body = body_saying("off", "chat/completions", text) | {"model": "slow", "max_tokens": 1}
    assert service.post("/v1/chat/completions", body).status == 200
    body["messages"].append({"role": "user", "content": text + "grape" + "\u200b" * 5000 + "fruit" + text})
    assert service.post("/v1/chat/completions", body).status == 400


def test_the_engine_is_stopped_when_every_choice_is_blocked(service: Service) -> None:
    """Nobody pays for what would not be sent: the engine stops, and the usage is what it had made, estimated."""
    text = f"a nice {PHRASE} " + "and more " * 400
    with service.open(
        "POST",
        "/v1/chat/completions",
        body_saying("slow", "chat/completions", text) | {"stream": True},
        key=service.key,
    ) as response:
        request_id = response.headers["x-request-id"]
        events = events_of(response)
    assert events[-1] == "[DONE]"
    found = receipt_of(service, request_id)
    assert found["estimated"] is True
    assert 3 <= found["completion_tokens"] < 400


def test_a_policy_that_is_off_costs_nothing(service: Service) -> None:
    """Under a policy that looks for nothing no text is examined, and the receipt has no `filter`."""
    reply = service.post("/v1/chat/completions", body_saying("off", "chat/completions", f"a {PHRASE} and a grapefruit"))
    assert reply.json()["choices"][0]["message"]["content"] == f"a {PHRASE} and a grapefruit"
    assert "filter" not in receipt(service, reply)


def test_a_spillover_is_examined_by_the_policy_of_whoever_serves(service: Service) -> None:
    """What a fallback serves passes by the fallback's policy, and the receipt tells which that is."""
    reply = service.post("/v1/chat/completions", body_saying("broken", "chat/completions", f"now a {PHRASE}"))
    assert reply.json()["choices"][0]["message"]["content"] == f"now a {PHRASE}"
    found = receipt(service, reply)
    assert (found["deployment"], found["content_filter"]) == ("off", "off")
    assert "filter" not in found


def test_a_prompt_of_tokens_cannot_be_examined(service: Service) -> None:
    """Tokens are refused by the parameter's name, unless the policy is off."""
    body = {"model": "by-3", "prompt": [1, 2, 3]}
    reply = service.post("/v1/completions", body)
    assert (reply.status, reply.json()["error"]["param"]) == (400, "prompt")
    assert "text" in reply.json()["error"]["message"]
    assert service.post("/v1/completions", body | {"model": "off"}).status == 200


def test_asynchronous_mode_sends_at_once_and_follows(service: Service) -> None:
    """The text comes as it is made; annotations follow it with offsets that never fall and end where it ends."""
    text = "we all like the weather today " * 60
    events = streamed(
        service, path("azure", "later", "chat/completions"), body_saying("later", "chat/completions", text)
    )
    assert said(events) == {0: text}
    notes = [choice for event in events for choice in event["choices"] if "content_filter_offsets" in choice]
    offsets = [note["content_filter_offsets"] for note in notes]
    assert len(offsets) >= 2
    assert [o["check_offset"] for o in offsets] == sorted(o["check_offset"] for o in offsets)
    assert all(o["start_offset"] <= o["check_offset"] <= o["end_offset"] for o in offsets)
    assert offsets[-1]["check_offset"] == offsets[-1]["end_offset"] == len(text)
    assert all(note["content_filter_results"]["hate"]["filtered"] is False for note in notes)
    assert ends(events) == {0: ["stop"]}


def test_asynchronous_mode_ends_a_stream_that_does_not_pass(service: Service) -> None:
    """What is found behind the sending ends the choice, and its annotation says where."""
    text = f"well a {PHRASE} rings " + "and so on " * 300
    events = streamed(
        service, path("azure", "later", "chat/completions"), body_saying("later", "chat/completions", text)
    )
    assert len(said(events)[0]) < len(text)
    assert ends(events) == {0: ["content_filter"]}
    last = events[-1]["choices"][0]
    assert last["content_filter_results"]["custom_blocklists"]["filtered"] is True
    assert last["content_filter_offsets"]["end_offset"] <= len(said(events)[0])


def test_a_picture_is_not_painted_after_a_prompt_that_does_not_pass(service: Service) -> None:
    """Prompts of pictures are examined: 400 `content_filter`, and `contentFilter` on Azure's route."""
    body = {"model": "paint", "prompt": "a grapefruit", "response_format": "b64_json"}
    reply = service.post("/v1/images/generations", body)
    assert (reply.status, reply.json()["error"]["code"]) == (400, "content_filter")
    azure = service.post("/openai/deployments/paint/images/generations?api-version=2024-10-21", body)
    error = azure.json()["error"]
    assert (azure.status, error["code"]) == (400, "contentFilter")
    assert error["inner_error"]["code"] == "ResponsibleAIPolicyViolation"
    painted = service.post(
        "/openai/deployments/paint/images/generations?api-version=2024-10-21", body | {"prompt": "a pear"}
    )
    assert painted.json()["data"][0]["prompt_filter_results"]["hate"]["filtered"] is False


def test_the_wait_of_the_first_piece_is_reported(service: Service) -> None:
    """How much later the first piece left stands on the receipt, in the log and in the metrics."""
    with service.open(
        "POST",
        "/v1/chat/completions",
        body_saying("by-1", "chat/completions", "hello my friend") | {"stream": True},
        key=service.key,
    ) as response:
        request_id = response.headers["x-request-id"]
        events_of(response)
    assert receipt_of(service, request_id)["filter"]["held_us"] > 0
    eventually(lambda: f'{request_id}","route"' in service.log(), "the line of the request is written")
    (line,) = [json.loads(line) for line in service.log().splitlines() if request_id in line and '"request"' in line]
    assert line["held_ms"] > 0
    assert 'freehold_content_filter_held_seconds_count{deployment="by-1"}' in service.get("/metrics").body.decode()
