"""The `diffusers` engine on tiny pipelines with random weights."""

import io
import json
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from freehold.engines.base import Connection, EngineSpec
from freehold.engines.diffusers import DiffusersEngine
from freehold.errors import ConfigError, EngineFailed, InvalidRequest
from freehold.types.engine import Feature, Traits
from freehold.types.generation import Usage
from freehold.types.images import PaintEvent, PaintRequest, PartialPicture, Picture, PictureOperation
from tests.engines.diffusers_pipelines import build
from tests.engines.diffusers_subject import STEPS, diffusers, settings

SIDE = 64


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this module's pipelines are built, each once."""
    return tmp_path_factory.mktemp("pipelines")


def pipeline(folder: Path, kind: str) -> Path:
    """The folder of a pipeline of that kind."""
    place = folder / kind
    return place if place.is_dir() else build(kind, place)


def asked(operation: PictureOperation = PictureOperation.GENERATION, **changes: Any) -> PaintRequest:
    """A request for one picture."""
    prompt = "" if operation is PictureOperation.VARIATION else "a red fish"
    return PaintRequest(
        **{"operation": operation, "prompt": prompt, "n": 1, "size": f"{SIDE}x{SIDE}", "seed": 7, **changes}
    )


def png(picture: Image.Image) -> bytes:
    """A picture as a file."""
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def pixels(data: bytes) -> Image.Image:
    """A file's picture."""
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture.copy()


PHOTO = png(Image.radial_gradient("L").convert("RGB").resize((SIDE, SIDE)))
MASK = Image.new("L", (SIDE, SIDE), 0)
MASK.paste(255, (SIDE // 2, 0, SIDE, SIDE))


async def painted(stream: AsyncGenerator[PaintEvent]) -> tuple[list[bytes], list[bytes], Usage]:
    """The finished pictures in their order, the unfinished states, and the usage."""
    events = [event async for event in stream]
    usage = events[-1]
    assert isinstance(usage, Usage)
    done = sorted((event.index, event.data) for event in events if isinstance(event, Picture))
    return [data for _, data in done], [e.data for e in events if isinstance(e, PartialPicture)], usage


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "features"),
    [
        ("stable-diffusion", {Feature.IMAGES, Feature.IMAGE_EDITS, Feature.IMAGE_VARIATIONS, Feature.SEED}),
        ("inpainting", {Feature.IMAGE_EDITS, Feature.SEED}),
        ("unclip", {Feature.IMAGES, Feature.SEED}),
        ("unclip-variation", {Feature.IMAGE_VARIATIONS, Feature.SEED}),
    ],
)
def test_a_pipeline_does_what_its_class_can(pipelines: Path, kind: str, features: set[Feature]) -> None:
    """Which operations there are follows from the pipeline, and each that is declared paints, the same each time."""

    async def trial(connection: Connection, traits: Traits) -> None:
        assert traits.features == features
        assert traits.fingerprint == f"fp_{'ab' * 6}"
        assert traits.sizes[0] == f"{SIDE}x{SIDE}"
        requests = {
            Feature.IMAGES: asked(),
            Feature.IMAGE_EDITS: asked(PictureOperation.EDIT, image=PHOTO, mask=png(MASK)),
            Feature.IMAGE_VARIATIONS: asked(PictureOperation.VARIATION, image=PHOTO),
        }
        for feature, request in requests.items():
            if feature in features:
                first, _, usage = await painted(connection.paint(request))
                assert (await painted(connection.paint(request)))[0] == first
                assert pixels(first[0]).size == (SIDE, SIDE)
                assert (usage.prompt_tokens > 0) is (feature is not Feature.IMAGE_VARIATIONS)

    with diffusers(pipeline(pipelines, kind)) as subject:
        subject.try_out(trial)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stable-diffusion", "inpainting"])
def test_an_edit_keeps_every_byte_outside_the_mask(pipelines: Path, kind: str) -> None:
    """Where the mask is 0 each pixel is what it was; where it is 255 the picture is another."""

    async def trial(connection: Connection, _: Traits) -> None:
        request = asked(PictureOperation.EDIT, image=PHOTO, mask=png(MASK))
        (data,) = (await painted(connection.paint(request)))[0]
        before, after = pixels(PHOTO), pixels(data)
        kept, new = (0, 0, SIDE // 2, SIDE), (SIDE // 2, 0, SIDE, SIDE)
        assert after.crop(kept).tobytes() == before.crop(kept).tobytes()
        assert after.crop(new).tobytes() != before.crop(new).tobytes()

    with diffusers(pipeline(pipelines, kind)) as subject:
        subject.try_out(trial)


@pytest.mark.slow
def test_states_are_shown_and_a_place_can_be_painted_alone(pipelines: Path) -> None:
    """As many states come as were asked for; the picture of index i is that of seed + i; the options matter."""

    async def trial(connection: Connection, _: Traits) -> None:
        both, states = (await painted(connection.paint(asked(n=2, partial_images=3))))[:2]
        assert len(states) == 6
        assert len({*states, *both}) == 8
        second = (await painted(connection.paint(asked(seed=8))))[0]
        assert second == both[1:]

    with diffusers(pipeline(pipelines, "stable-diffusion")) as subject:
        subject.try_out(trial)


@pytest.mark.slow
def test_options_change_the_picture(pipelines: Path) -> None:
    """Steps, scheduler, guidance, a negative prompt and an adapter each paint another picture from the same seed."""
    folder = pipeline(pipelines, "stable-diffusion")
    lora = pipeline(pipelines, "lora") / "pytorch_lora_weights.safetensors"
    made: list[bytes] = []

    async def trial(connection: Connection, _: Traits) -> None:
        made.extend((await painted(connection.paint(asked())))[0])

    for options in (
        {},
        {"steps": STEPS + 1},
        {"scheduler": "EulerDiscreteScheduler"},
        {"guidance_scale": 1.5},
        {"negative_prompt": "green"},
        {"lora": [{"path": str(lora), "scale": 1.0}]},
        {"lora": [{"path": str(lora), "scale": 0.25}]},
    ):
        with diffusers(folder, **options) as subject:
            subject.try_out(trial)
    assert len(set(made)) == 7


@pytest.mark.slow
def test_the_models_own_safety_checker_is_obeyed(pipelines: Path) -> None:
    """A picture that the model's checker refuses is not given out, nor is a state of it; the request is refused."""

    async def trial(connection: Connection, _: Traits) -> None:
        with pytest.raises(InvalidRequest) as refused:
            await anext(connection.paint(asked(partial_images=3)))
        assert refused.value.code == "content_policy_violation"

    with diffusers(pipeline(pipelines, "checked")) as subject:
        subject.try_out(trial)


@pytest.mark.slow
def test_who_leaves_is_not_painted_for(pipelines: Path) -> None:
    """After a stream of a thousand steps was left the next picture comes at once, with the right seed."""

    async def trial(connection: Connection, _: Traits) -> None:
        expected = await painted(connection.paint(asked(seed=9)))
        stream = connection.paint(asked(n=10, partial_images=3))
        await anext(stream)
        await stream.aclose()
        assert await painted(connection.paint(asked(seed=9))) == expected

    with diffusers(pipeline(pipelines, "stable-diffusion"), steps=60) as subject:
        subject.try_out(trial)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["size", "image", "operation"])
def test_a_wrong_request_is_refused(pipelines: Path, wrong: str) -> None:
    """A size that is not painted, a picture of another size and an operation that there is not are refused."""
    kind = "unclip" if wrong == "operation" else "stable-diffusion"
    other = png(Image.new("RGB", (8, 8)))
    request = {
        "size": asked(size="72x72"),
        "image": asked(PictureOperation.VARIATION, image=other),
        "operation": asked(PictureOperation.VARIATION, image=PHOTO),
    }[wrong]

    async def trial(connection: Connection, _: Traits) -> None:
        with pytest.raises((InvalidRequest, EngineFailed)):
            await painted(connection.paint(request))

    with diffusers(pipeline(pipelines, kind)) as subject:
        subject.try_out(trial)


def _complaint(folder: Path, **options: Any) -> str:
    """What the process says where it cannot serve a folder."""
    engine = DiffusersEngine()
    launch = engine.launch(EngineSpec(settings(**options), weights=folder), Path("unused"))
    done = subprocess.run(launch.argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_what_could_run_code_is_not_loaded(pipelines: Path, tmp_path: Path) -> None:
    """A folder with a pickle, with code, or with a class of its own is not served, and the reason is told."""
    clean = pipeline(pipelines, "stable-diffusion")
    for name, content in (("unet/diffusion_pytorch_model.bin", b"\x80\x02"), ("unet/unet.py", b"raise SystemExit")):
        folder = tmp_path / name.replace("/", "-")
        for path in clean.rglob("*"):
            if path.is_file():
                (folder / path.relative_to(clean)).parent.mkdir(parents=True, exist_ok=True)
                (folder / path.relative_to(clean)).hardlink_to(path)
        (folder / name).write_bytes(content)
        assert "is never loaded" in _complaint(folder)
    own = tmp_path / "own"
    own.mkdir()
    (own / "model_index.json").write_text(json.dumps({"_class_name": "MyPipeline"}))
    assert "no pipeline MyPipeline" in _complaint(own)


@pytest.mark.slow
def test_an_option_that_does_not_fit_is_told(pipelines: Path, tmp_path: Path) -> None:
    """A scheduler of another family and an adapter that is a pickle end the start with a reason."""
    folder = pipeline(pipelines, "stable-diffusion")
    assert "DDIMScheduler" in _complaint(folder, scheduler="FlowMatchEulerDiscreteScheduler")
    pickled = tmp_path / "lora.safetensors"
    pickled.write_bytes(b"\x80\x02" + bytes(100))
    assert "options.lora" in _complaint(folder, lora=[{"path": str(pickled)}])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"device": "tpu"}, "device"),
        ({"dtype": "int4"}, "dtype"),
        ({"steps": 0}, "steps"),
        ({"scheduler": "os.system"}, "scheduler"),
        ({"guidance_scale": -1}, "guidance_scale"),
        ({"edit_strength": 2.0}, "edit_strength"),
        ({"sizes": ["511x512"]}, "sizes"),
        ({"sizes": [512]}, "sizes"),
        ({"lora": [{"file": "x"}]}, "lora"),
        ({"speed": 11}, "speed"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], named: str) -> None:
    """An option of a wrong value, and one that there is not, is named before anything is started."""
    with pytest.raises(ConfigError, match=rf"options\.{named}"):
        DiffusersEngine().validate(settings(**options))


def test_it_only_paints() -> None:
    """A deployment for another task, and one with a base URL, are refused."""
    for changes in ({"task": "chat"}, {"base_url": "http://127.0.0.1/v1"}):
        with pytest.raises(ConfigError, match=next(iter(changes))):
            DiffusersEngine().validate(settings().model_copy(update=changes))
