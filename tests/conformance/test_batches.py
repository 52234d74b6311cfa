"""Batches as the official client makes, follows, lists and cancels them, in every dialect."""

import json
from collections.abc import Iterator
from typing import Any, cast

import openai
import pytest
from openai import OpenAI
from openai.types import Batch

from tests.batching import ENDED, jsonl, line
from tests.conformance.recording import Dialect, Judge, client_for
from tests.service import Service, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false
max_body_bytes = 100000

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
options = { dimensions = 8 }

[[deployment]]
name = "paint"
engine = "echo"
model = "echo"
task = "images"

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
parallel = 2
options = { delay_s = 0.2 }
"""
ENDPOINTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "one two"}]},
    "/v1/completions": {"prompt": "one two"},
    "/v1/embeddings": {"input": ["one", "two"]},
    "/v1/responses": {"input": "one two"},
    "/v1/moderations": {"input": "one two", "model": "omni-moderation-latest"},
    "/v1/images/generations": {"prompt": "a red ball", "model": "paint", "response_format": "b64_json"},
}


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


def made(client: OpenAI, lines: list[Any], endpoint: str = "/v1/chat/completions", **more: Any) -> Batch:
    """A batch of these lines."""
    file = client.files.create(file=("in.jsonl", jsonl(lines)), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=cast("Any", endpoint), completion_window="24h", **more)


def done(client: OpenAI, batch: Batch) -> Batch:
    """A batch once it has ended."""
    eventually(lambda: client.batches.retrieve(batch.id).status in ENDED, "the batch ends")
    return client.batches.retrieve(batch.id)


def answers(client: OpenAI, file_id: str | None) -> list[Any]:
    """The lines of a file."""
    assert file_id is not None
    return [json.loads(each) for each in client.files.content(file_id).read().splitlines()]


def test_a_batch_is_answered_line_by_line(client: OpenAI) -> None:
    """Every line has its answer, in the order of the input; counts, usage and times say so, and the files are files."""
    batch = made(client, [line(f"r{n}", f"number {n}") for n in range(25)], metadata={"team": "a"})
    assert (batch.object, batch.status, batch.endpoint) == ("batch", "validating", "/v1/chat/completions")
    assert batch.expires_at == batch.created_at + 86_400
    found = done(client, batch)
    assert (found.status, found.metadata, found.model) == ("completed", {"team": "a"}, "echo")
    assert found.request_counts is not None
    assert found.request_counts.model_dump() == {"total": 25, "completed": 25, "failed": 0}
    assert found.error_file_id is None
    assert found.in_progress_at is not None
    assert found.completed_at is not None
    lines = answers(client, found.output_file_id)
    assert [each["custom_id"] for each in lines] == [f"r{n}" for n in range(25)]
    assert all(each["error"] is None and each["response"]["status_code"] == 200 for each in lines)
    bodies = [each["response"]["body"] for each in lines]
    assert [body["choices"][0]["message"]["content"] for body in bodies] == [f"number {n}" for n in range(25)]
    assert found.usage is not None
    assert found.usage.input_tokens == sum(body["usage"]["prompt_tokens"] for body in bodies)
    assert found.usage.output_tokens == sum(body["usage"]["completion_tokens"] for body in bodies)
    file = client.files.retrieve(found.output_file_id or "")
    assert (file.purpose, file.expires_at) == ("batch_output", file.created_at + 30 * 86_400)
    assert client.files.delete(file.id).deleted


@pytest.mark.parametrize("endpoint", list(ENDPOINTS))
def test_every_operation_can_be_asked(client: OpenAI, endpoint: str) -> None:
    """Each of the endpoints answers as it does to a request of its own."""
    asked = {"custom_id": "a", "method": "POST", "url": endpoint, "body": {"model": "echo", **ENDPOINTS[endpoint]}}
    found = done(client, made(client, [asked], endpoint))
    assert found.status == "completed", found
    (answer,) = answers(client, found.output_file_id)
    assert answer["response"]["status_code"] == 200
    assert {"data", "choices", "output", "results"} & set(answer["response"]["body"])


def test_what_is_refused_stands_in_the_file_of_errors(client: OpenAI) -> None:
    """A line that its operation refuses is an error with its status, and the others are answered."""
    lines = [line("good"), line("bad", temperature=9), line("also good")]
    found = done(client, made(client, lines))
    assert found.status == "completed"
    assert found.request_counts is not None
    assert (found.request_counts.completed, found.request_counts.failed) == (2, 1)
    assert [each["custom_id"] for each in answers(client, found.output_file_id)] == ["good", "also good"]
    (error,) = answers(client, found.error_file_id)
    assert (error["custom_id"], error["response"]["status_code"]) == ("bad", 400)
    assert "temperature" in error["response"]["body"]["error"]["message"]


def test_an_input_that_cannot_be_run_fails_whole(client: OpenAI) -> None:
    """Nothing is run of an input with a mistake; the errors name the lines."""
    found = done(client, made(client, [line("a"), line("a"), {**line("b"), "method": "GET"}, {"custom_id": "c"}]))
    assert found.status == "failed"
    assert found.errors is not None
    told = [(each.line, each.code, each.param) for each in found.errors.data or []]
    assert told == [
        (2, "duplicate_custom_id", "custom_id"),
        (3, "invalid_method", "method"),
        (4, "missing_required_parameter", "method"),
    ]
    assert (found.output_file_id, found.error_file_id) == (None, None)
    unknown = done(client, made(client, [line("a", model="nope")]))
    assert unknown.errors is not None
    assert [(each.line, each.code) for each in unknown.errors.data or []] == [(1, "model_not_found")]


def test_a_batch_is_cancelled(client: OpenAI) -> None:
    """It stops soon; what was done is in its file, and nothing else."""
    batch = made(client, [line(f"r{n}", "one", model="slow") for n in range(200)])
    eventually(lambda: _completed(client, batch) > 1, "some lines are done")
    assert client.batches.cancel(batch.id).status in {"cancelling", "cancelled"}
    found = done(client, batch)
    assert found.status == "cancelled"
    assert found.cancelled_at is not None
    assert found.request_counts is not None
    lines = answers(client, found.output_file_id)
    assert [each["custom_id"] for each in lines] == [f"r{n}" for n in range(found.request_counts.completed)]
    assert 0 < len(lines) < 200


def _completed(client: OpenAI, batch: Batch) -> int:
    counts = client.batches.retrieve(batch.id).request_counts
    return counts.completed if counts else 0


def test_batches_are_listed(client: OpenAI) -> None:
    """The newest first, in pages; what has ended cannot be cancelled."""
    batches = [made(client, [line("a")]) for _ in range(3)]
    for batch in batches:
        done(client, batch)
    listed = []
    for found in client.batches.list(limit=2):
        listed.append(found.id)
        if len(listed) == 3:
            break
    assert listed == [batch.id for batch in reversed(batches)]
    page = client.batches.list(limit=1, after=batches[2].id)
    assert ([each.id for each in page.data], page.has_more) == ([batches[1].id], True)
    with pytest.raises(openai.BadRequestError, match="order"):
        client.batches.list(extra_query={"order": "asc"})
    with pytest.raises(openai.ConflictError, match="completed"):
        client.batches.cancel(batches[0].id)


def test_what_is_not_there_is_not_found(service: Service, dialect: Dialect) -> None:
    """An id that names no batch is a 404 to every operation, as is that of a file; Azure's form is its own."""
    with client_for(service, dialect, Judge(None, None)) as client:
        for ask in (client.batches.retrieve, client.batches.cancel):
            with pytest.raises(openai.NotFoundError, match="batch_0"):
                ask("batch_0")
        with pytest.raises(openai.NotFoundError, match="file-0"):
            client.batches.create(input_file_id="file-0", endpoint="/v1/chat/completions", completion_window="24h")


def test_what_cannot_be_a_batch_is_refused(client: OpenAI) -> None:
    """Files for something else, unknown files, other windows and outputs as uploads are refused by their names."""
    file = client.files.create(file=("a.txt", b"text"), purpose="user_data")
    with pytest.raises(openai.BadRequestError) as refused:
        client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert (refused.value.param, refused.value.code) == ("input_file_id", "invalid_file_purpose")
    with pytest.raises(openai.BadRequestError) as refused:
        client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window=cast("Any", "1h")
        )
    assert refused.value.param == "completion_window"
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=("a.jsonl", b"{}"), purpose=cast("Any", "batch_output"))
    assert refused.value.param == "purpose"
