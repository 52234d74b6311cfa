"""What engines say of themselves beside their features."""

import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from freehold.engines.base import Connection, EngineSpec
from freehold.engines.gguf_header import read_metadata
from freehold.engines.llamacpp import LlamaCppEngine
from freehold.engines.model_defaults import chat_template
from freehold.engines.remote import RemoteEngine
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Traits
from tests.conftest import StarterModels
from tests.engines.llamacpp_models import llamacpp


@pytest.mark.parametrize("parallel", [None, 3])
def test_llamacpp_chooses_its_slots_where_nobody_does(parallel: int | None) -> None:
    """Without `parallel` in the deployment the llama.cpp engine starts with eight slots."""
    settings = DeploymentSettings(name="a", model="m", parallel=parallel)
    launch = LlamaCppEngine().launch(EngineSpec(settings, Path("m.gguf")), Path("s"))
    assert json.loads(launch.argv[-1])["parallel"] == (parallel or 8)


@pytest.mark.slow
@pytest.mark.parametrize("plain", [False, True], ids=["the package's", "a file's"])
def test_llamacpp_tells_its_slots_and_its_template(
    starter_models: StarterModels, tmp_path: Path, *, plain: bool
) -> None:
    """The traits of a llama.cpp engine have its number of slots and the digest of the template that it uses."""
    own = str(read_metadata(starter_models.chat)["tokenizer.chat_template"])
    file = tmp_path / "own.jinja"
    file.write_text(own, "utf-8")
    option = str(file) if plain else None
    used = (chat_template(own, option) or own).removesuffix("\n")  # llama.cpp drops the last line end
    expected = hashlib.sha256(used.encode()).hexdigest()

    async def trial(_: Connection, traits: Traits) -> None:
        assert (traits.parallel, traits.template_sha256) == (3, expected)

    options = {"chat_template": option} if option else {}
    with llamacpp(starter_models.chat, parallel=3, options=options) as subject:
        subject.try_out(trial)


@pytest.mark.parametrize("parallel", [None, 2])
def test_an_endpoint_has_the_bound_that_the_deployment_sets(parallel: int | None) -> None:
    """A remote endpoint takes as many requests at once as the deployment says, without it any number."""

    async def main() -> None:
        settings = DeploymentSettings(
            name="a", model="m", engine="remote", base_url="http://127.0.0.1:9/v1", parallel=parallel
        )
        connection = RemoteEngine().connect(EngineSpec(settings), Path("unused"))
        assert (await connection.open()).parallel == parallel
        assert await connection.counters() is None
        await connection.close()

    asyncio.run(main())
