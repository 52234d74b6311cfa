"""The models that the content filter asks, on real engine processes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from freehold.catalog.deployments import DeploymentRegistry
from freehold.content_filter.base import Question
from freehold.errors import FilterUnavailable
from freehold.gateway.filter_models import FilterModels
from freehold.serving.supervisor import Supervisor
from freehold.store.database import Database
from freehold.types.deployment import DeploymentSettings
from tests.serving.trial import PATIENCE_S, eventually, pid_of, supervised

pytestmark = pytest.mark.slow

VECTORS = DeploymentSettings(name="embed", model="sentences", engine="echo", task="embeddings")
GUARD = DeploymentSettings(name="guard", model="judge", engine="echo", aliases=["llama-guard"])


@asynccontextmanager
async def asked(folder: Path, *deployments: DeploymentSettings) -> AsyncIterator[tuple[FilterModels, Supervisor]]:
    """What asks the models of some deployments; `sentences` is the embedding model that it knows."""
    database = await Database.open(folder / "freehold.db")
    try:
        registry = DeploymentRegistry(database)
        await registry.load((), deployments)
        async with supervised(folder, *deployments) as supervisor:
            for deployment in deployments:
                if deployment.start == "eager":
                    await supervisor.wait_ready(deployment.name, PATIENCE_S)
            yield FilterModels(registry, supervisor, embedding_model="sentences"), supervisor
    finally:
        await database.close()


def test_vectors_come_from_a_deployment_of_the_model(tmp_path: Path) -> None:
    """The pieces of a text become vectors of unit length in their order, whatever the deployment is called."""

    async def main() -> None:
        async with asked(tmp_path, VECTORS.model_copy(update={"name": "my-vectors"})) as (models, _):
            first, second = await models.embed(f"{'one ' * 124}and another text") or ()
            assert sum(value * value for value in first) == pytest.approx(1)
            assert list(await models.embed(f"{'one ' * 124}and") or ()) == [pytest.approx(first)]
            assert list(await models.embed("Another  TEXT") or ()) == [pytest.approx(second)]

    asyncio.run(main())


@pytest.mark.parametrize(
    "deployment",
    [
        VECTORS.model_copy(update={"model": "another"}),
        VECTORS.model_copy(update={"start": "on_demand"}),
        VECTORS.model_copy(update={"replicas": 0}),
    ],
    ids=["another-model", "not-loaded", "no-replicas"],
)
def test_without_a_running_model_there_are_no_vectors(tmp_path: Path, deployment: DeploymentSettings) -> None:
    """A model that does not run is neither started for the filter nor waited for, and another is not asked."""

    async def main() -> None:
        update = {"start": "on_demand"} if deployment.replicas == 0 else {}
        async with asked(tmp_path, deployment.model_copy(update=update)) as (models, supervisor):
            assert await models.embed("a text") is None
            assert [r.state for r in supervisor.status("embed").replicas if r.state in {"starting", "fetching"}] == []

    asyncio.run(main())


def test_an_embedding_model_that_dies_makes_the_filter_less_sure_only(tmp_path: Path) -> None:
    """Where the engine is killed there are no vectors, and the filter goes on with what it has until it is back."""

    async def main() -> None:
        async with asked(tmp_path, VECTORS) as (models, supervisor):
            os.kill(pid_of(supervisor, "embed"), signal.SIGKILL)
            assert await models.embed("a text") is None
            await eventually(lambda: supervisor.status("embed").replicas[0].restarts == 1, "a new engine")
            await supervisor.wait_ready("embed", PATIENCE_S)
            assert await models.embed("a text") is not None

    asyncio.run(main())


def test_what_the_filter_asks_is_on_nobodys_account(tmp_path: Path) -> None:
    """What engines do for the filter is not in what they are said to have done for callers, who have receipts."""

    async def main() -> None:
        async with asked(tmp_path, VECTORS, GUARD) as (models, supervisor):
            assert await models.embed("one two three") is not None
            assert await models.ask("guard", Question(prompt="is it safe?"))
            said = await supervisor.counters()
            assert [(name, each.prompt_tokens, each.completion_tokens, each.exact) for name, _, each in said] == [
                ("embed", 0, 0, True),
                ("guard", 0, 0, True),
            ]
            for name in ("embed", "guard"):
                async with supervisor.acquire(name) as lease:
                    counted = await lease.connection.counters()
                assert counted is not None
                assert counted.prompt_tokens >= 3, "the engine did count it"

    asyncio.run(main())


def test_a_guard_is_asked_by_name_or_alias(tmp_path: Path) -> None:
    """Messages go through the model's chat template, a prompt as it is, and the answer comes back as text."""

    async def main() -> None:
        async with asked(tmp_path, GUARD) as (models, _):
            assert await models.ask("guard", Question(messages=(("user", "unsafe S1"),))) == "unsafe S1"
            said = Question(messages=(("system", "a policy"), ("user", "one text")))
            assert await models.ask("llama-guard", said) == "one text"
            assert await models.ask("guard", Question(prompt="Yes it does", max_tokens=1)) == "Yes"

    asyncio.run(main())


@pytest.mark.parametrize(("name", "text"), [("nobody", "x"), ("guard", "a dose of poison"), ("paint", "x")])
def test_a_guard_that_does_not_answer_is_an_error(tmp_path: Path, name: str, text: str) -> None:
    """No such deployment, an engine that dies and one that cannot chat are told as a filter that is unavailable."""

    async def main() -> None:
        painter = DeploymentSettings(name="paint", model="echo", engine="echo", task="images")
        dying = GUARD.model_copy(update={"options": {"crash_on": "poison"}})
        async with asked(tmp_path, dying, painter) as (models, _):
            with pytest.raises(FilterUnavailable, match=f"'{name}'"):
                await models.ask(name, Question(messages=(("user", text),)))

    asyncio.run(main())
