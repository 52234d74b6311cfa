"""`freehold serve`: start the service on this machine."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from freehold.app import open_app
from freehold.app_parts import open_registry
from freehold.app_records import open_database
from freehold.c_memory import share_arenas
from freehold.catalog.catalog import Catalog
from freehold.cli.cluster_settings import on_cluster
from freehold.cli.lazy import command_group, load
from freehold.cli.options import ConfigOption, HomeOption, home_of
from freehold.cli.output import print_note
from freehold.config import Settings, load_settings
from freehold.engines.registry import get_engine
from freehold.errors import CatalogError, UnknownModel
from freehold.listening import held_collector
from freehold.log_lines import configure_logging
from freehold.server import Announcement, run
from freehold.store.home import Home
from freehold.types.deployment import DeploymentSettings
from freehold.types.model import Progress

app = command_group()

_EPILOG = """\b
Examples:
  freehold serve
  freehold serve --port 9000 --config freehold.toml"""


@app.command(epilog=_EPILOG)
def serve(
    home: HomeOption = None,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where to listen. [default: the file's, or 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="0 takes a free one. [default: the file's, or 8080]")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="How many processes take requests. [default: the file's, or 1]"),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="The head of the cluster that engines run on. [default: the file's]"),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Start the service: fetch what models are missing, start the deployments, answer requests.

    What a person should know goes to stdout, the log (one JSON line an event) to stderr. Ctrl-C or SIGTERM lets
    running requests finish and ends with exit code 0; a second one does not wait for them.
    """
    share_arenas()
    place = home_of(home)
    given = {
        name: value for name, value in {"host": host, "port": port, "workers": workers}.items() if value is not None
    }
    settings = load_settings(config)
    settings = settings.model_copy(update={"server": settings.server.model_copy(update=given)})
    if cluster is not None:
        settings = on_cluster(settings, cluster)
    configure_logging(settings.server.log_level)
    first_start = not Home(place).admin_key.exists()

    def announce(announcement: Announcement) -> None:
        key = Home(place).admin_key.read_text(encoding="utf-8").strip() if first_start else None
        _announce(place, announcement, key)

    with held_collector():
        complete = asyncio.run(_has_all(place, settings))
    if not complete:
        asyncio.run(_fetch_missing(place, settings))  # takes as long as it takes, so not with the collector held
    with held_collector():
        status = run(place, settings, announce=announce)
    raise typer.Exit(status)


async def _fetch_missing(place: Path, settings: Settings) -> None:
    """Fetch the models of all deployments that start at once.

    A model that cannot be fetched now is told of and left to the running server, which tries again: the other
    deployments should not wait for it.
    """
    async with open_app(place, settings, engines=False) as application:
        missing = await _missing(application.catalog, (view.deployment.settings for view in application.control.all()))
        if not missing:
            return
        with load("freehold.cli.progress:FetchProgress")() as progress:
            for model in missing:

                def show(state: Progress) -> None:
                    progress.show(state.stage, state.done_bytes, state.total_bytes)

                progress.begin(model)
                try:
                    await application.catalog.pull(model, progress=show)
                except CatalogError as exc:
                    print_note(f"warning: the model '{model}' cannot be fetched now: {exc.message}")


async def _has_all(place: Path, settings: Settings) -> bool:
    """Whether the home is known to have every model that a deployment needs at once; then nothing else is opened.

    Raises:
        HomeError: another process serves the home; or as `open_app`.
    """
    home = Home(place)
    with home.locked():
        database = await open_database(home, settings)
        try:
            registry = await open_registry(database, settings)
            catalog = Catalog(database, home.models, settings.catalog)
            return not await _missing(catalog, (found.settings for found in registry.all()))
        finally:
            await database.close()


async def _missing(catalog: Catalog, deployments: Iterable[DeploymentSettings]) -> list[str]:
    """The models that are not on disk and that a deployment needs at once, each once."""
    missing: dict[str, None] = {}
    for settings in deployments:
        if not _needs_model(settings):
            continue
        try:
            await catalog.find(settings.model)
        except UnknownModel:
            missing[settings.model] = None
    return list(missing)


def _needs_model(settings: DeploymentSettings) -> bool:
    """Whether a deployment loads a model file as soon as the server starts."""
    return settings.start == "eager" and settings.replicas > 0 and get_engine(settings.engine).needs_weights


def _announce(place: Path, announcement: Announcement, new_key: str | None) -> None:
    """Tell where the service is and, at the very first start, with which key to call it."""
    names = ", ".join(announcement.deployments) or "none yet; create one with 'freehold deployments create'"
    print(f"Freehold is serving on {announcement.url}")
    if announcement.first_link:
        print(f"  Begin        {announcement.first_link}")
        print("               opens the product once, for whoever is to administer it")
    else:
        print(f"  Product      {announcement.url}/")
    print(f"  API          {announcement.api_base}")
    print(f"  Deployments  {names}")
    print(f"  Admin key    {new_key or Home(place).admin_key}")
    if new_key:
        print(f"               shown this once; kept in {Home(place).admin_key}")
    print("Stop it with Ctrl-C.", flush=True)
