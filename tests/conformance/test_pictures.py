"""Pictures as the official client asks for them, in every dialect, judged by the published specifications."""

import base64
import http.client
import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from PIL import Image

from tests.conformance.painting import CONFIG, files, form, named, pixels, receipt_of
from tests.conformance.recording import Dialect, Judge, client_for
from tests.conformance.spec import AzureSpec
from tests.gateway.pictures import file, hostile, opened, photo
from tests.service import Service

pytestmark = pytest.mark.slow

HOSTILE = hostile()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with the echo engine as a painter."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


@pytest.fixture
def client(service: Service, dialect: Dialect, judge: Judge) -> Iterator[OpenAI]:
    """The official client in each dialect."""
    with client_for(service, dialect, judge) as client:
        yield client


def test_pictures_from_a_text(client: OpenAI) -> None:
    """Pictures come in the number, size and format asked for, the same for the same seed."""
    asked: dict[str, Any] = {
        "model": "painter",
        "prompt": "a lighthouse at sunset",
        "n": 2,
        "size": "256x256",
        "response_format": "b64_json",
        "extra_body": {"seed": 5},
    }
    answer = client.images.generate(**asked)
    made = pixels(answer)
    assert [opened(data).size for data in files(answer)] == [(256, 256)] * 2
    assert made == pixels(client.images.generate(**asked))
    assert made[0] != made[1]
    assert (answer.size, answer.output_format, answer.background) == ("256x256", "png", "opaque")
    assert answer.usage is not None
    assert answer.usage.input_tokens == answer.usage.total_tokens == 4
    assert pixels(client.images.generate(**asked | {"n": 1, "extra_body": {"seed": 6}})) == made[1:]


@pytest.mark.parametrize(("output", "kind"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_formats_of_files(client: OpenAI, output: Any, kind: str) -> None:
    """A file has the format that was asked for, and a smaller one where it may be compressed more."""
    asked: dict[str, Any] = {"model": "gpt-image-1", "prompt": "a red fish", "output_format": output}
    asked |= {"extra_body": {"seed": 1}}
    (data,) = files(client.images.generate(**asked))
    assert opened(data).format == kind
    if output != "png":
        (small,) = files(client.images.generate(**asked, output_compression=5))
        assert len(small) < len(data)


def test_quality_style_and_background(client: OpenAI) -> None:
    """Quality and style change the picture, and a transparent background is transparent."""
    asked: dict[str, Any] = {"model": "painter", "prompt": "x", "response_format": "b64_json"}
    asked |= {"extra_body": {"seed": 1}, "moderation": "auto", "user": "ann"}
    others: list[dict[str, Any]] = [{}, {"quality": "high"}, {"style": "natural"}, {"background": "transparent"}]
    answers = [client.images.generate(**asked, **more) for more in others]
    assert len({files(answer)[0] for answer in answers}) == 4
    assert answers[1].quality == "high"
    assert answers[3].background == "transparent"
    clear = opened(files(answers[3])[0])
    assert clear.getchannel("A").getextrema()[0] == 0


def test_addresses(client: OpenAI, service: Service) -> None:
    """An address in an answer brings the picture without a key, as its type, and not when it was changed."""
    answer = client.images.generate(model="dall-e-2", prompt="x", output_format="webp")
    assert answer.data is not None
    address = answer.data[0].url or ""
    assert address.startswith(service.url + "/v1/images/files/img-")
    with urllib.request.urlopen(address, timeout=30) as response:
        assert response.headers["content-type"] == "image/webp"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert opened(response.read()).size == (1024, 1024)
    path = address.removeprefix(service.url)
    for wrong in (path[:-1], path.replace("exp=", "exp=9"), path.split("?")[0], path.replace("img-", "img-0")):
        reply = service.get(wrong)
        assert (reply.status, reply.json()["error"]["code"]) == (404, "not_found")


def test_an_edit(client: OpenAI) -> None:
    """An edit paints what is transparent in the mask and keeps the rest, in whichever format the picture comes."""
    mask = Image.new("RGBA", (256, 256), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (128, 0, 256, 256))
    picture = photo(256, 256)
    for data, kind in ((file(picture), "image/png"), (file(picture, "WEBP", lossless=True), "image/webp")):
        answer = client.images.edit(
            model="painter",
            prompt="a green hat",
            image=named(data, "x.bin", kind),
            mask=named(file(mask)),
            size="256x256",
            response_format="b64_json",
        )
        (made,) = files(answer)
        left, right = (opened(made).crop((x, 0, x + 128, 256)).tobytes() for x in (0, 128))
        assert left == picture.crop((0, 0, 128, 256)).tobytes()
        assert right != picture.crop((128, 0, 256, 256)).tobytes()


def test_an_edit_of_a_list_takes_the_nearest_size(client: OpenAI) -> None:
    """A list of one picture is taken, and without a size the nearest one is painted."""
    answer = client.images.edit(
        model="gpt-image-1", prompt="a hat", image=[named(file(photo(600, 500)))], extra_body={"seed": 3}
    )
    assert opened(files(answer)[0]).size == (512, 512)
    assert answer.size == "512x512"
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.edit(model="painter", prompt="a hat", image=[named(file(photo()))] * 2)
    assert caught.value.param == "image"


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_variations(client: OpenAI) -> None:
    """Variations differ from the picture and from each other, and the same seed makes the same ones."""
    asked: dict[str, Any] = {"image": named(file(photo(256, 256))), "n": 2, "response_format": "b64_json"}
    asked |= {"size": "256x256", "extra_body": {"seed": 2}}
    made, again = [pixels(client.images.create_variation(model="painter", **asked)) for _ in range(2)]
    assert made == again
    assert len({*made, photo(256, 256).tobytes()}) == 3


def test_a_stream_of_a_generation(client: OpenAI, service: Service) -> None:
    """Unfinished states come before each picture, in order, all are marked, and the last event has the usage."""
    stream = client.images.generate(
        model="painter", prompt="two words", stream=True, partial_images=2, n=2, size="1024x1024"
    )
    events = list(stream)
    kinds = ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [event.type for event in events] == kinds * 2
    partials = [event.partial_image_index for event in events if event.type == "image_generation.partial_image"]
    assert partials == [0, 1, 0, 1]
    completed = [event for event in events if event.type == "image_generation.completed"]
    assert [event.usage.input_tokens for event in completed] == [0, 2]
    assert opened(base64.b64decode(completed[0].b64_json)).size == (1024, 1024)
    for event in events:
        found = service.request("POST", "/v1/provenance", base64.b64decode(event.b64_json), key=service.key).json()
        assert (found["state"], found["convincing"]) == ("intact", True)
        assert found["origin"]["picture"].get("unfinished") == getattr(event, "partial_image_index", None)


def test_a_stream_of_an_edit(client: OpenAI) -> None:
    """An edit streams in events of its own kind, in the format asked for."""
    stream = client.images.edit(
        model="painter",
        prompt="a hat",
        image=named(file(photo(256, 256))),
        stream=True,
        partial_images=1,
        output_format="jpeg",
    )
    events = list(stream)
    assert [event.type for event in events] == ["image_edit.partial_image", "image_edit.completed"]
    assert all(opened(base64.b64decode(event.b64_json)).format == "JPEG" for event in events)


def test_an_edit_in_json(service: Service, judge: Judge) -> None:
    """An edit may come as JSON with a data URL; addresses elsewhere and files are refused by name."""

    def refer(data: bytes, kind: str = "png") -> dict[str, str]:
        return {"image_url": f"data:image/{kind};base64,{base64.b64encode(data).decode()}"}

    body: dict[str, Any] = {
        "model": "painter",
        "prompt": "x",
        "images": [refer(file(photo(256, 256)))],
        "mask": refer(file(Image.new("RGBA", (256, 256)))),
    }
    reply = service.post("/v1/images/edits", body)
    judge.look("POST", f"{service.url}/v1/images/edits", reply.status, "application/json", reply.body)
    assert reply.status == 200
    for wrong, param in (
        ({"images": [{"image_url": "http://127.0.0.1/x.png"}]}, "images[0].image_url"),
        ({"images": [{"image_url": "data:image/png;base64,#"}]}, "images[0].image_url"),
        ({"images": [{"file_id": "file-1"}]}, "images[0].file_id"),
        ({"images": [{}]}, "images[0].image_url"),
        ({"images": []}, "images"),
        ({"images": body["images"] * 2}, "images"),
        ({"images": None}, "image"),
        ({"image": "x"}, "image"),
        ({"n": "2"}, "n"),
    ):
        refused = service.post("/v1/images/edits", body | wrong)
        judge.look("POST", f"{service.url}/v1/images/edits", refused.status, "application/json", refused.body)
        assert (refused.status, refused.json()["error"]["param"]) == (400, param), wrong


def test_azure_specification(service: Service) -> None:
    """On Azure's dated route the answer is as its specification says, and errors have its shapes."""
    path = "/openai/deployments/{}/images/generations?api-version=2024-10-21"
    body = {"prompt": "x", "size": "1024x1024", "style": "vivid", "quality": "hd", "n": 1}
    good = service.post(path.format("painter"), body)
    assert good.status == 200
    spec = AzureSpec.load()
    if spec is not None:
        spec.schema_validator("generateImagesResponse").validate(good.json())
    assert service.post(path.format("nope"), body).json()["error"]["code"] == "DeploymentNotFound"
    wrong = service.post(path.format("writer"), body)
    assert (wrong.status, wrong.json()["error"]["code"]) == (400, "operation_not_supported")
    assert "does not make pictures" in wrong.json()["error"]["message"]
    models = service.request("GET", "/openai/models/painter?api-version=2024-10-21", key=service.key).json()
    assert models["capabilities"]["chat_completion"] is models["capabilities"]["embeddings"] is False


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"size": "300x300"}, "size"),
        ({"size": "big"}, "size"),
        ({"n": 11}, "n"),
        ({"n": 0}, "n"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x" * 32_001}, "prompt"),
        ({"quality": "best"}, "quality"),
        ({"background": "transparent", "output_format": "jpeg"}, "background"),
        ({"output_compression": 50}, "output_compression"),
        ({"output_compression": 101, "output_format": "webp"}, "output_compression"),
        ({"partial_images": 1}, "partial_images"),
        ({"partial_images": 4, "stream": True}, "partial_images"),
        ({"stream": True, "response_format": "url"}, "response_format"),
        ({"seed": -1}, "seed"),
        ({"colour": "red"}, "colour"),
        ({"model": "plain", "quality": "high"}, "quality"),
        ({"model": "plain", "style": "vivid"}, "style"),
        ({"model": "plain", "background": "transparent"}, "background"),
        ({"model": "plain", "seed": 1}, "seed"),
        ({"model": "writer"}, "model"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(service: Service, changes: dict[str, Any], param: str) -> None:
    """A parameter that is wrong, or that the deployment cannot do, is a 400 that names it."""
    refused = service.post("/v1/images/generations", {"model": "painter", "prompt": "x", **changes})
    assert (refused.status, refused.json()["error"]["param"]) == (400, param)


def test_a_painter_does_not_write(service: Service) -> None:
    """A deployment of pictures refuses chats, and one without edits refuses edits."""
    chat = service.post("/v1/chat/completions", {"model": "painter", "messages": [{"role": "user", "content": "x"}]})
    assert (chat.status, chat.json()["error"]["code"]) == (400, "operation_not_supported")
    edit = form(service, "/v1/images/edits", {"model": "plain", "prompt": "x"}, {"image": file(photo())})
    assert "does not make edits of pictures" in json.loads(edit[1])["error"]["message"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_upload_is_a_400(service: Service, name: str) -> None:
    """A file that is meant to do harm is a 400 that says what is wrong, and costs nothing."""
    make, words = HOSTILE[name]
    status, body, request_id = form(service, "/v1/images/variations", {"model": "painter"}, {"image": make()})
    error = json.loads(body)["error"]
    assert (status, error["param"]) == (400, "image")
    assert words in error["message"]
    record = receipt_of(service, request_id)["receipt"]
    assert record["outcome"] == "refused"
    assert record.get("cost_micro", 0) == 0


@pytest.mark.parametrize(
    ("fields", "parts", "param"),
    [
        ({"prompt": "x"}, {}, "image"),
        ({"prompt": "x", "image": "text"}, {}, "image"),
        ({"prompt": "x", "n": "two"}, {"image": b"x"}, "n"),
        ({"prompt": "x", "stream": "yes"}, {"image": b"x"}, "stream"),
        ({"prompt": "x", "input_fidelity": "high"}, {"image": b"x"}, "input_fidelity"),
        ({"prompt": "x"}, {"image": b"x", "other": b"x"}, "other"),
        ({}, {"image": b"x"}, "prompt"),
    ],
)
def test_forms_that_are_wrong(service: Service, fields: dict[str, str], parts: dict[str, bytes], param: str) -> None:
    """A form that lacks something, or has something that it must not have, is a 400 that names it."""
    status, body, _ = form(service, "/v1/images/edits", {"model": "painter", **fields}, parts)
    assert (status, json.loads(body)["error"]["param"]) == (400, param)


def test_bodies_that_are_no_forms(service: Service) -> None:
    """A broken form, one with too much in it and one that is too large are refused, and nothing else happens."""
    path = "/v1/images/edits"
    headers = {"content-type": "multipart/form-data; boundary=b"}
    head = b'--b\r\ncontent-disposition: form-data; name="x"\r\n\r\n'
    for body, status in (
        (b"nothing of the kind", 400),
        (b"--b\r\n\r\nno disposition\r\n--b--\r\n", 400),
        (head + b"1\r\n" + head + b"2\r\n--b--\r\n", 400),
        (b"".join(head.replace(b"x", b"x%d" % n) + b"1\r\n" for n in range(40)) + b"--b--\r\n", 400),
        (head + bytes(300_000) + b"\r\n--b--\r\n", 400),
    ):
        assert service.request("POST", path, body, key=service.key, headers=headers).status == status
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=30)
    connection.putrequest("POST", path)
    for name, value in {**headers, "authorization": f"Bearer {service.key}", "content-length": "53000000"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    bare = {"content-type": "multipart/form-data"}
    assert service.request("POST", path, head, key=service.key, headers=bare).status == 400
    assert service.request("POST", path, head, headers=headers).status == 401


def test_receipts_and_bills(service: Service) -> None:
    """A receipt tells pictures, size and price, the usage has them, and a refused request costs nothing."""
    asked = {"model": "painter", "prompt": "x", "n": 3, "size": "512x512", "response_format": "b64_json"}
    reply = service.post("/v1/images/generations", asked)
    record = receipt_of(service, reply.headers["x-request-id"])["receipt"]
    assert (record["images"], record["cost_micro"], record["deployment"]) == (3, 60_000, "painter")
    assert record["parameters"]["size"] == "512x512"
    assert isinstance(record["parameters"]["seed"], int)
    assert record["completion_bytes"] == sum(len(base64.b64decode(i["b64_json"])) for i in reply.json()["data"])
    again = service.post("/v1/images/generations", {**asked, "seed": record["parameters"]["seed"]})
    same = [[opened(base64.b64decode(i["b64_json"])).tobytes() for i in r.json()["data"]] for r in (again, reply)]
    assert same[0] == same[1]
    refused = service.post("/v1/images/generations", {**asked, "size": "1x1"})
    assert receipt_of(service, refused.headers["x-request-id"])["receipt"].get("images", 0) == 0
    since = int(time.time()) - 86_400
    usage = service.get(f"/v1/organization/usage/images?start_time={since}&group_by=size", key=service.key).json()
    sizes = {row["size"]: row["images"] for bucket in usage["data"] for row in bucket["results"]}
    assert sizes["512x512"] >= 6


def test_the_same_form_again_is_answered_once(service: Service) -> None:
    """A form with an `Idempotency-Key` is the same form whatever divides its parts, and another is another."""
    fields = {"model": "painter", "response_format": "b64_json", "size": "256x256"}
    path, data = "/v1/images/variations", file(photo())

    def ask(boundary: str, picture: bytes) -> tuple[int, bytes]:
        return form(service, path, fields, {"image": picture}, boundary=boundary, key="one")[:2]

    first, second = ask("one", data), ask("two", data)
    assert first[0] == 200
    assert first == second
    assert ask("three", file(photo(8, 8)))[0] == 422


def test_pictures_by_format(service: Service) -> None:
    """`response_format` is `url` unless something else is said, and `b64_json` for models named gpt-image."""
    for model, key in (("painter", "url"), ("gpt-image-1", "b64_json")):
        reply = service.post("/v1/images/generations", {"model": model, "prompt": "x", "size": "256x256"})
        assert set(reply.json()["data"][0]) == {key}
