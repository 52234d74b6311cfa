"""Gateways that share limits by a real PostgreSQL: they borrow, give back, lose the database and are replaced."""

import asyncio
import time

from freehold.governance.limits import Limits
from freehold.types.limits import Claim, Scope, Subject
from tests.gateway.leases_bench import gateways
from tests.postgres import PostgreSQL

pytest_plugins = ["tests.postgres"]

PROJECT = Subject(Scope.PROJECT, "proj-shared")


def _claim(tokens: int = 0, micro: int = 0) -> Claim:
    return Claim((PROJECT,), tokens, micro, time.time())


def test_a_budget_is_used_to_its_last_unit_by_whoever_is_asked(postgres_server: PostgreSQL) -> None:
    """Of a budget for 40 calls exactly 40 are admitted, by three gateways that are called in turn."""
    limits = {PROJECT: Limits(budget_per_day=4000)}

    async def call() -> list[int]:
        async with gateways(postgres_server.new_database(), limits, ["a", "b", "c"]) as running:
            calls = [running[number % 3].status(_claim(micro=100)) for number in range(120)]
            return list(await asyncio.gather(*calls))

    found = asyncio.run(call())
    assert found.count(200) == 40
    assert found.count(429) == 80
