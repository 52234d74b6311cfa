"""The starter painter: what is its own besides the contract of engines that paint."""

import json
import shutil
import socket as sockets
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from freehold.engines.base import Connection, EngineSpec
from freehold.engines.painter import WEIGHTS, PainterEngine
from freehold.engines.painter_words import MAX_TOKENS, Words
from freehold.errors import ConfigError, EngineFailed, EngineUnavailable, InvalidRequest
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Traits
from freehold.types.images import Picture, PictureOperation
from tests.engines.painter_subject import starter_painter
from tests.engines.subject import PATIENCE_S, Subject
from tests.engines.test_pictures import PHOTO, SIZE, asked, files, opened, painted, png

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def painter() -> Iterator[Subject]:
    """The painter, started once."""
    with starter_painter() as started:
        yield started


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a cat above a dog on a light blue background", [1037, 4937, 2682, 1037, 3899, 2006, 1037, 2422, 2630, 4281]),
        ("Café crème, t-shirt & jack-o-lantern!", [7668, 13675, 21382, 1010, 1056, 1011, 3797, 1004, 2990, 1011, 1051]),
        ("日本 a xyzzyqwert", [1864, 1876, 1037, 1060, 2100, 28753, 4160, 13777, 2102]),
        ("unbelievable   frankfurter", [23653, 9780, 2121]),
    ],
)
def test_words_become_the_reference_tokens(text: str, ids: list[int]) -> None:
    """Captions become the identifiers that the model's own tokenizer gives them, between the special ones."""
    found, mask = Words((WEIGHTS / "vocab.txt").read_text(encoding="utf-8")).encode(text)
    assert found[: len(ids) + 1] == [101, *ids]
    assert found[sum(mask) - 1] == 102
    assert len(found) == len(mask) == MAX_TOKENS


def test_a_long_caption_is_cut() -> None:
    """More tokens than there is room for are left out, the last special one is not."""
    found, mask = Words((WEIGHTS / "vocab.txt").read_text(encoding="utf-8")).encode("cat " * 500)
    assert mask == [1] * MAX_TOKENS
    assert found[-1] == 102


@pytest.mark.parametrize("size", ["256x256", "512x512", "1024x1024"])
def test_every_size_is_painted(painter: Subject, size: str) -> None:
    """Each size that the painter names is the size of its pictures."""

    async def trial(connection: Connection, traits: Traits) -> None:
        assert size in traits.sizes
        (data,) = [event.data async for event in connection.paint(asked(size=size)) if isinstance(event, Picture)]
        assert "{}x{}".format(*opened(data).size) == size

    painter.try_out(trial)


def test_an_edit_keeps_every_byte_outside_the_mask(painter: Subject) -> None:
    """Pixels that the mask keeps are exactly those of the upload."""

    async def trial(connection: Connection, _: Traits) -> None:
        mask = Image.new("L", (SIZE, SIZE), 0)
        mask.paste(255, (100, 90, 180, 200))
        request = asked(PictureOperation.EDIT, image=PHOTO, mask=png(mask))
        (data,) = files(await painted(connection.paint(request)))
        found, before = opened(data), opened(PHOTO).copy()
        for picture in (found, before):
            picture.paste((0, 0, 0), (100, 90, 180, 200))
        assert found.tobytes() == before.tobytes()

    painter.try_out(trial)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"operation": PictureOperation.EDIT, "image": PHOTO}, "mask"),
        ({"operation": PictureOperation.VARIATION, "image": b"\x89PNG\r\n\x1a\nnot a picture"}, "image"),
        ({"operation": PictureOperation.VARIATION, "image": png(Image.new("RGB", (10, 10)))}, "image"),
        ({"n": 11}, "n"),
        ({"seed": -1}, "seed"),
        ({"partial_images": 4}, "partial_images"),
        ({"extras": {"quality": "best"}}, "quality"),
    ],
)
def test_what_cannot_be_used_is_refused(painter: Subject, changes: dict[str, Any], param: str) -> None:
    """A picture or number that is missing or wrong is refused, naming the parameter, before anything is painted."""

    async def trial(connection: Connection, _: Traits) -> None:
        with pytest.raises(InvalidRequest) as refused:
            await anext(connection.paint(asked(**changes)))
        assert refused.value.param == param

    painter.try_out(trial)


def test_the_usage_is_counted(painter: Subject) -> None:
    """The counters tell pictures and the tokens of captions."""

    async def trial(connection: Connection, _: Traits) -> None:
        before = await connection.counters()
        await painted(connection.paint(asked(n=2)), 2)
        after = await connection.counters()
        assert before is not None
        assert after is not None
        assert before.requests is not None
        assert after.requests == before.requests + 2
        assert after.prompt_tokens > before.prompt_tokens

    painter.try_out(trial)


@pytest.mark.parametrize(
    ("quality", "steps"), [(None, 4), ("auto", 4), ("standard", 4), ("medium", 4), ("low", 2), ("high", 8), ("hd", 8)]
)
def test_a_quality_chooses_the_steps(painter: Subject, quality: str | None, steps: int) -> None:
    """A picture takes half of the usual steps for `low`, and twice as many for `high` and `hd`."""
    asked = {"prompt": "a cat", "size": "256x256", "quality": quality}
    *_, usage = _events(painter, {name: value for name, value in asked.items() if value is not None})
    assert (usage["type"], usage["steps"]) == ("usage", steps)


def _events(painter: Subject, body: dict[str, Any]) -> list[dict[str, Any]]:
    """What the process answers, without a connection of ours between."""
    client = HTTPConnection("engine")
    with sockets.socket(sockets.AF_UNIX) as client.sock:
        client.sock.settimeout(PATIENCE_S)
        client.sock.connect(str(painter.socket))
        client.request("POST", "/v1/images/generations", json.dumps(body))
        *lines, end = client.getresponse().read().decode().split("\n\n")[:-1]
    assert end == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_a_painter_that_dies_fails_its_request() -> None:
    """A process that is killed while it paints ends the request with an error, and the next one cannot begin."""
    with starter_painter(steps=200) as subject:

        async def trial(connection: Connection, _: Traits) -> None:
            stream = connection.paint(asked(n=4, partial_images=3))
            await anext(stream)
            subject.kill()
            with pytest.raises((EngineFailed, EngineUnavailable)):
                _events = [event async for event in stream]
            with pytest.raises(EngineUnavailable):
                await connection.check()

        subject.try_out(trial)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    """A process whose weights are not those that the manifest names ends with status 1 and says so in one line."""
    folder = tmp_path / "weights"
    shutil.copytree(WEIGHTS, folder)
    (folder / "prior.bin").write_bytes(b"\0" + (folder / "prior.bin").read_bytes()[1:])
    spec = json.dumps({"socket": str(tmp_path / "s"), "folder": str(folder)})
    run = subprocess.run(
        [sys.executable, "-m", "freehold.engines.painter_server", "--spec", spec],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("the painter cannot be served: prior.bin is not the file")


def test_nothing_calls_home() -> None:
    """The painter's process does not load OpenVINO's telemetry, which would tell its makers of every start."""
    code = "import sys, freehold.engines.painter_server; print([name for name, found in sys.modules.items() if found])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    loaded = run.stdout.strip()
    assert "openvino_telemetry" not in loaded
    assert "openvino.tools.ovc.telemetry_stub" in loaded


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"options": {"steps": 0}}, "options.steps"),
        ({"options": {"threads": 0}}, "options.threads"),
        ({"options": {"guidance": 0.5}}, "options.guidance"),
        ({"options": {"start": 1}}, "options.start"),
        ({"options": {"colour": "red"}}, "options.colour"),
        ({"base_url": "http://elsewhere"}, "base_url"),
        ({"task": "chat"}, "task"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], param: str) -> None:
    """A setting that the painter cannot use is named."""
    settings = DeploymentSettings(**{"name": "p", "model": "m", "engine": "painter", "task": "images", **changes})
    with pytest.raises(ConfigError) as refused:
        PainterEngine().validate(settings)
    assert refused.value.param == param


def test_a_folder_of_ones_own_is_used() -> None:
    """The option `folder` replaces the weights of the package."""
    settings = DeploymentSettings(
        name="p", model="m", engine="painter", task="images", options={"folder": "elsewhere", "steps": 9}
    )
    launch = PainterEngine().launch(EngineSpec(settings), Path("s"))
    assert json.loads(launch.argv[-1]) == {"socket": "s", "folder": "elsewhere", "steps": 9}
