"""The `openvino_images` engine under test: its process on a pipeline's folder."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from freehold.engines.base import EngineSpec
from freehold.engines.openvino_images import OpenVinoImagesEngine
from freehold.types.deployment import DeploymentSettings
from tests.engines.openvino_pipelines import build
from tests.engines.subject import Subject, running, socket_path, wait_open

STEPS = 4


def settings(**options: Any) -> DeploymentSettings:
    """A deployment with few steps, on one thread."""
    options = {"threads": 1, "steps": STEPS, **options}
    return DeploymentSettings(name="d", model="tiny", engine="openvino_images", task="images", options=options)


@contextmanager
def openvino_images(folder: Path, **options: Any) -> Iterator[Subject]:
    """The engine on a pipeline's folder."""
    engine, spec = OpenVinoImagesEngine(), EngineSpec(settings(**options), weights=folder, weights_sha256="ab" * 32)
    engine.validate(spec.settings)
    with socket_path() as socket, running(engine.launch(spec, socket)) as process:
        wait_open(engine, spec, socket)
        yield Subject(engine, spec, socket, process, "", lambda: 0, lambda _: [])


@contextmanager
def tiny_exported_pipeline() -> Iterator[Subject]:
    """The engine on a tiny Stable Diffusion that paints in the size of the shared suite."""
    with tempfile.TemporaryDirectory() as folder, openvino_images(build("stable-diffusion", Path(folder) / "p")) as it:
        yield it
