"""`freehold database`: where the home's database is."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.app_records import gateway_name, remember_database
from freehold.cli.lazy import command_group
from freehold.cli.options import ConfigOption, HomeOption, JsonOption, home_of
from freehold.cli.output import print_json
from freehold.cli.tables import print_table
from freehold.config import Settings, load_settings, read_secret
from freehold.encryption.shared_pepper import share_pepper
from freehold.errors import ConfigError, HomeError, NotFound
from freehold.log_lines import configure_logging
from freehold.store.database import Database
from freehold.store.home import Home, write_private
from freehold.store.moving import Moved, are_empty, copy_tables, digest_of, home_tables
from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_tables import usage_metadata
from freehold.types.deployment import SecretRef

app = command_group("Move the home's database to PostgreSQL.", "Example: freehold database move --config freehold.toml")


@app.callback()
def database() -> None:
    """Move the home's database to PostgreSQL, which several gateways can share."""


@app.command("move", epilog="Example: freehold database move --config freehold.toml")
def move(
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="URL",
            help="postgresql://user@host/name. [default: what [database] of --config says, where a password is safe]",
        ),
    ] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move everything from the home's SQLite files to PostgreSQL, and compare every row. The server must not run.

    The tables there must be empty. If anything goes wrong nothing has changed; the files stay beside, as
    freehold.db.moved and usage.db.moved, until you delete them.
    """
    configure_logging("error")
    settings = load_settings(config)
    place = Home(home_of(home))
    if not place.database.exists():
        raise NotFound(f"there is no database in {place.root}; give another --home")
    if to is None and settings.database.url is None:
        raise ConfigError("give --to, or a --config file with [database]", param="database.url")
    with place.locked():
        moved = asyncio.run(_move(place, settings, to))
    if as_json:
        print_json({"object": "list", "data": [asdict(each) for each in moved]})
        return
    print_table(("table", "rows", "sha256"), [(each.name, str(each.rows), each.sha256[:16]) for each in moved])
    print(f"{sum(each.rows for each in moved)} rows moved and compared. Start the server with [database] in its")
    print(f"configuration file. The files of before are {place.database}.moved and, with the usage, usage.db.moved.")


async def _move(home: Home, settings: Settings, to: str | None) -> list[Moved]:
    url = to if to is not None else read_secret(settings.database.url) if settings.database.url else ""
    async with AsyncExitStack() as stack:
        source = await Database.open(home.database)
        stack.push_async_callback(source.close)
        await share_pepper(source, home, settings.encryption)  # which is moved with the rest
        target = await Database.open(home.database, url=url)
        stack.push_async_callback(target.close)
        async with source.read() as here, target.write() as there:
            moved = await _copied(here, there, home_tables(), target.shown)
        if home.usage_database.exists() and settings.usage.database is None:
            moved += await _move_usage(home, url)
    remember_database(home, settings.database.url or _kept(home, url), gateway_name(home, settings))
    for file in (home.usage_database,) if settings.usage.database is None else ():
        if file.exists():
            _put_aside(file)
    _put_aside(home.database)
    return moved


def _kept(home: Home, url: str) -> SecretRef:
    """Keep a URL that stands in no configuration file in the home."""
    file = home.root / "secrets" / "database-url"
    write_private(file, url.encode())
    return SecretRef(file=str(file))


def _put_aside(file: Path) -> None:
    file.replace(file.with_name(f"{file.name}.moved"))


async def _move_usage(home: Home, url: str) -> list[Moved]:
    source, target = UsageDatabase.at(home.usage_database), UsageDatabase.at(home.usage_database, url, param="--to")
    try:
        async with source.read() as here, target.write() as there:
            return await _copied(here, there, usage_metadata.sorted_tables, target.shown)
    finally:
        await source.close()
        await target.close()


async def _copied(here: AsyncConnection, there: AsyncConnection, tables: Sequence[Table], shown: str) -> list[Moved]:
    """Copy tables; what an interrupted move has already brought there is compared instead."""
    if await are_empty(there, tables):
        return await copy_tables(here, there, tables)
    before = [await digest_of(here, table) for table in tables]
    after = [await digest_of(there, table) for table in tables]
    if before != after:
        raise HomeError(f"the database {shown} is not empty; name a new one. Nothing was moved")
    return after
