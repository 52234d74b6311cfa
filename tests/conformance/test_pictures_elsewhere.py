"""Pictures that another service paints, that a fallback paints, and that nobody waits for any more."""

import base64
import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from tests.conformance.painting import CONFIG, form, named, pixels, receipt_of
from tests.conformance.recording import Judge, client_for
from tests.gateway.pictures import file, opened, photo
from tests.service import Service, eventually

pytestmark = pytest.mark.slow

ELSEWHERE = """
[server]
starter = false
public_url = "https://pictures.example.org"

[[deployment]]
name = "openai"
engine = "remote"
model = "painter"
task = "images"
base_url = "{url}/v1"
api_key = {{ env = "THEIRS" }}

[[deployment]]
name = "azure"
engine = "remote"
model = "gpt-image-1"
task = "images"
base_url = "{url}"
api_key = {{ env = "THEIRS" }}
options = {{ dialect = "azure" }}

[[deployment]]
name = "frail"
engine = "echo"
model = "echo"
task = "images"
options = {{ crash_on = "doom", fail_on = "bad" }}
fallbacks = ["openai"]

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
task = "images"
price = {{ image = "0.02" }}
options = {{ delay_s = 30 }}

[[deployment]]
name = "talker"
engine = "remote"
model = "writer"
base_url = "{url}/v1"
api_key = {{ env = "THEIRS" }}

[[limit]]
scope = "deployment"
id = "slow"
budget_per_day = "0.05"
"""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Somebody else's service."""
    with Service(tmp_path_factory.mktemp("theirs"), CONFIG) as service:
        yield service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, theirs: Service) -> Iterator[Service]:
    """A service whose deployments are somebody else's, or frail, or slow."""
    config = ELSEWHERE.format(url=theirs.url)
    with Service(tmp_path_factory.mktemp("ours"), config, environment={"THEIRS": theirs.key}) as service:
        yield service


@pytest.mark.parametrize("model", ["openai", "azure"])
@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_an_endpoint_paints(service: Service, theirs: Service, judge: Judge, model: str) -> None:
    """All three operations and streams reach an endpoint in either dialect, with what was asked and nothing lost."""
    with client_for(service, "openai", judge) as client, client_for(theirs, "openai", judge) as there:
        common: dict[str, Any] = {"size": "256x256", "response_format": "b64_json", "extra_body": {"seed": 9}}
        asked = {"prompt": "a boat", "n": 2, "quality": "high", **common}
        made = client.images.generate(model=model, **asked)
        assert pixels(made) == pixels(there.images.generate(model="painter", **asked))
        assert made.usage is not None
        assert made.usage.input_tokens == 2
        picture, mask = file(photo(256, 256)), Image.new("RGBA", (256, 256), (0, 0, 0, 255))
        mask.paste((0, 0, 0, 0), (0, 0, 100, 100))
        edit = {"prompt": "a hat", "image": named(picture), "mask": named(file(mask)), **common}
        assert pixels(client.images.edit(model=model, **edit)) == pixels(there.images.edit(model="painter", **edit))
        vary = {"image": named(picture), "n": 2, **common}
        ours, original = (
            pixels(each.images.create_variation(model=name, **vary))
            for each, name in ((client, model), (there, "painter"))
        )
        assert ours == original
        stream = client.images.generate(
            model=model, prompt="a boat", stream=True, partial_images=2, n=2, extra_body={"seed": 1}
        )
        kinds = [event.type.rpartition(".")[2] for event in stream]
        assert kinds == ["partial_image", "partial_image", "completed"] * 2


def test_what_an_endpoint_refuses_is_refused(service: Service) -> None:
    """A size that the endpoint does not paint is its 400, and an endpoint that writes does not paint."""
    body = {"model": "openai", "prompt": "x", "size": "333x333"}
    refused = service.post("/v1/images/generations", body)
    assert (refused.status, refused.json()["error"]["param"]) == (400, "size")
    wrong = service.post("/v1/images/generations", {"model": "talker", "prompt": "x"})
    assert (wrong.status, wrong.json()["error"]["code"]) == (400, "operation_not_supported")


def test_without_a_seed_none_is_sent(service: Service) -> None:
    """A request that names no seed leaves it to the endpoint, and its pictures differ."""
    body = {"model": "openai", "prompt": "x", "size": "256x256", "response_format": "b64_json"}
    replies = [service.post("/v1/images/generations", body).json()["data"][0]["b64_json"] for _ in range(2)]
    first, second = (opened(base64.b64decode(data)).tobytes() for data in replies)
    assert first != second


def test_a_fallback_paints(service: Service) -> None:
    """When an engine fails before the first picture the fallback paints, and answer and receipt say so."""
    body = {"model": "frail", "prompt": "bad", "size": "256x256", "response_format": "b64_json", "seed": 3}
    reply = service.post("/v1/images/generations", body)
    assert reply.status == 200
    assert reply.headers["x-freehold-deployment"] == "openai"
    receipt = receipt_of(service, reply.headers["x-request-id"])["receipt"]
    assert (receipt["deployment"], receipt["spilled_from"], receipt["images"]) == ("openai", "frail", 1)


def test_nothing_is_painted_twice(service: Service) -> None:
    """When an engine dies after the first of two pictures the request fails, and costs nothing."""
    reply = service.post("/v1/images/generations", {"model": "frail", "prompt": "doom", "n": 2})
    assert (reply.status, reply.json()["error"]["code"]) == (502, "engine_failed")
    receipt = receipt_of(service, reply.headers["x-request-id"])["receipt"]
    assert (receipt["outcome"], receipt["attempt"], receipt["cost_micro"]) == ("failed", 1, 0)


def test_an_edit_spills_over_too(service: Service) -> None:
    """A fallback gets the same picture and mask as the engine that failed."""
    status, body, _ = form(
        service,
        "/v1/images/edits",
        {"model": "frail", "prompt": "bad", "response_format": "b64_json"},
        {"image": file(photo(256, 256)), "mask": file(Image.new("RGBA", (256, 256)))},
    )
    assert status == 200
    assert opened(base64.b64decode(json.loads(body)["data"][0]["b64_json"])).size == (256, 256)


def test_who_goes_pays_for_what_was_painted(service: Service) -> None:
    """A caller who leaves after the first of two pictures ends the painting at once and pays for one."""
    where = urlsplit(service.url)
    body = json.dumps({"model": "slow", "prompt": "x", "n": 2, "size": "256x256", "stream": True}).encode()
    head = (
        f"POST /v1/images/generations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {service.key}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((where.hostname, where.port), timeout=60) as connection:
        connection.sendall(head.encode() + body)
        answer = b""
        while b"image_generation.completed" not in answer:  # sent as soon as it is finished
            answer += connection.recv(65536)
    request_id = answer.partition(b"x-request-id: ")[2].split(b"\r\n")[0].decode()
    left_at = time.monotonic()
    eventually(lambda: service.get(f"/v1/receipts/{request_id}", key=service.key).status == 200, "a receipt")
    assert time.monotonic() - left_at < 25, "the painting went on"
    receipt = receipt_of(service, request_id)["receipt"]
    assert (receipt["outcome"], receipt["images"], receipt["cost_micro"]) == ("cancelled", 1, 20_000)


def test_addresses_are_those_that_callers_reach(service: Service) -> None:
    """Addresses begin with `server.public_url`, and their path and query bring the picture."""
    reply = service.post("/v1/images/generations", {"model": "openai", "prompt": "x", "size": "256x256"})
    address = reply.json()["data"][0]["url"]
    assert address.startswith("https://pictures.example.org/v1/images/files/")
    found = service.get(address.removeprefix("https://pictures.example.org"))
    assert (found.status, found.headers["content-type"]) == (200, "image/png")


def test_a_budget_bounds_pictures(service: Service) -> None:
    """More pictures than the budget has money for are refused before anything is painted."""
    reply = service.post("/v1/images/generations", {"model": "slow", "prompt": "x", "n": 3})
    assert (reply.status, reply.json()["error"]["code"]) == (429, "insufficient_quota")
    receipt = receipt_of(service, reply.headers["x-request-id"])["receipt"]
    assert receipt["outcome"] == "refused"
    assert "images" not in receipt or receipt["images"] == 0
