"""Pictures as a page of this server asks for them: with a session's cookie, in streams, forms and files."""

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from PIL import Image

from tests.service import Service

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "paint"
engine = "echo"
model = "echo"
task = "images"
"""
PASSWORD = "long enough to be a password"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server that paints."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


@pytest.fixture(scope="module")
def page(service: Service) -> Iterator[httpx2.Client]:
    """What a page sends whose user has signed in."""
    made = service.post("/v1/organization/users", {"email": "ann@example.org", "role": "user", "password": PASSWORD})
    assert made.status == 200, made
    headers = {"origin": service.url, "sec-fetch-site": "same-origin"}
    with httpx2.Client(base_url=service.url, headers=headers, timeout=60) as client:
        signed_in = client.post("/signin", data={"email": "ann@example.org", "password": PASSWORD})
        cookie = signed_in.headers["set-cookie"].partition(";")[0]
        client.cookies.clear()
        client.headers["cookie"] = cookie
        yield client


def painted(page: httpx2.Client) -> list[dict[str, Any]]:
    """The events of a stream of two pictures with one unfinished state each."""
    body = {"model": "paint", "prompt": "a cat", "n": 2, "seed": 7, "size": "256x256", "stream": True}
    with page.stream("POST", "/v1/images/generations", json={**body, "partial_images": 1}) as answer:
        assert answer.status_code == 200
        lines = [line for line in answer.iter_lines() if line.startswith("data: ") and line != "data: [DONE]"]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def mask() -> bytes:
    """A mask whose middle is to be painted."""
    picture, file = Image.new("RGBA", (256, 256), (0, 0, 0, 255)), io.BytesIO()
    picture.paste((0, 0, 0, 0), (64, 64, 192, 192))
    picture.save(file, "PNG")
    return file.getvalue()


def test_a_page_paints_edits_varies_and_checks(page: httpx2.Client) -> None:
    """Each of them works with the cookie alone; the file that came out says where it is from."""
    events = painted(page)
    kinds = [event["type"].removeprefix("image_generation.") for event in events]
    assert kinds == ["partial_image", "completed", "partial_image", "completed"]
    picture = base64.b64decode(events[-1]["b64_json"])
    files = {"image": ("a.png", picture, "image/png"), "mask": ("mask.png", mask(), "image/png")}
    wanted = {"model": "paint", "size": "256x256", "response_format": "b64_json"}
    edited = page.post("/v1/images/edits", data={**wanted, "prompt": "a dog"}, files=files)
    assert edited.status_code == 200, edited.text
    varied = page.post("/v1/images/variations", data={**wanted, "n": "2"}, files={"image": files["image"]})
    assert len(varied.json()["data"]) == 2
    for body in ({"content": picture, "headers": {"content-type": "image/png"}}, {"files": {"file": files["image"]}}):
        found = page.post("/v1/provenance", **body).json()
        assert (found["state"], found["origin"]["picture"]["seed"]) == ("intact", 8)


def test_a_page_of_elsewhere_paints_nothing(page: httpx2.Client) -> None:
    """The cookie does not count where another page sends the request, be it JSON or a form."""
    headers = {"origin": "https://elsewhere.example", "sec-fetch-site": "cross-site"}
    body = {"model": "paint", "prompt": "a cat"}
    assert page.post("/v1/images/generations", json=body, headers=headers).status_code == 403
    files = {"image": ("a.png", mask(), "image/png")}
    assert page.post("/v1/images/variations", data={"model": "paint"}, files=files, headers=headers).status_code == 403
