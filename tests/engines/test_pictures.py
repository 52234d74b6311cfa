"""What every engine that paints holds, over the contract of `freehold.engines.picture_http`."""

import asyncio
import hashlib
import io
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from freehold.engines.base import Connection, EngineSpec
from freehold.engines.echo import EchoEngine
from freehold.engines.picture_http import PictureConnection
from freehold.errors import EngineFailed, EngineUnavailable, InvalidRequest
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Feature, Traits
from freehold.types.generation import Usage
from freehold.types.images import PaintEvent, PaintRequest, PartialPicture, Picture, PictureOperation
from tests.engines.diffusers_subject import tiny_stable_diffusion
from tests.engines.openvino_subject import tiny_exported_pipeline
from tests.engines.painter_subject import starter_painter
from tests.engines.subject import Subject, running, socket_path, wait_open

SIZE = 256


@contextmanager
def echo(**options: Any) -> Iterator[Subject]:
    """The echo engine as a painter."""
    settings = DeploymentSettings(name="p", model="echo", engine="echo", task="images", options=options)
    engine, spec = EchoEngine(), EngineSpec(settings)
    engine.validate(settings)
    with socket_path() as socket, running(engine.launch(spec, socket)) as process:
        wait_open(engine, spec, socket)
        yield Subject(engine, spec, socket, process, "", lambda: 0, lambda _: [])


PAINTERS: dict[str, Callable[..., AbstractContextManager[Subject]]] = {
    "echo": echo,
    "painter": starter_painter,
    "diffusers": tiny_stable_diffusion,
    "openvino_images": tiny_exported_pipeline,
}
SLOW = frozenset({"diffusers", "openvino_images"})


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in PAINTERS],
)
def painter(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Each engine that paints, started once for all tests."""
    with PAINTERS[request.param]() as started:
        yield started


def asked(operation: PictureOperation = PictureOperation.GENERATION, **changes: Any) -> PaintRequest:
    """A request for one picture."""
    prompt = "" if operation is PictureOperation.VARIATION else "a red fish"
    return PaintRequest(
        **{"operation": operation, "prompt": prompt, "n": 1, "size": f"{SIZE}x{SIZE}", "seed": 7, **changes}
    )


def png(picture: Image.Image) -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    """A file as a picture."""
    picture = Image.open(io.BytesIO(data), formats=("PNG",))
    picture.load()
    return picture


PHOTO = png(Image.radial_gradient("L").convert("RGB"))
"""A picture of 256 x 256."""


async def painted(stream: AsyncGenerator[PaintEvent], count: int = 1) -> list[PaintEvent]:
    """All events of a stream, held to the grammar."""
    events = [event async for event in stream]
    assert isinstance(events[-1], Usage)
    assert sorted(event.index for event in events if isinstance(event, Picture)) == list(range(count))
    assert all(opened(event.data).size == (SIZE, SIZE) for event in events if isinstance(event, Picture))
    return events


def files(events: list[PaintEvent]) -> list[bytes]:
    """The finished pictures, in their order."""
    found = sorted((event.index, event.data) for event in events if isinstance(event, Picture))
    return [data for _, data in found]


def test_the_same_seed_paints_the_same_bytes(painter: Subject) -> None:
    """A request paints the same bytes again, other seeds and prompts paint others, and a place can be painted alone."""

    async def trial(connection: Connection, _: Traits) -> None:
        both = files(await painted(connection.paint(asked(n=2)), 2))
        again = files(await painted(connection.paint(asked(n=2)), 2))
        second = files(await painted(connection.paint(asked(seed=8))))
        other = files(await painted(connection.paint(asked(prompt="a blue bird"))))
        assert both == again
        assert second == both[1:]
        assert len({*both, *other}) == 3

    painter.try_out(trial, Feature.IMAGES)


def test_a_picture_tells_its_seed_and_the_usage_its_prompt(painter: Subject) -> None:
    """Picture i comes with seed + i, and the usage has the tokens of the prompt."""

    async def trial(connection: Connection, _: Traits) -> None:
        events = await painted(connection.paint(asked(n=3, seed=40)), 3)
        assert {e.index: e.seed for e in events if isinstance(e, Picture)} == {0: 40, 1: 41, 2: 42}
        usage = events[-1]
        assert isinstance(usage, Usage)
        assert usage.prompt_tokens > 0
        assert not usage.estimated

    painter.try_out(trial, Feature.IMAGES)


def test_unfinished_states_come_before_their_picture(painter: Subject) -> None:
    """As many states as were asked for come before each picture, in order, and they differ from it."""

    async def trial(connection: Connection, _: Traits) -> None:
        events = await painted(connection.paint(asked(n=2, partial_images=2)), 2)
        for index in range(2):
            *states, picture = [e for e in events if not isinstance(e, Usage) and e.index == index]
            assert isinstance(picture, Picture)
            numbers = [state.partial_index for state in states if isinstance(state, PartialPicture)]
            assert numbers == list(range(len(states)))
            # OpenVINO leaves out states that are still due when the picture is finished, as OpenAI's service may.
            assert len(states) == 2 or (painter.engine.name == "openvino_images" and len(states) < 2)
            assert all(state.data != picture.data for state in states)

    painter.try_out(trial, Feature.IMAGES)


def test_qualities_are_painted(painter: Subject) -> None:
    """Each of OpenAI's qualities is painted: `standard` as without one, `low` and `high` otherwise, `hd` as `high`."""

    async def trial(connection: Connection, _: Traits) -> None:
        async def at(**extras: str) -> bytes:
            (data,) = files(await painted(connection.paint(asked(extras=extras))))
            return data

        plain = await at()
        assert [await at(quality=name) for name in ("standard", "medium", "auto")] == [plain] * 3
        low, high, hd = [await at(quality=name) for name in ("low", "high", "hd")]
        assert len({plain, low, high}) == 3
        assert high == hd

    painter.try_out(trial, Feature.IMAGE_QUALITY)


def test_an_edit_keeps_what_the_mask_keeps(painter: Subject) -> None:
    """Where the mask is 0 a picture stays as it was, within 2 of 255 on average, and elsewhere it does not."""

    async def trial(connection: Connection, _: Traits) -> None:
        mask = Image.new("L", (SIZE, SIZE), 0)
        mask.paste(255, (SIZE // 2, 0, SIZE, SIZE))
        request = asked(PictureOperation.EDIT, image=PHOTO, mask=png(mask))
        (data,) = files(await painted(connection.paint(request)))
        change = ImageChops.difference(opened(data).convert("RGB"), opened(PHOTO)).convert("L")
        half = (SIZE // 2) * SIZE
        left, right = (change.crop((x, 0, x + SIZE // 2, SIZE)).tobytes() for x in (0, SIZE // 2))
        assert sum(left) / half <= 2
        assert sum(right) / half > 2

    painter.try_out(trial, Feature.IMAGE_EDITS)


def test_variations_differ_from_the_picture_and_each_other(painter: Subject) -> None:
    """No two variations are alike, none is the picture, and the same seed makes the same ones."""

    async def trial(connection: Connection, _: Traits) -> None:
        request = asked(PictureOperation.VARIATION, n=3, image=PHOTO)
        made, again = [files(await painted(connection.paint(request), 3)) for _ in range(2)]
        assert made == again
        assert len({hashlib.sha256(opened(data).tobytes()).digest() for data in [*made, PHOTO]}) == 4

    painter.try_out(trial, Feature.IMAGE_VARIATIONS)


def test_a_size_that_is_not_painted_is_refused(painter: Subject) -> None:
    """A size beyond those that the engine names is refused before anything is painted."""

    async def trial(connection: Connection, traits: Traits) -> None:
        assert f"{SIZE}x{SIZE}" in traits.sizes
        with pytest.raises(InvalidRequest):
            await anext(connection.paint(asked(size="17x19")))

    painter.try_out(trial, Feature.IMAGES)


def test_a_stream_can_be_closed_early(painter: Subject) -> None:
    """After a stream was left in its middle the engine paints the next picture."""

    async def trial(connection: Connection, _: Traits) -> None:
        stream = connection.paint(asked(n=4, partial_images=3))
        await anext(stream)
        await stream.aclose()
        assert files(await painted(connection.paint(asked())))

    painter.try_out(trial, Feature.IMAGES)


def test_the_traits_are_told_over_http() -> None:
    """The plain connection for painters asks a process for its features, sizes and fingerprint, and for its health."""
    with echo() as subject:

        async def main() -> None:
            connection = PictureConnection(model="echo", socket=subject.socket, parallel=2)
            try:
                traits = await connection.open()
                counters = await connection.counters()
            finally:
                await connection.close()
            assert {Feature.IMAGES, Feature.IMAGE_EDITS, Feature.IMAGE_VARIATIONS} <= traits.features
            assert f"{SIZE}x{SIZE}" in traits.sizes
            assert (traits.fingerprint, traits.parallel, counters.requests) == ("fp_echo", 2, 0)

        asyncio.run(main())


def test_quality_style_and_ground_are_painted() -> None:
    """The echo engine's pictures show the quality, the style and a transparent ground."""

    async def trial(connection: Connection, _: Traits) -> None:
        def extra(**extras: str) -> PaintRequest:
            return asked(extras=extras)

        plain = files(await painted(connection.paint(asked())))[0]
        changed = [
            files(await painted(connection.paint(request)))[0]
            for request in (extra(quality="high"), extra(style="vivid"), extra(background="transparent"))
        ]
        assert len({plain, *changed}) == 4
        assert opened(changed[2]).mode == "RGBA"
        assert opened(changed[2]).getchannel("A").getextrema() == (0, 255)

    with echo() as subject:
        subject.try_out(trial)


@pytest.mark.parametrize(("option", "error"), [("fail_on", EngineFailed), ("crash_on", EngineFailed)])
def test_faults_that_are_asked_for(option: str, error: type[Exception]) -> None:
    """An echo engine that is told to fail or crash at a prompt does, and the error is the contract's."""

    async def trial(connection: Connection, _: Traits) -> None:
        assert files(await painted(connection.paint(asked(prompt="calm"))))
        with pytest.raises(error):
            await painted(connection.paint(asked(prompt="doom", n=2)), 2)

    with echo(**{option: "doom"}) as subject:
        subject.try_out(trial)


def test_a_dead_engine_is_unavailable() -> None:
    """An engine that is gone is told as unavailable, with nothing painted."""

    async def trial(connection: Connection, _: Traits) -> None:
        subject.kill()
        with pytest.raises(EngineUnavailable):
            await anext(connection.paint(asked()))

    with echo() as subject:
        subject.try_out(trial)


def test_an_engine_that_writes_does_not_paint() -> None:
    """The echo engine has the features of pictures only for the task `images`, and of texts only without."""
    for task, has, lacks in (("images", Feature.IMAGES, Feature.CHAT), ("chat", Feature.CHAT, Feature.IMAGES)):
        settings = DeploymentSettings.model_validate({"name": "e", "model": "echo", "engine": "echo", "task": task})
        traits = EchoEngine().connect(EngineSpec(settings), Path("unused")).traits
        assert has in traits.features
        assert lacks not in traits.features
