"""How tests start the `openvino` engine, and ask its server by a way of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from freehold.engines.base import EngineSpec
from freehold.engines.openvino import OpenVinoEngine
from freehold.engines.openvino_text_model import TextModel, load
from freehold.types.deployment import DeploymentSettings
from tests.engines.llamacpp_models import ask
from tests.engines.subject import Subject, running, socket_path, wait_open


def active(socket: Path) -> int:
    """How many requests the engine works on."""
    return int(ask(socket, "/v1/stats")["active"])


@lru_cache(maxsize=1)
def loaded(weights: Path) -> TextModel:
    """The model in this process, for its tokenizer and for tests of what is around it."""
    return load(weights, {"cache_gib": 0.25}, context_length=512, parallel=4)


@contextmanager
def openvino(weights: Path, **settings: Any) -> Iterator[Subject]:
    """The engine with a model file and settings of the deployment; its answers are the same whoever else asks."""
    deployment = DeploymentSettings(
        name="local",
        model="local",
        engine="openvino",
        **{"context_length": 1024, "options": {"activations": "exact", "kv_cache_precision": "f32"}, **settings},
    )
    engine, spec = OpenVinoEngine(), EngineSpec(deployment, weights, "00" * 32)
    engine.validate(deployment)
    with socket_path() as socket, running(engine.launch(spec, socket)) as process:
        wait_open(engine, spec, socket)
        yield Subject(
            engine,
            spec,
            socket,
            process,
            "Write a very long story about a fox. Once upon a time, there was",
            lambda: active(socket),
            lambda text: loaded(weights).encode(text),
        )
