"""Which options are best for a model on this machine, measured with the real engine."""

import json
import subprocess
from pathlib import Path

import pytest

from freehold.engines.base import EngineSpec
from freehold.engines.cores import physical_cores, short_precisions
from freehold.engines.llamacpp import LlamaCppEngine
from freehold.engines.measure import Order, measurement
from freehold.engines.openvino import MANY_CORES, OpenVinoEngine, _body
from freehold.types.deployment import DeploymentSettings
from tests.conftest import StarterModels

ENGINE = LlamaCppEngine()


@pytest.mark.parametrize("more", [{"options": {"threads": 2}}, {"options": {"gpu_layers": 9}}, {"task": "embeddings"}])
def test_what_is_settled_is_not_measured(more: dict[str, object]) -> None:
    """A deployment that names its threads, computes on a GPU or embeds has nothing to find."""
    settings = DeploymentSettings.model_validate({"name": "chat", "model": "m", "engine": "llamacpp", **more})
    assert ENGINE.measurement(EngineSpec(settings, Path("model.gguf"))) is None


@pytest.mark.slow
def test_every_candidate_is_measured_with_the_real_engine(starter_models: StarterModels) -> None:
    """Each has figures, and what is best is one of them or the default."""
    settings = DeploymentSettings(name="chat", model="m", engine="llamacpp", context_length=512)
    launch = ENGINE.measurement(EngineSpec(settings, starter_models.chat, "00" * 32))
    assert launch is not None
    order = json.loads(launch.argv[-1])
    numbers = [candidate["threads"] for candidate in order["candidates"]]
    assert len(set(numbers)) == len(numbers)
    assert min(numbers) >= 1
    ended = subprocess.run(launch.argv, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    *measured, best = ended.stdout.splitlines()
    found = [json.loads(line.removeprefix("measured ")) for line in measured]
    assert [each["options"] for each in found] == order["candidates"]
    assert all(figure > 0 for each in found for figure in each["figures"].values())
    assert json.loads(best.removeprefix("best ")) in [{}, *order["candidates"]]


@pytest.mark.slow
def test_an_engine_that_does_not_start_is_told(starter_models: StarterModels) -> None:
    """The measurement ends with a status and the engine's own reason."""
    settings = DeploymentSettings(name="chat", model="m", engine="llamacpp", options={"mmproj": "/nowhere"})
    launch = ENGINE.measurement(EngineSpec(settings, starter_models.chat, "00" * 32))
    assert launch is not None
    ended = subprocess.run(launch.argv, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 1
    assert "did not become ready" in ended.stderr


@pytest.mark.slow
@pytest.mark.long
def test_precisions_of_openvino_are_measured_with_the_real_engine(starter_models: StarterModels) -> None:
    """Its default is tried first; a deployment that names its precision keeps it."""
    settings = DeploymentSettings(name="chat", model="m", engine="openvino", context_length=512)
    launch = OpenVinoEngine().measurement(EngineSpec(settings, starter_models.chat, "00" * 32))
    if short_precisions() or physical_cores() >= MANY_CORES:
        assert launch is not None
        order = json.loads(launch.argv[-1])
        assert order["candidates"][0] == {"precision": "f32"}
    named = settings.model_copy(update={"options": {"precision": "f32", "threads": 1}})
    assert OpenVinoEngine().measurement(EngineSpec(named, starter_models.chat, "00" * 32)) is None
    order = Order(
        "freehold.engines.openvino_server", _body(EngineSpec(settings, starter_models.chat)), [{}], "/v1/health", {}
    )
    ended = subprocess.run(measurement(order).argv, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    measured, best = ended.stdout.splitlines()
    assert json.loads(measured.removeprefix("measured "))["figures"]["answer_tokens_per_s"] > 0
    assert best == "best {}"
