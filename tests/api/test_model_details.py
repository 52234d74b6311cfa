"""What callers are told of models with `details=true`."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.test_kept_content import admin
from tests.service import Service

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "small"
engine = "echo"
model = "echo"
aliases = ["gpt-4o-mini"]
description = "Quick answers"
context_length = 2048
options = { without = ["tools", "logprobs"] }
price = [{ input = "0.15", output = "0.6" }, { from = 2999-01-01, input = "9" }]

[[deployment]]
name = "large"
engine = "echo"
model = "echo"
replicas = 0

[[deployment]]
name = "vectors"
engine = "echo"
model = "echo"
task = "embeddings"
options = { dimensions = 12 }

[[deployment]]
name = "other-painter"
engine = "echo"
model = "echo"
task = "images"
options = { without = ["image_edits"] }

[[deployment]]
name = "painter"
engine = "painter"
model = "starter-painter"
task = "images"
aliases = ["dall-e-2"]
start = "on_demand"
price = { image = "0.02" }
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with models of every kind."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


def details(service: Service, key: str) -> dict[str, Any]:
    """The details of all models by name."""
    data = service.get("/v1/models?details=true", key=key).json()["data"]
    return {model["id"]: model["details"] for model in data}


def test_each_model_says_what_it_does_and_costs(service: Service) -> None:
    """A chat model, one that is stopped, one that makes vectors and a painter that nobody has loaded yet."""
    found = details(service, service.key)
    features = set(found["small"].pop("features"))
    assert found["small"] == {
        "description": "Quick answers",
        "aliases": ["gpt-4o-mini"],
        "model": "echo",
        "task": "chat",
        "default": True,
        "state": "ready",
        "operations": ["chat.completions", "completions"],
        "input": ["text"],
        "output": ["text"],
        "context_length": 2048,
        "embedding_dimensions": None,
        "sizes": [],
        "price": {"input": "0.15", "output": "0.6", "image": "0"},
        "project": None,
    }
    assert {"json_schema", "seed"} <= features
    assert features.isdisjoint({"tools", "logprobs", "images"})
    assert (found["large"]["state"], found["large"]["default"], found["large"]["price"]) == ("stopped", False, None)
    vectors = {name: found["vectors"][name] for name in ("operations", "output", "embedding_dimensions", "default")}
    assert vectors == {
        "operations": ["embeddings"],
        "output": ["embedding"],
        "embedding_dimensions": 12,
        "default": True,
    }
    painter = found["painter"]
    assert (painter["state"], painter["default"], painter["price"]["image"]) == ("unloaded", True, "0.02")
    assert painter["operations"] == ["images.generations", "images.edits", "images.variations"]
    assert (painter["input"], painter["sizes"][0], painter["context_length"]) == (["text", "image"], "256x256", None)
    other = found["other-painter"]
    assert (other["default"], other["input"]) == (False, ["text"])
    assert other["operations"] == ["images.generations", "images.variations"]


def test_one_model_is_told_by_name_or_alias(service: Service) -> None:
    """Under each of its names, in the v1 dialects; without `details` there is nothing beside what OpenAI has."""
    for path in ("/v1/models/small", "/v1/models/gpt-4o-mini", "/openai/v1/models/small"):
        model = service.get(f"{path}?details=true", key=service.key).json()
        assert model["details"]["description"] == "Quick answers"
        for query in ("", "?details=false"):
            alone = service.get(path + query, key=service.key).json()
            assert alone == {name: value for name, value in model.items() if name != "details"}
    wrong = service.get("/v1/models?details=1", key=service.key)
    assert (wrong.status, wrong.json()["error"]["param"]) == (400, "details")


def test_a_key_is_told_of_its_models_only(service: Service) -> None:
    """What the key cannot be used for is not there, and is no default either."""
    scope = {"models": ["large", "vectors", "other-painter"]}
    key = admin(service, "POST", "/admin/keys", {"name": "some", "role": "user", "scope": scope})["key"]
    assert {name: told["default"] for name, told in details(service, key).items()} == {
        "large": True,
        "vectors": True,
        "other-painter": True,
    }
