"""With how many threads llama.cpp serves a model best."""

import json
import subprocess
from pathlib import Path

import pytest

from freehold.engines.base import EngineSpec
from freehold.engines.llamacpp import LlamaCppEngine
from freehold.engines.llamacpp_measure import candidates
from freehold.types.deployment import DeploymentSettings
from tests.conftest import StarterModels

ENGINE = LlamaCppEngine()


def test_candidates_are_numbers_of_threads_that_there_are() -> None:
    """The default comes first, none comes twice, and none is more than the system has."""
    numbers = candidates()
    assert len(set(numbers)) == len(numbers)
    assert all(number >= 1 for number in numbers)


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
    ended = subprocess.run([*launch.argv, "--seconds", "1"], capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    *measured, best = ended.stdout.splitlines()
    found = [json.loads(line.removeprefix("measured ")) for line in measured]
    assert [each["options"]["threads"] for each in found] == candidates()
    assert all(figure > 0 for each in found for figure in each["figures"].values())
    assert json.loads(best.removeprefix("best ")) in [{}, *(each["options"] for each in found)]
