"""Which policies are in force, and how they change."""

import asyncio
from pathlib import Path

import pytest

from freehold.errors import ConfigError, Conflict, NotFound
from freehold.governance.policies import PolicyRegistry
from freehold.store.database import Database
from freehold.types.deployment import DeploymentSettings, Origin
from freehold.types.policy import CaseSettings, PolicySettings
from tests.governance.policies import REQUEST, policy

CLOSED = policy("closed", deployments={"deny": ["chat"]})
OPEN = policy("open", deployments={"allow": ["*"]})
CASE = CaseSettings.model_validate({"name": "c", "request": {"deployment": "chat"}, "expect": "allow"})


async def opened(database: Database, *configured: PolicySettings) -> PolicyRegistry:
    """The policies of a home with some in its configuration file."""
    registry = PolicyRegistry(database, lambda: [DeploymentSettings(name="chat", model="m")])
    await registry.load(configured)
    return registry


def test_a_policy_holds_at_once_and_after_a_restart(tmp_path: Path) -> None:
    """A stored policy decides the next request, is there when the home is opened again, and goes when it is deleted."""

    async def steps() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        registry = await opened(database)
        assert registry.current.decide(REQUEST, {}).allowed
        assert await registry.put([CLOSED]) == ["closed"]
        assert not registry.current.decide(REQUEST, {}).allowed
        assert await registry.put([CLOSED, OPEN]) == ["open"]
        again = await opened(database)
        assert again.all() == [(CLOSED, Origin.API), (OPEN, Origin.API)]
        assert again.current.sha256 == registry.current.sha256
        assert await again.delete("closed") == CLOSED
        assert again.current.decide(REQUEST, {}).allowed
        with pytest.raises(NotFound):
            await again.delete("closed")
        await database.close()

    asyncio.run(steps())


def test_the_configuration_file_goes_before_the_database(tmp_path: Path) -> None:
    """A policy of the file hides a stored one of its name, and the API neither changes nor deletes it."""

    async def steps() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        await (await opened(database)).put([policy("closed", zones=["eu"])])
        registry = await opened(database, CLOSED)
        assert registry.get("closed") == (CLOSED, Origin.CONFIG)
        assert await registry.put([CLOSED]) == []
        for change in (registry.put([policy("closed", zones=["us"])]), registry.delete("closed")):
            with pytest.raises(Conflict, match="configuration file"):
                await change
        assert (await opened(database)).get("closed")[0] == policy("closed", zones=["eu"])
        await database.close()

    asyncio.run(steps())


def test_policies_change_together_or_not_at_all(tmp_path: Path) -> None:
    """A case that does not come out as expected with the whole of the change leaves everything as it was."""

    async def steps() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        registry = await opened(database)
        with pytest.raises(ConfigError, match="the case 'c' expects 'allow'"):
            await registry.put([OPEN, CLOSED], [CASE])
        with pytest.raises(ConfigError, match="already a policy 'open'"):
            await registry.put([OPEN, OPEN])
        assert registry.all() == []
        assert (await opened(database)).all() == []
        assert await registry.put([OPEN], [CASE]) == ["open"]
        await database.close()

    asyncio.run(steps())
