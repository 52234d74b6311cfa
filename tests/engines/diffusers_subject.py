"""The `diffusers` engine under test: its process on a pipeline's folder."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from freehold.engines.base import EngineSpec
from freehold.engines.diffusers import DiffusersEngine
from freehold.types.deployment import DeploymentSettings
from tests.engines.diffusers_pipelines import build
from tests.engines.subject import Subject, running, socket_path, wait_open

STEPS = 4
START_S = 300.0
"""How long the process may take to import torch and diffusers, on a busy machine."""


def settings(**options: Any) -> DeploymentSettings:
    """A deployment on the CPU, with few steps."""
    options = {"device": "cpu", "threads": 1, "steps": STEPS, **options}
    return DeploymentSettings(name="d", model="tiny", engine="diffusers", task="images", options=options)


@contextmanager
def diffusers(folder: Path, **options: Any) -> Iterator[Subject]:
    """The engine on a pipeline's folder."""
    engine, spec = DiffusersEngine(), EngineSpec(settings(**options), weights=folder, weights_sha256="ab" * 32)
    engine.validate(spec.settings)
    with socket_path() as socket, running(engine.launch(spec, socket)) as process:
        wait_open(engine, spec, socket, START_S)
        yield Subject(engine, spec, socket, process, "", lambda: 0, lambda _: [])


@contextmanager
def tiny_stable_diffusion() -> Iterator[Subject]:
    """The engine on a tiny Stable Diffusion that paints in the size of the shared suite."""
    with tempfile.TemporaryDirectory() as folder:
        pipeline = build("stable-diffusion", Path(folder) / "pipeline")
        with diffusers(pipeline, sizes=["256x256"]) as subject:
            yield subject
