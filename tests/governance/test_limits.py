"""Limits: which are set, and what they come to."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from pydantic import ValidationError

from freehold.errors import Conflict
from freehold.governance.limits import LimitRegistry, Limits
from freehold.store.database import Database
from freehold.types.limits import MOST, LimitSettings, Scope, Subject

PAIR = Subject(Scope.PROJECT_DEPLOYMENT, "proj-1/chat")
ValueT = TypeVar("ValueT")


def on_registry(
    home: Path, scenario: Callable[[LimitRegistry], Awaitable[ValueT]], *configured: LimitSettings
) -> ValueT:
    """What a scenario gives on the limits of a home."""

    async def run() -> ValueT:
        database = await Database.open(home / "freehold.db")
        try:
            registry = LimitRegistry(database, str)
            await registry.load(configured)
            return await scenario(registry)
        finally:
            await database.close()

    return asyncio.run(run())


def pair(limit_id: str, **values: int) -> LimitSettings:
    """A limit of what a project uses of a deployment."""
    return LimitSettings(scope=Scope.PROJECT_DEPLOYMENT, id=limit_id, **values)


def test_a_pair_counts_where_it_is_limited(tmp_path: Path) -> None:
    """What a project uses of a deployment is counted while a limit of its own, or of `*`, is set, and only then."""

    async def scenario(registry: LimitRegistry) -> list[Subject | None]:
        found = [registry.pair("proj-1", "chat")]
        await registry.put(pair("proj-1/chat", requests_per_minute=5))
        found += [registry.pair("proj-1", "chat"), registry.pair("proj-1", "embed"), registry.pair("proj-2", "chat")]
        await registry.delete(PAIR.scope, PAIR.id)
        found += [registry.pair("proj-1", "chat")]
        await registry.put(pair("*", tokens_per_minute=5))
        found += [registry.pair("proj-2", "embed")]
        return found

    found = on_registry(tmp_path, scenario)
    assert found == [None, PAIR, None, None, None, Subject(Scope.PROJECT_DEPLOYMENT, "proj-2/embed")]


def test_a_successor_has_the_limits_of_before(tmp_path: Path) -> None:
    """Limits of the configuration file are passed on too, those of '*' are not, and what has none passes none."""

    async def scenario(registry: LimitRegistry) -> tuple[list[LimitSettings | None], Limits]:
        passed = [await registry.pass_on(Scope.KEY, f"key_{at}", f"key_{at + 1}") for at in (1, 2, 8)]
        return passed, registry.effective(Subject(Scope.KEY, "key_3"))

    configured = [
        LimitSettings(scope=Scope.KEY, id="key_1", requests_per_minute=5),
        LimitSettings(scope=Scope.KEY, id="*", tokens_per_minute=7),
    ]
    passed, found = on_registry(tmp_path, scenario, *configured)
    assert [None if each is None else each.id for each in passed] == ["key_2", "key_3", None]
    assert found == Limits(requests_per_minute=5, tokens_per_minute=7)


def test_limits_are_merged(tmp_path: Path) -> None:
    """To set one limit leaves the other; the largest number takes one away, and the last one the entry."""

    async def scenario(registry: LimitRegistry) -> list[Limits]:
        found = []
        for values in (
            {"requests_per_minute": 5},
            {"tokens_per_minute": 7},
            {"requests_per_minute": MOST},
            {"tokens_per_minute": MOST},
            {"tokens_per_minute": MOST},
        ):
            await registry.merge(PAIR.scope, PAIR.id, values)
            found.append(registry.effective(PAIR))
        assert registry.all() == []
        return found

    assert on_registry(tmp_path, scenario) == [Limits(5), Limits(5, 7), Limits(None, 7), Limits(), Limits()]


def test_two_merges_at_once_lose_nothing(tmp_path: Path) -> None:
    """Of two limits that are set at the same moment both hold."""

    async def scenario(registry: LimitRegistry) -> Limits:
        await asyncio.gather(
            registry.merge(PAIR.scope, PAIR.id, {"requests_per_minute": 5}),
            registry.merge(PAIR.scope, PAIR.id, {"tokens_per_minute": 7}),
        )
        return registry.effective(PAIR)

    assert on_registry(tmp_path, scenario) == Limits(5, 7)


def test_a_configured_limit_is_not_merged(tmp_path: Path) -> None:
    """What the configuration file says of a pair cannot be changed from elsewhere."""

    async def scenario(registry: LimitRegistry) -> None:
        with pytest.raises(Conflict, match="configuration file"):
            await registry.merge(PAIR.scope, PAIR.id, {"requests_per_minute": 6})

    on_registry(tmp_path, scenario, pair("proj-1/chat", requests_per_minute=5))


@pytest.mark.parametrize(
    ("limit_id", "values", "told"),
    [
        ("proj-1", {"requests_per_minute": 1}, "<project>/<deployment>"),
        ("/chat", {"requests_per_minute": 1}, "<project>/<deployment>"),
        ("proj-1/chat", {"concurrent_requests": 1}, "not concurrent_requests"),
        ("proj-1/chat", {"requests_per_minute": 2**53}, "9007199254740991"),
    ],
)
def test_a_pair_that_cannot_be_limited_so_is_told(limit_id: str, values: dict[str, int], told: str) -> None:
    """A pair has a project and a deployment, and limits of requests and tokens per minute within what JSON holds."""
    with pytest.raises(ValidationError, match=told):
        pair(limit_id, **values)
