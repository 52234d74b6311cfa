"""Which deployments a home has: the starter set, laid once, and what people made of it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from freehold.catalog.deployments import DeploymentRegistry
from freehold.store.database import Database
from freehold.types.deployment import DeploymentSettings

STARTER = (
    DeploymentSettings(name="chat", model="starter", engine="echo"),
    DeploymentSettings(name="embed", model="starter", engine="echo"),
)


def names(
    home: Path,
    *,
    starter: Sequence[DeploymentSettings] = STARTER,
    configured: Sequence[DeploymentSettings] = (),
    then: Callable[[DeploymentRegistry], Awaitable[object]] | None = None,
) -> dict[str, str]:
    """Open the home, do something, and tell each deployment's model by its name."""

    async def run() -> dict[str, str]:
        database = await Database.open(home / "freehold.db")
        try:
            registry = DeploymentRegistry(database)
            await registry.load(starter, configured)
            if then is not None:
                await then(registry)
            return {found.name: found.settings.model for found in registry.all()}
        finally:
            await database.close()

    return asyncio.run(run())


def test_the_starter_set_is_laid_when_it_is_first_given(tmp_path: Path) -> None:
    """A home that was opened without the starter set still gets it when it is first served with it."""
    assert names(tmp_path, starter=()) == {}
    assert names(tmp_path) == {"chat": "starter", "embed": "starter"}


def test_a_deleted_starter_stays_deleted(tmp_path: Path) -> None:
    """The starter set is laid once in a home's life."""
    assert names(tmp_path, then=lambda registry: registry.delete("chat")) == {"embed": "starter"}
    assert names(tmp_path) == {"embed": "starter"}


def test_the_starter_set_takes_nobodys_name(tmp_path: Path) -> None:
    """A deployment, stored or configured, whose name or alias is a starter's stays as it is."""
    mine = DeploymentSettings(name="chat", model="mine", engine="echo")
    assert names(tmp_path, starter=(), then=lambda registry: registry.put(mine)) == {"chat": "mine"}
    other = DeploymentSettings(name="other", model="mine", engine="echo", aliases=["embed"])
    assert names(tmp_path, configured=[other]) == {"chat": "mine", "other": "mine"}
