"""The `openvino_images` engine on tiny exported pipelines with random weights."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from freehold.engines.base import Connection, EngineSpec
from freehold.engines.openvino_images import OpenVinoImagesEngine
from freehold.errors import ConfigError, EngineFailed, InvalidRequest
from freehold.types.engine import Feature, Traits
from freehold.types.generation import Usage
from freehold.types.images import PaintRequest, PartialPicture, PictureOperation
from tests.engines.openvino_pipelines import build
from tests.engines.openvino_subject import STEPS, openvino_images, settings
from tests.engines.subject import Subject
from tests.engines.test_pictures import PHOTO, SIZE, asked, files, opened, painted, png

MASK = Image.new("L", (SIZE, SIZE), 0)
MASK.paste(255, (SIZE // 2, 0, SIZE, SIZE))
MANY_STEPS = 800
"""The library does not wait until a state was looked at, and these models take a fifth of a millisecond for a step: of
fewer steps some would be over before the interpreter has turned to them."""


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this module's pipelines are built, each once."""
    return tmp_path_factory.mktemp("pipelines")


def pipeline(folder: Path, kind: str) -> Path:
    """The folder of a pipeline of that kind."""
    place = folder / kind
    return place if place.is_dir() else build(kind, place)


@pytest.fixture(scope="module")
def plain(pipelines: Path) -> Iterator[Subject]:
    """The engine on a Stable Diffusion, started once."""
    with openvino_images(pipeline(pipelines, "stable-diffusion")) as subject:
        yield subject


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "features"),
    [
        ("stable-diffusion", {Feature.IMAGES, Feature.IMAGE_EDITS, Feature.IMAGE_VARIATIONS, Feature.SEED}),
        ("flux", {Feature.IMAGES, Feature.IMAGE_EDITS, Feature.IMAGE_VARIATIONS, Feature.SEED}),
        ("inpainting", {Feature.IMAGE_EDITS, Feature.SEED}),
        ("without-encoder", {Feature.IMAGES, Feature.SEED}),
    ],
)
def test_a_folder_does_what_its_class_and_its_networks_can(pipelines: Path, kind: str, features: set[Feature]) -> None:
    """Which operations there are follows from the folder, and each that is declared paints, the same each time."""

    async def trial(connection: Connection, traits: Traits) -> None:
        assert traits.features == features
        assert traits.fingerprint == f"fp_{'ab' * 6}"
        assert f"{SIZE}x{SIZE}" == traits.sizes[0]
        requests = {
            Feature.IMAGES: asked(),
            Feature.IMAGE_EDITS: asked(PictureOperation.EDIT, image=PHOTO, mask=png(MASK)),
            Feature.IMAGE_VARIATIONS: asked(PictureOperation.VARIATION, image=PHOTO),
        }
        for feature, request in requests.items():
            if feature in features:
                first, again = [await painted(connection.paint(request)) for _ in range(2)]
                assert files(first) == files(again)
                usage = first[-1]
                assert isinstance(usage, Usage)
                tokens = 0 if feature is Feature.IMAGE_VARIATIONS else len(request.prompt) + 2
                assert (usage.prompt_tokens, usage.estimated) == (tokens, False)

    options: dict[str, Any] = {"sizes": [f"{SIZE}x{SIZE}"]} if kind == "flux" else {}
    with openvino_images(pipeline(pipelines, kind), **options) as subject:
        subject.try_out(trial)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stable-diffusion", "inpainting"])
def test_an_edit_keeps_every_byte_outside_the_mask(pipelines: Path, kind: str) -> None:
    """Where the mask is 0 each pixel is what it was; where it is 255 the picture is another."""

    async def trial(connection: Connection, _: Traits) -> None:
        request = asked(PictureOperation.EDIT, image=PHOTO, mask=png(MASK))
        (data,) = files(await painted(connection.paint(request)))
        before, after = opened(PHOTO), opened(data)
        kept, new = (0, 0, SIZE // 2, SIZE), (SIZE // 2, 0, SIZE, SIZE)
        assert after.crop(kept).tobytes() == before.crop(kept).tobytes()
        assert after.crop(new).tobytes() != before.crop(new).tobytes()

    with openvino_images(pipeline(pipelines, kind)) as subject:
        subject.try_out(trial)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stable-diffusion", "flux"])
def test_the_last_state_of_many_steps_is_nearly_the_picture(pipelines: Path, kind: str) -> None:
    """Each state is nearer to the finished picture than the one before it."""

    async def trial(connection: Connection, _: Traits) -> None:
        events = await painted(connection.paint(asked(partial_images=3)))
        states = [opened(event.data) for event in events if isinstance(event, PartialPicture)]
        (finished,) = map(opened, files(events))
        distances = [
            sum(abs(a - b) for a, b in zip(state.tobytes(), finished.tobytes(), strict=True)) for state in states
        ]
        assert len(distances) == 3
        assert distances == sorted(distances, reverse=True)
        assert 0 < distances[-1] / len(finished.tobytes()) < 32

    with openvino_images(pipeline(pipelines, kind), steps=MANY_STEPS, sizes=[f"{SIZE}x{SIZE}"]) as subject:
        subject.try_out(trial)


@pytest.mark.slow
def test_options_change_the_picture(pipelines: Path, plain: Subject) -> None:
    """Steps, scheduler, guidance, a negative prompt and an adapter each paint another picture from the same seed."""
    folder, adapters = pipeline(pipelines, "stable-diffusion"), pipeline(pipelines, "lora")
    made: list[bytes] = []

    async def trial(connection: Connection, _: Traits) -> None:
        made.extend(files(await painted(connection.paint(asked()))))

    plain.try_out(trial)
    for options in (
        {"steps": STEPS + 1},
        {"scheduler": "EulerAncestralDiscreteScheduler"},
        {"guidance_scale": 1.5},
        {"negative_prompt": "green"},
        {"lora": [{"path": str(adapters / "pytorch_lora_weights.safetensors")}]},
        {"lora": [{"path": str(adapters / "peft.safetensors"), "scale": 0.25}]},
    ):
        with openvino_images(folder, **options) as subject:
            subject.try_out(trial)
    assert len(set(made)) == 7


@pytest.mark.slow
def test_an_adapter_is_known_by_every_name(pipelines: Path) -> None:
    """The same weights under the names of diffusers, of PEFT and of kohya paint the same picture."""
    folder, adapters = pipeline(pipelines, "stable-diffusion"), pipeline(pipelines, "lora")
    made: list[bytes] = []

    async def trial(connection: Connection, _: Traits) -> None:
        made.extend(files(await painted(connection.paint(asked()))))

    for name in ("pytorch_lora_weights", "peft", "kohya"):
        with openvino_images(folder, lora=[{"path": str(adapters / f"{name}.safetensors")}]) as subject:
            subject.try_out(trial)
    assert len(made) == 3
    assert len(set(made)) == 1


@pytest.mark.slow
def test_a_long_seed_counts_whole(plain: Subject) -> None:
    """Seeds that differ only above their lowest 32 bits paint different pictures."""

    async def trial(connection: Connection, _: Traits) -> None:
        seeds = (7, 7 + 2**32, 7 + 2**50)
        made = [files(await painted(connection.paint(asked(seed=seed))))[0] for seed in seeds]
        assert len(set(made)) == 3

    plain.try_out(trial)


@pytest.mark.slow
def test_who_leaves_is_not_painted_for(pipelines: Path) -> None:
    """After a stream of many steps was left the next picture comes, with the right seed."""

    async def trial(connection: Connection, _: Traits) -> None:
        expected = files(await painted(connection.paint(asked(seed=9))))
        stream = connection.paint(asked(n=10, partial_images=3))
        await anext(stream)
        await stream.aclose()
        assert files(await painted(connection.paint(asked(seed=9)))) == expected

    with openvino_images(pipeline(pipelines, "stable-diffusion"), steps=60) as subject:
        subject.try_out(trial)


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_",
    [
        asked(size="72x72"),
        asked(PictureOperation.VARIATION, image=png(Image.new("RGB", (8, 8)))),
        asked(PictureOperation.EDIT, image=PHOTO, mask=png(Image.new("L", (8, 8)))),
        asked(PictureOperation.EDIT, image=PHOTO, mask=b"no picture"),
    ],
    ids=["size", "image", "mask", "no picture"],
)
def test_a_wrong_request_is_refused(plain: Subject, request_: PaintRequest) -> None:
    """A size that is not painted, and pictures of another size or none at all, are refused."""

    async def trial(connection: Connection, _: Traits) -> None:
        with pytest.raises(InvalidRequest):
            await painted(connection.paint(request_))

    plain.try_out(trial)


@pytest.mark.slow
def test_an_operation_that_there_is_not_is_refused(pipelines: Path) -> None:
    """A variation is refused where the network that reads pictures was not exported."""

    async def trial(connection: Connection, _: Traits) -> None:
        with pytest.raises((InvalidRequest, EngineFailed)):
            await painted(connection.paint(asked(PictureOperation.VARIATION, image=PHOTO)))

    with openvino_images(pipeline(pipelines, "without-encoder")) as subject:
        subject.try_out(trial)


def _ended(argv: list[str]) -> str:
    """The last line of what a process says that cannot serve."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    return done.stderr.strip().splitlines()[-1]


def _complaint(folder: Path, **options: Any) -> str:
    """What the process says where it cannot serve a folder."""
    spec = EngineSpec(settings(**options), weights=folder)
    launch = OpenVinoImagesEngine().launch(spec, folder / "absent" / "socket")
    return _ended(list(launch.argv))


def _changed(folder: Path, target: Path, changes: Mapping[str, Any]) -> Path:
    """A copy of a pipeline whose files have other content; None takes one away."""
    shutil.copytree(folder, target)
    for name, content in changes.items():
        if content is None:
            (target / name).unlink()
        else:
            (target / name).write_text(json.dumps(content))
    return target


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"unet/openvino_model.xml": None}, "optimum-cli export openvino"),
        ({"model_index.json": {"_class_name": "MyPipeline"}}, "MyPipeline"),
        ({"model_index.json": {}}, "model_index.json is damaged"),
        ({"tokenizer/openvino_tokenizer.xml": None}, "tokenizer/openvino_tokenizer.xml is missing"),
        ({"vae_encoder/openvino_model.bin": None}, "vae_encoder/openvino_model.bin is missing"),
        ({"unet/config.json": None}, "unet/config.json"),
        ({"scheduler/scheduler_config.json": {"_class_name": "OddScheduler"}}, "OddScheduler"),
    ],
)
def test_a_folder_that_cannot_be_served_is_told(
    pipelines: Path, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    """A folder that was not exported, lacks a part or has a class that is not known ends the start with the reason."""
    assert told in _complaint(_changed(pipeline(pipelines, "stable-diffusion"), tmp_path / "changed", changes))


@pytest.mark.slow
def test_an_option_that_does_not_fit_is_told(pipelines: Path, tmp_path: Path) -> None:
    """A scheduler of another family, sides between the model's, a negative prompt too much and wrong adapters."""
    folder = pipeline(pipelines, "stable-diffusion")
    assert "DDIMScheduler" in _complaint(folder, scheduler="FlowMatchEulerDiscreteScheduler")
    assert "multiples of 16" in _complaint(folder, sizes=["264x256"])
    pickled = tmp_path / "lora.safetensors"
    pickled.write_bytes(b"\x80\x02" + bytes(100))
    assert "options.lora" in _complaint(folder, lora=[{"path": str(pickled)}])
    assert "options.lora" in _complaint(folder, lora=[{"path": str(tmp_path / "missing.safetensors")}])
    other = pipeline(pipelines, "lora") / "other.safetensors"
    assert "fits no layer" in _complaint(folder, lora=[{"path": str(other)}])
    index = json.loads((folder / "model_index.json").read_text()) | {"_class_name": "LatentConsistencyModelPipeline"}
    unet = json.loads((folder / "unet" / "config.json").read_text()) | {"time_cond_proj_dim": 8}
    consistent = _changed(folder, tmp_path / "lcm", {"model_index.json": index, "unet/config.json": unet})
    assert "options.negative_prompt" in _complaint(consistent, negative_prompt="green")


def test_where_the_library_is_missing_the_extra_is_named() -> None:
    """A process that cannot import openvino-genai says what to install."""
    program = "freehold.engines.openvino_images_server"
    code = (
        f"import runpy, sys; sys.modules['openvino_genai'] = None; runpy.run_module('{program}', run_name='__main__')"
    )
    assert "pip install 'freehold[openvino]'" in _ended([sys.executable, "-c", code])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"device": "cpu"}, "device"),
        ({"dtype": "int4"}, "dtype"),
        ({"threads": 0}, "threads"),
        ({"steps": 0}, "steps"),
        ({"scheduler": "os.system"}, "scheduler"),
        ({"scheduler": "UniPCMultistepScheduler"}, "scheduler"),
        ({"guidance_scale": -1}, "guidance_scale"),
        ({"guidance_scale": 1, "negative_prompt": "green"}, "negative_prompt"),
        ({"edit_strength": 2.0}, "edit_strength"),
        ({"variation_strength": 0}, "variation_strength"),
        ({"sizes": ["511x512"]}, "sizes"),
        ({"lora": [{"file": "x"}]}, "lora"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], named: str) -> None:
    """An option of a wrong value, and one that there is not, is named before anything is started."""
    with pytest.raises(ConfigError, match=rf"options\.{named}"):
        OpenVinoImagesEngine().validate(settings(**options))


def test_it_only_paints() -> None:
    """A deployment for another task, and one with a base URL, are refused."""
    for changes in ({"task": "chat"}, {"base_url": "http://127.0.0.1/v1"}):
        with pytest.raises(ConfigError, match=next(iter(changes))):
            OpenVinoImagesEngine().validate(settings().model_copy(update=changes))
