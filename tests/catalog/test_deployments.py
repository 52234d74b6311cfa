"""Which deployments a home has: the starter set, laid once, and what people made of it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from freehold.catalog.deployments import DeploymentRegistry
from freehold.store.database import Database
from freehold.store.deployments import DeploymentRow, put_deployment, put_fact
from freehold.types.deployment import DeploymentSettings

STARTER = (
    DeploymentSettings(name="chat", model="starter", engine="echo"),
    DeploymentSettings(name="embed", model="starter", engine="echo"),
)
PAINT = DeploymentSettings(name="paint", model="starter", engine="echo", task="images", aliases=["dall-e-2"])


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


def test_what_is_added_to_the_starter_set_comes_once(tmp_path: Path) -> None:
    """A home that has some of the set gets what a later version adds to it; deleted, that stays deleted."""
    more = (*STARTER, PAINT)
    names(tmp_path, then=lambda registry: registry.delete("chat"))
    assert names(tmp_path, starter=more) == {"embed": "starter", "paint": "starter"}
    assert names(tmp_path, starter=more, then=lambda registry: registry.delete("paint")) == {"embed": "starter"}
    assert names(tmp_path, starter=more) == {"embed": "starter"}


def test_a_home_of_the_first_version_gets_what_was_added(tmp_path: Path) -> None:
    """A home that remembers only that the set was laid had `chat` and `embed`: it gets the rest, not those again."""

    async def as_it_was() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        await put_deployment(database, DeploymentRow("embed", "starter", STARTER[1].wire()))
        await put_fact(database, "starter_deployments_laid", value=True)
        await database.close()

    asyncio.run(as_it_was())
    assert names(tmp_path, starter=(*STARTER, PAINT)) == {"embed": "starter", "paint": "starter"}


def test_a_home_without_the_starter_set_gets_nothing_of_a_later_one(tmp_path: Path) -> None:
    """Where the whole set was deleted, nothing is added to it, even if another deployment has its names as aliases."""
    mine = DeploymentSettings(name="mine", model="mine", engine="echo", aliases=["chat", "embed"])

    async def change(registry: DeploymentRegistry) -> None:
        for settings in STARTER:
            await registry.delete(settings.name)
        await registry.put(mine)

    assert names(tmp_path, then=change) == {"mine": "mine"}
    assert names(tmp_path, starter=(*STARTER, PAINT)) == {"mine": "mine"}


def test_a_starter_leaves_aliases_to_others(tmp_path: Path) -> None:
    """A starter deployment comes without an alias that is taken, and gives one up that the file has for another."""
    mine = DeploymentSettings(name="mine", model="mine", engine="echo", aliases=["dall-e-2"])
    resolved: list[str] = []

    async def resolve(registry: DeploymentRegistry) -> None:
        resolved.append(registry.resolve("dall-e-2").name)

    stored, filed = tmp_path / "stored", tmp_path / "filed"
    for home in (stored, filed):
        home.mkdir()
    names(stored, starter=(), then=lambda registry: registry.put(mine))
    assert names(stored, starter=(PAINT,), then=resolve) == {"mine": "mine", "paint": "starter"}
    for configured in ([], [mine], []):
        names(filed, starter=(PAINT,), configured=configured, then=resolve)
    names(filed, configured=[DeploymentSettings(name="dall-e-2", model="mine", engine="echo")], then=resolve)
    assert resolved == ["mine", "paint", "mine", "paint", "dall-e-2"]


def test_the_starter_set_takes_nobodys_name(tmp_path: Path) -> None:
    """A deployment, stored or configured, whose name or alias is a starter's stays as it is."""
    mine = DeploymentSettings(name="chat", model="mine", engine="echo")
    assert names(tmp_path, starter=(), then=lambda registry: registry.put(mine)) == {"chat": "mine"}
    other = DeploymentSettings(name="other", model="mine", engine="echo", aliases=["embed"])
    assert names(tmp_path, configured=[other]) == {"chat": "mine", "other": "mine"}
