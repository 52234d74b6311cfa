"""The home's database on PostgreSQL, where several gateways use it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from shutil import copytree

import pytest
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import create_async_engine

from freehold.errors import ConfigError, HomeError, InvalidRequest, Unavailable
from freehold.store import evaluation_tables
from freehold.store.changes import WATCHED
from freehold.store.database import CHANNEL, Database
from freehold.store.deployments import DeploymentRow, all_deployments, get_fact, put_deployment, put_fact
from freehold.store.gateway_rows import GatewayRow, database_time, put_gateway
from freehold.store.job_tables import jobs
from freehold.store.jobs import add_job, take_job
from freehold.store.migrate import HEAD, HOME_SCHEMA, Schema
from freehold.store.postgres import connect
from freehold.store.tables import metadata
from freehold.types.jobs import Job, JobState
from tests.postgres import PostgreSQL

NOWHERE = Path("nowhere")


def _with(url: str, count: int, scenario: Callable[..., Awaitable[None]]) -> None:
    """Run a scenario on several gateways' databases, which are one."""

    async def main() -> None:
        opened = [await Database.open(NOWHERE, url=url) for _ in range(count)]
        try:
            await scenario(*opened)
        finally:
            for database in opened:
                await database.close()

    asyncio.run(main())


@pytest.fixture
def url(postgres_server: PostgreSQL) -> str:
    """A new database with a home's tables."""
    return postgres_server.new_home()


def test_migrations_make_the_tables_that_the_code_uses(url: str) -> None:
    """A migrated database has exactly the tables and columns of the code, with text that compares bytes."""

    async def scenario(_database: Database) -> None:
        found = MetaData()
        plain = create_async_engine("postgresql+asyncpg://", async_creator=lambda: connect(url, "database.url"))
        async with plain.connect() as connection:
            await connection.run_sync(found.reflect)
        await plain.dispose()
        made = {name: {str(c.name) for c in table.columns} for name, table in found.tables.items()}
        del made["alembic_version"]
        assert evaluation_tables.kept_evals.metadata is metadata, "all tables are known"
        assert made == {name: {str(c.name) for c in table.columns} for name, table in metadata.tables.items()}
        columns = [c for name, table in found.tables.items() if name in made for c in table.columns]
        texts = {(str(c.type), getattr(c.type, "collation", None)) for c in columns if "TEXT" in str(c.type)}
        assert texts == {('TEXT COLLATE "C"', "C")}
        assert not any(str(c.type) == "INTEGER" for c in columns), "an integer has 64 bits"

    _with(url, 1, scenario)


def test_several_open_an_empty_database_at_once(postgres_server: PostgreSQL) -> None:
    """The first makes the tables; the others find them made."""
    url = postgres_server.new_database()

    async def main() -> list[str]:
        opened = await asyncio.gather(*(Database.open(NOWHERE, url=url) for _ in range(3)))
        async with opened[0].read() as connection:
            found = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalars().all()
        for database in opened:
            await database.close()
        return [str(each) for each in found]

    assert asyncio.run(main()) == [HEAD]


def test_readers_then_writers_of_all_gateways_take_turns(url: str) -> None:
    """What reads a number and writes the next one in a transaction loses none, whoever else does the same."""

    async def scenario(*databases: Database) -> None:
        await put_fact(databases[0], "count", 0)

        async def one(database: Database) -> None:
            async with database.write() as connection:
                query = text("SELECT value FROM home WHERE name = 'count'")
                number = int((await connection.execute(query)).scalar_one())
                await asyncio.sleep(0)
                statement = text("UPDATE home SET value = :value WHERE name = 'count'")
                await connection.execute(statement, {"value": str(number + 1)})

        await asyncio.gather(*(one(database) for database in databases for _ in range(20)))
        assert await get_fact(databases[0], "count") == 60

    _with(url, 3, scenario)


def test_a_job_is_taken_once(url: str) -> None:
    """Of workers on three gateways that look at once each gets other jobs, and every job goes to one."""

    async def scenario(*databases: Database) -> None:
        async with databases[0].write() as connection:
            for number in range(12):
                await add_job(connection, Job(f"job_{number:02}", "o", "p", "u", "work", {}, 0, JobState.QUEUED, 1))

        async def take(database: Database, worker: str) -> list[str]:
            taken = []
            while (job := await take_job(database, ["work"], worker, 1000, 60_000, per_project=100)) is not None:
                taken.append(job.id)
            return taken

        found = await asyncio.gather(*(take(each, f"worker_{number}") for number, each in enumerate(databases)))
        ids = [name for taken in found for name in taken]
        assert sorted(ids) == [f"job_{number:02}" for number in range(12)]
        async with databases[1].read() as connection:
            tokens = set((await connection.execute(jobs.select().with_only_columns(jobs.c.token))).scalars())
        assert tokens == {1}, "nobody took over what another one had"

    _with(url, 3, scenario)


def test_what_others_wrote_is_counted(url: str) -> None:
    """A gateway knows of what it wrote itself, and sees by the numbers what another one has written."""

    async def scenario(first: Database, second: Database) -> None:
        await put_deployment(first, DeploymentRow("chat", "api", {}))
        assert first.known == await first.numbers() == {"deployments": 1}
        assert second.known == {}
        await put_deployment(second, DeploymentRow("chat", "api", {"a": 1}))
        assert second.known == {}, "what was written before is still to be read"
        assert await second.numbers() == {"deployments": 2}

    _with(url, 2, scenario)


def test_what_is_written_is_told(url: str) -> None:
    """Whoever listens hears of a transaction that has written what gateways have copies of, and of no other."""

    async def scenario(database: Database) -> None:
        heard: asyncio.Queue[str] = asyncio.Queue()
        listening = await connect(url, "database.url")
        await listening.add_listener(CHANNEL, lambda *message: heard.put_nowait(message[3]))
        await put_fact(database, "a", 1)
        await put_deployment(database, DeploymentRow("chat", "api", {}))
        assert await asyncio.wait_for(heard.get(), 60) == ""
        await listening.close()
        assert heard.empty()
        assert {"api_keys", "suspensions", "policies", "limits", "content_keys", "members"} <= WATCHED

    _with(url, 1, scenario)


def test_a_turn_sees_what_was_changed_before_it(url: str) -> None:
    """Of two gateways that decide by their memory whether the last may go, one is told what the other one did."""

    async def scenario(first: Database, second: Database) -> None:
        for name in ("one", "two"):
            await put_deployment(first, DeploymentRow(name, "api", {}))
        copies: dict[Database, list[str]] = {}

        async def read(database: Database) -> None:
            now = await database.numbers()
            copies[database] = [row.name for row in await all_deployments(database)]
            database.known = now

        async def drop(database: Database, name: str) -> bool:
            async with database.turn():
                if len(copies[database]) == 1:
                    return False
                async with database.write() as connection:
                    await connection.execute(text("DELETE FROM deployments WHERE name = :name"), {"name": name})
                return True

        for database in (first, second):
            database.on_turn(partial(read, database))
            await read(database)
        done = await asyncio.gather(drop(first, "one"), drop(second, "two"))
        assert sorted(done) == [False, True]
        assert len(await all_deployments(first)) == 1

    _with(url, 2, scenario)


def test_a_turn_that_was_lost_writes_nothing(url: str) -> None:
    """Where something was changed behind a turn's back, its write is refused, and nothing of it stays."""

    async def scenario(first: Database, second: Database) -> None:
        async def read() -> None:
            first.known = await first.numbers()

        first.on_turn(read)
        async with first.turn():
            await put_deployment(second, DeploymentRow("theirs", "api", {}))
            with pytest.raises(Unavailable, match="try again"):
                await put_deployment(first, DeploymentRow("ours", "api", {}))
        assert [row.name for row in await all_deployments(first)] == ["theirs"]

    _with(url, 2, scenario)


def test_a_lock_is_one_gateways(url: str) -> None:
    """What one gateway does alone no other begins meanwhile, and any may afterwards."""

    async def scenario(first: Database, second: Database) -> None:
        async with first.alone(7) as mine, second.alone(7) as theirs, second.alone(8) as another:
            assert (mine, theirs, another) == (True, False, True)
        async with second.alone(7) as theirs:
            assert theirs

    _with(url, 2, scenario)


def test_a_value_that_cannot_be_stored_is_the_requests_fault(url: str) -> None:
    """A character of number zero, which PostgreSQL does not take, is told as such; the database goes on."""

    async def scenario(database: Database) -> None:
        with pytest.raises(InvalidRequest, match="number zero"):
            await put_deployment(database, DeploymentRow("a\x00b", "api", {}))
        await put_deployment(database, DeploymentRow("x" * 5000, "api", {}))
        assert [len(row.name) for row in await all_deployments(database)] == [5000]

    _with(url, 1, scenario)


@pytest.mark.slow
def test_a_database_that_was_away_is_found_again(postgres: PostgreSQL) -> None:
    """While it is down a change is refused with what to say; afterwards the same connections' pool works."""
    url = postgres.new_database()

    async def scenario(database: Database) -> None:
        await put_fact(database, "a", 1)
        postgres.stop()
        with pytest.raises(Unavailable, match="cannot be used") as told:
            await put_fact(database, "a", 2)
        assert told.value.retry_after_s
        with pytest.raises(Unavailable):
            await get_fact(database, "a")
        postgres.start()
        assert await get_fact(database, "a") == 1
        await put_fact(database, "a", 3)
        assert await get_fact(database, "a") == 3

    _with(url, 1, scenario)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [("mysql://a@b/c", "must begin with postgresql://"), ("postgresql://a:s3cret@b/", "must name a database")],
)
def test_a_wrong_url_is_told_without_its_password(wrong: str, told: str) -> None:
    """The message names the setting and what is wrong, and has nothing of the URL."""
    with pytest.raises(ConfigError, match=told) as error:
        asyncio.run(Database.open(NOWHERE, url=wrong))
    assert error.value.param == "database.url"
    assert "s3cret" not in error.value.message


def _next_schema(folder: Path, compatible_from: str) -> Schema:
    """A schema with one more revision, which adds a table; as a later version of Freehold would have it."""
    copytree(HOME_SCHEMA.folder, folder)
    lines = [
        '"""One more."""',
        "import sqlalchemy as sa",
        "from alembic import op",
        'revision = "9000"',
        f'down_revision = "{HEAD}"',
        "branch_labels = None",
        "depends_on = None",
        "def upgrade():",
        '    op.create_table("more", sa.Column("name", sa.String(64), primary_key=True))',
        '    op.add_column("deployments", sa.Column("more", sa.String(64), nullable=False, server_default="x"))',
    ]
    (folder / "9000_more.py").write_text("\n".join(lines))
    return replace(HOME_SCHEMA, folder=folder, head="9000", compatible_from=compatible_from)


def test_gateways_of_before_go_on_beside_a_newer_one(url: str, tmp_path: Path) -> None:
    """A revision that older code bears is made while that runs; it reads and writes, and may also start again."""
    schema = _next_schema(tmp_path / "versions", HEAD)

    async def scenario(old: Database) -> None:
        await put_deployment(old, DeploymentRow("before", "api", {}))
        await _register(old, "old", HEAD)
        new = await Database.open(NOWHERE, url=url, schema=schema)
        await put_deployment(old, DeploymentRow("after", "api", {}))
        assert {row.name for row in await all_deployments(new)} == {"before", "after"}
        again = await Database.open(NOWHERE, url=url)
        assert len(await all_deployments(again)) == 2
        for database in (new, again):
            await database.close()

    _with(url, 1, scenario)


def test_a_revision_that_older_code_does_not_bear_waits_for_its_end(url: str, tmp_path: Path) -> None:
    """While an older gateway runs the newer one refuses to start and names it; afterwards the older one refuses."""
    schema = _next_schema(tmp_path / "versions", "9000")

    async def scenario(old: Database) -> None:
        await _register(old, "old", HEAD)
        with pytest.raises(HomeError, match=r"'old' \(Freehold 1\)"):
            await Database.open(NOWHERE, url=url, schema=schema)
        await put_deployment(old, DeploymentRow("still", "api", {}))
        await _register(old, "old", HEAD, left=True)
        new = await Database.open(NOWHERE, url=url, schema=schema)
        assert [row.name for row in await all_deployments(new)] == ["still"]
        await new.close()
        with pytest.raises(HomeError, match="newer Freehold"):
            await Database.open(NOWHERE, url=url)

    _with(url, 1, scenario)


async def _register(database: Database, name: str, schema: str, *, left: bool = False) -> None:
    async with database.write() as connection:
        now = await database_time(connection)
        await put_gateway(connection, GatewayRow(name, "home", "1", schema, "", now, now, now if left else None))
