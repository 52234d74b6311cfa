"""Pictures by the deployment that every new home has: the official client, the command line, a server as installed."""

import base64
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from PIL import Image, ImageStat

from tests.cli.program import Program
from tests.conformance.painting import files, named, pixels
from tests.conformance.recording import Dialect, Judge, client_for
from tests.conftest import StarterModels
from tests.gateway.pictures import file, opened, photo
from tests.service import Reply, Service, eventually

pytestmark = pytest.mark.slow

CAPTION = "a cat on a red background"
BASE64: dict[str, Any] = {"response_format": "b64_json"}


@pytest.fixture(scope="module")
def service(starter_models: StarterModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server on a new home, without any configuration; the models of the other deployments are there already."""
    home = starter_models.lay(tmp_path_factory.mktemp("starter") / "home")
    with Service(home, "") as service:
        yield service


@pytest.fixture
def client(service: Service, dialect: Dialect, judge: Judge) -> Iterator[OpenAI]:
    """The official client in each dialect."""
    with client_for(service, dialect, judge) as client:
        yield client


def state(service: Service) -> str:
    """How the deployment `paint` fares; the server is ready all the time."""
    reply = service.get("/health/ready")
    assert reply.status == 200, reply.body
    found: str = reply.json()["deployments"]["paint"]
    return found


def test_the_painter_starts_with_the_first_picture(service: Service) -> None:
    """Nobody waits for the painter but who asks for a picture: until then it is not there, and the server is ready."""
    assert state(service) == "unloaded"
    replies: list[Reply] = []
    asked = {"prompt": CAPTION, **BASE64}  # no model: that is `dall-e-2`
    caller = threading.Thread(target=lambda: replies.append(service.post("/v1/images/generations", asked)))
    caller.start()
    eventually(lambda: state(service) == "starting", "the painter starts")
    eventually(lambda: state(service) == "ready", "the painter is ready")
    caller.join()
    assert replies[0].status == 200, replies[0].body


@pytest.mark.parametrize("model", ["paint", "dall-e-2"])
def test_a_picture_shows_what_was_asked_for(client: OpenAI, service: Service, model: str) -> None:
    """The client gets a picture on the ground that was asked for, the same for the same seed, marked as made here."""
    asked: dict[str, Any] = {"model": model, "prompt": CAPTION, "extra_body": {"seed": 1}, **BASE64}
    answer = client.images.generate(**asked)
    assert pixels(answer) == pixels(client.images.generate(**asked))
    (data,) = files(answer)
    assert is_on_red(opened(data))
    report = service.request("POST", "/v1/provenance", data, key=service.key).json()
    assert report["convincing"] is True
    assert (report["origin"]["picture"]["deployment"], report["origin"]["picture"]["model"]) == (
        "paint",
        "starter-painter",
    )


def test_every_quality_is_taken(client: OpenAI) -> None:
    """What OpenAI's specification has for its families is painted: `low` and `high` differ from the usual."""
    asked: dict[str, Any] = {"model": "paint", "prompt": CAPTION, "extra_body": {"seed": 1}, **BASE64}
    usual = pixels(client.images.generate(**asked))
    made = {
        quality: pixels(client.images.generate(**asked, quality=quality))
        for quality in ("auto", "standard", "medium", "low", "high", "hd")
    }
    assert made["auto"] == made["standard"] == made["medium"] == usual
    assert made["high"] == made["hd"]
    assert usual not in (made["low"], made["high"])
    edit: dict[str, Any] = {"model": "paint", "prompt": CAPTION, "image": named(file(photo(256, 256)))}
    for quality in ("auto", "standard", "medium", "low", "high"):
        assert files(client.images.edit(**edit, **BASE64, extra_body={"quality": quality}))
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.edit(**edit, **BASE64, extra_body={"quality": "hd"})
    assert refused.value.param == "quality"


def test_a_stream_shows_the_picture_as_it_comes(client: OpenAI) -> None:
    """Unfinished states come before the picture."""
    events = list(client.images.generate(model="paint", prompt=CAPTION, stream=True, partial_images=2))
    kinds = [event.type for event in events]
    assert kinds == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert len({opened(base64.b64decode(event.b64_json)).tobytes() for event in events}) == 3


def test_the_command_line_paints(service: Service, tmp_path: Path) -> None:
    """`freehold paint` writes a picture of what it was told, and `freehold provenance` says that this home made it."""
    program = Program(service.home.root)
    where = tmp_path / "cat.png"
    assert program.fine("paint", CAPTION, "-o", str(where)).split() == [str(where)]
    assert is_on_red(opened(where.read_bytes()))
    assert "deployment paint" in program.fine("provenance", str(where))


def is_on_red(picture: Image.Image) -> bool:
    """Whether the corners of a picture are red."""
    width, height = picture.size
    side = width // 16
    for x, y in ((0, 0), (width - side, 0), (0, height - side), (width - side, height - side)):
        red, green, blue = ImageStat.Stat(picture.convert("RGB").crop((x, y, x + side, y + side))).mean
        if red < 150 or red < max(green, blue) + 60:
            return False
    return True
