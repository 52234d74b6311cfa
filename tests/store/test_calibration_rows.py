"""The table of calibrations: one for each deployment on each machine, in the order in which they were measured."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from freehold.store.calibration_rows import MOST, all_calibrations, put_calibration
from freehold.store.database import Database
from freehold.store.migrate import HOME_SCHEMA, upgrade


def _body(deployment: str, machine: str, measured_at: int = 1, units: int = 1) -> dict[str, Any]:
    return {"deployment": deployment, "machine": machine, "measured_at": measured_at, "levels": [{"units": units}]}


def _with_database(folder: Path, url: str | None, scenario: Callable[[Database], Awaitable[None]]) -> None:
    async def main() -> None:
        database = await Database.open(folder / "freehold.db", url=url)
        try:
            await scenario(database)
        finally:
            await database.close()

    asyncio.run(main())


def test_the_last_of_a_deployment_on_a_machine_is_kept(tmp_path: Path, home_url: str | None) -> None:
    """One that is measured again takes the place of the one before, and comes last, whatever its clock says."""

    async def scenario(database: Database) -> None:
        first, second, third = _body("chat", "one", 9), _body("chat", "two", 5), _body("chat", "one", 3, units=2)
        for body in (first, second, third):
            await put_calibration(database, body)
        assert await all_calibrations(database) == [second, third]

    _with_database(tmp_path, home_url, scenario)


def test_the_oldest_go(tmp_path: Path, home_url: str | None) -> None:
    """Of ever new names no more are kept than are looked at."""

    async def scenario(database: Database) -> None:
        for number in range(MOST + 3):
            await put_calibration(database, _body(f"chat-{number}", "one"))
        found = await all_calibrations(database)
        assert [body["deployment"] for body in found] == [f"chat-{number}" for number in range(3, MOST + 3)]

    _with_database(tmp_path, home_url, scenario)


@pytest.mark.parametrize("names", [["calibrations"], ["calibrations@b", "calibrations@a"]])
def test_what_was_measured_before_is_known(tmp_path: Path, names: list[str]) -> None:
    """A home of schema 0025 keeps its calibrations, those of every gateway, the last one of each machine."""
    lists = [[_body("chat", "one", 5)], [_body("chat", "two", 2), _body("chat", "one", 4), _body("other", "two", 9)]]
    if len(names) == 1:
        lists = [lists[0] + lists[1][:1]]

    async def before() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'freehold.db'}")
        async with engine.begin() as connection:
            await connection.run_sync(upgrade, replace(HOME_SCHEMA, head="0025"))
            for name, bodies in zip(names, lists, strict=True):
                row = {"name": name, "value": json.dumps(bodies)}
                await connection.execute(text("INSERT INTO home VALUES (:name, :value)"), row)
            await connection.execute(text("INSERT INTO home VALUES ('calibration', '7')"))
        await engine.dispose()

    async def scenario(database: Database) -> None:
        wanted = [_body("chat", "two", 2), _body("chat", "one", 5), _body("other", "two", 9)]
        assert await all_calibrations(database) == wanted[: len(lists[-1])]
        await put_calibration(database, _body("chat", "two", 1))
        assert (await all_calibrations(database))[-1] == _body("chat", "two", 1)

    asyncio.run(before())
    _with_database(tmp_path, None, scenario)
