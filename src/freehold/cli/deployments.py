"""`freehold deployments`: what callers can name."""

import asyncio
import time
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote

import typer

from freehold.cli.capacity import calibrate, capacity
from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, YesOption, confirm, home_of, pass_on
from freehold.cli.output import print_json, print_note
from freehold.cli.rollout import canary, promote
from freehold.cli.tables import print_table
from freehold.config import parse_settings
from freehold.types.deployment import DeploymentSettings

app = command_group("List, create, scale and delete deployments.", "Example: freehold deployments list")

_CAPACITY_EPILOG = """\b
Examples:
  freehold deployments capacity chat
  freehold deployments capacity chat --units 100 --reserve proj_shop=40 --spillover chat-standard"""

app.command("promote", epilog="Example: freehold deployments promote chat --to ft:chat:1 --dry-run")(promote)
app.add_typer(canary, name="canary")
app.command("calibrate", epilog="Example: freehold deployments calibrate chat")(calibrate)
app.command("capacity", epilog=_CAPACITY_EPILOG)(capacity)

NameArgument: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="The deployment's name.")]


class Task(StrEnum):
    """What a deployment's model is for."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    IMAGES = "images"


class Start(StrEnum):
    """When a deployment's replicas start."""

    EAGER = "eager"
    ON_DEMAND = "on_demand"


ModelOption: TypeAlias = Annotated[
    str, typer.Option("--model", "-m", help="A model's name in the catalog, or its URI.")
]
EngineOption: TypeAlias = Annotated[
    str | None, typer.Option("--engine", "-e", help="auto, llamacpp, remote or echo. [default: auto]")
]
AliasOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--alias", "-a", help="A second name for callers, such as gpt-4o. Repeatable.")
]
TaskOption: TypeAlias = Annotated[Task | None, typer.Option(help="What the model is for. [default: chat]")]
EngineOptionOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--option", "-o", metavar="K=V", help="An option of the engine. Repeatable.")
]
ContextOption: TypeAlias = Annotated[int | None, typer.Option(help="Tokens per request. [default: the model's]")]
ParallelOption: TypeAlias = Annotated[
    int | None, typer.Option(help="Requests that one replica works on at once. [default: 8]")
]
ReplicasOption: TypeAlias = Annotated[int | None, typer.Option(help="Engine processes. [default: 1]")]
StartOption: TypeAlias = Annotated[Start | None, typer.Option(help="When the replicas start. [default: eager]")]
IdleOption: TypeAlias = Annotated[
    float | None, typer.Option("--idle-unload", metavar="SECONDS", help="Stop idle replicas after this long.")
]
FallbackOption: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="A deployment that takes over when this one cannot. Repeatable.")
]
ZoneOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="Where the model runs, for policies that require a zone.")
]
FilterOption: TypeAlias = Annotated[
    str | None, typer.Option("--content-filter", metavar="NAME", help="The content-filter policy before the model.")
]
PromoteOption: TypeAlias = Annotated[
    str | None, typer.Option("--promote-if", metavar="CONDITION", help="What another model has to meet to serve here.")
]
PriceInputOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="AMOUNT", help='Price of a million input tokens, such as "0.15".')
]
PriceCachedOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="AMOUNT", help="Price of a million cached input tokens. [default: --price-input]")
]
PriceOutputOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="AMOUNT", help="Price of a million output tokens.")
]
PriceImageOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="AMOUNT", help="Price of a picture, in whole units.")
]
BaseUrlOption: TypeAlias = Annotated[str | None, typer.Option(metavar="URL", help="For engine remote: the endpoint.")]
KeyEnvOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="VAR", help="For engine remote: the server's variable that holds the key.")
]
KeyFileOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="PATH", help="For engine remote: the server's file that holds the key.")
]

_CREATE_EPILOG = """\b
Examples:
  freehold deployments create small --model smollm2-135m-instruct --alias gpt-4o
  freehold deployments create partner --engine remote --model their-model \\
      --base-url http://127.0.0.1:9001/v1 --api-key-env PARTNER_KEY"""


@app.callback(invoke_without_command=True)
def deployments(ctx: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List, create, scale and delete deployments. Without a command: list them."""
    pass_on(ctx, home, as_json=as_json)
    if ctx.invoked_subcommand is None:
        asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("list", epilog="Example: freehold deployments list --json")
def list_deployments(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the deployments and how they fare."""
    asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("show", epilog="Example: freehold deployments show chat")
def show_deployment(name: NameArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show one deployment: its settings, its engines and replicas, and what was measured of them."""
    asyncio.run(_show(home_of(home), name, as_json=as_json))


@app.command("measure", epilog="Example: freehold deployments measure chat")
def measure_deployment(name: NameArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Measure with which options the engines of a deployment are fastest on this machine, and serve with those.

    Takes some 20 seconds for a small model and slows down what is served meanwhile. The server does it by itself when
    it has nothing to do; options that the deployment names are never changed.
    """
    found = asyncio.run(_measure(home_of(home), name))
    if as_json:
        print_json(found)
    elif not found["data"]:
        print_note("There is nothing to measure: its engines have no such options, or the deployment names them all.")
    else:
        _print_measurements(found["data"])


@app.command("create", epilog=_CREATE_EPILOG)
def create_deployment(
    name: NameArgument,
    model: ModelOption,
    engine: EngineOption = None,
    alias: AliasOption = None,
    task: TaskOption = None,
    option: EngineOptionOption = None,
    context_length: ContextOption = None,
    parallel: ParallelOption = None,
    replicas: ReplicasOption = None,
    start: StartOption = None,
    idle_unload_s: IdleOption = None,
    fallback: FallbackOption = None,
    zone: ZoneOption = None,
    content_filter: FilterOption = None,
    promote_if: PromoteOption = None,
    price_input: PriceInputOption = None,
    price_cached_input: PriceCachedOption = None,
    price_output: PriceOutputOption = None,
    price_image: PriceImageOption = None,
    base_url: BaseUrlOption = None,
    api_key_env: KeyEnvOption = None,
    api_key_file: KeyFileOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a deployment. A running server starts it at once."""
    settings = {
        "name": name,
        "model": model,
        "engine": engine,
        "aliases": alias,
        "task": task and task.value,
        "options": dict(_option(text) for text in option or []),
        "context_length": context_length,
        "parallel": parallel,
        "replicas": replicas,
        "start": start and start.value,
        "idle_unload_s": idle_unload_s,
        "fallbacks": fallback,
        "zone": zone,
        "content_filter": content_filter,
        "promote_if": promote_if,
        "price": _given(
            {
                "input": price_input,
                "cached_input": price_cached_input,
                "output": price_output,
                "image": price_image,
            }
        ),
        "base_url": base_url,
        "api_key": _given({"env": api_key_env, "file": api_key_file}),
    }
    _create(home_of(home), _given(settings), as_json=as_json)


@app.command("scale", epilog="Example: freehold deployments scale chat 2")
def scale_deployment(
    name: NameArgument,
    replicas: Annotated[int, typer.Argument(metavar="N", min=0, help="How many engine processes.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change how many replicas a deployment has."""
    scaled = asyncio.run(_call(home_of(home), "PATCH", _path(name), {"replicas": replicas}))
    if as_json:
        print_json(scaled)
    else:
        print(f"{name} has {replicas} {'replica' if replicas == 1 else 'replicas'} now ({_state(scaled)})")


@app.command("delete", epilog="Example: freehold deployments delete small --yes")
def delete_deployment(
    name: NameArgument, yes: YesOption = False, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Delete a deployment. Its running requests may finish; its model stays in the catalog."""
    confirm(f"Delete the deployment '{name}'?", yes=yes)
    answer = asyncio.run(_call(home_of(home), "DELETE", _path(name)))
    if as_json:
        print_json(answer)
    else:
        print(f"deleted {name}")


def _create(home: Path, body: dict[str, Any], *, as_json: bool) -> None:
    """Create a deployment with these settings, after a look at them here."""
    parse_settings(body, DeploymentSettings)
    created = asyncio.run(_call(home, "POST", "/admin/deployments", body))
    if as_json:
        print_json(created)
    else:
        print(f"created {created['name']} ({_state(created)})")


def _path(name: str) -> str:
    return f"/admin/deployments/{quote(name, safe='')}"


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """The values that were given."""
    return {name: value for name, value in values.items() if value not in (None, [], {})}


def _option(text: str) -> tuple[str, Any]:
    """An engine option from `name=value`; the value is read as TOML where it is TOML, and as text otherwise.

    Raises:
        typer.BadParameter: there is no "=".
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"'{text}' must be NAME=VALUE", param_hint="--option")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value


async def _call(home: Path, method: str, path: str, body: Any = None) -> dict[str, Any]:
    async with open_control(home) as control:
        return await control.request(method, path, body)


async def _list(home: Path, *, as_json: bool) -> None:
    answer = await _call(home, "GET", "/admin/deployments")
    if as_json:
        print_json(answer)
        return
    if not answer["data"]:
        print_note("There are no deployments yet; 'freehold serve' makes the starter set in a new home.")
        return
    columns = ["name", "state", "replicas", "model", "engine", "aliases", "price in/out", "origin"]
    rows = [list(_row(found)) for found in answer["data"]]
    if any(_utilization(found) for found in answer["data"]):
        columns.append("capacity used")
        for row, found in zip(rows, answer["data"], strict=True):
            row.append(_utilization(found))
    print_table(columns, rows)


def _utilization(found: dict[str, Any]) -> str:
    """How much of its units a deployment used in the last minute; empty where it has none."""
    capacity = found["capacity"]
    if not capacity or capacity["units"] is None:
        return ""
    return f"{capacity['utilization'] or 0:.0f} % of {capacity['units']} units"


def _state(found: dict[str, Any]) -> str:
    """How a deployment fares; without a running server nobody knows, for nothing runs."""
    state: str = found["state"]
    return "not running" if state == "unknown" else state


def _row(found: dict[str, Any]) -> tuple[object, ...]:
    """A deployment as a row of the list."""
    settings = parse_settings(found["settings"], DeploymentSettings)
    scale = found["scale"]
    wanted = settings.replicas if scale is None else scale["wanted"]
    ready = min(sum(replica["state"] == "ready" for replica in found["replicas"]), wanted)
    price = settings.price_at(time.time()).wire()
    return (
        found["name"],
        _state(found),
        f"{ready}/{wanted}" if scale is None else f"{ready}/{wanted} ({scale['min']} to {scale['max']})",
        settings.model,
        settings.engine,
        ", ".join(settings.aliases),
        f"{price['input']}/{price['output']}" if settings.price else "",
        found["origin"],
    )


async def _measure(home: Path, name: str) -> dict[str, Any]:
    async with open_control(home) as control:
        return await control.request("POST", f"{_path(name)}/measurements", unhurried=True)


async def _show(home: Path, name: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        found = await control.request("GET", _path(name))
        measured = (await control.request("GET", f"{_path(name)}/measurements"))["data"]
    if as_json:
        print_json(found | {"measurements": measured})
        return
    _print_one(found)
    _print_measurements(measured)


def _print_measurements(measured: list[dict[str, Any]]) -> None:
    """Show what was tried of each engine, what it came to, and what is taken."""
    for each in measured:
        taken = _options_text(each["options"]) if each["options"] else "the engine's defaults"
        print(f"\nmeasured of {each['engine']} {each['version']}".rstrip() + f" on {each['machine']}; taken: {taken}")
        if each["failure"]:
            print(f"  {each['failure']}")
        names = list(dict.fromkeys(name for candidate in each["candidates"] for name in candidate["figures"]))
        rows = [
            [_options_text(candidate["options"]), *(candidate["figures"].get(name) for name in names)]
            for candidate in each["candidates"]
        ]
        if rows:
            print_table(("options", *names), rows)


def _options_text(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in options.items()) or "none"


def _print_one(found: dict[str, Any]) -> None:
    """Show a deployment as a list of its facts."""
    facts: dict[str, Any] = {"name": found["name"], "state": _state(found), "origin": found["origin"]}
    facts |= {name: value for name, value in found["settings"].items() if name != "name"}
    facts |= {name: found.get(name) for name in ("context_length", "embedding_dimensions") if found.get(name)}
    if found["prompt_cache"]:
        facts["prompt cache"] = _prompt_cache(found["prompt_cache"])
    if scale := found["scale"]:
        facts["autoscale"] = f"{scale['min']} to {scale['max']}, now {scale['wanted']}: {scale['reason']}"
    if _utilization(found):
        facts["capacity used"] = _utilization(found)
    facts["features"] = ", ".join(found.get("features") or [])
    print_table(("setting", "value"), list(facts.items()))
    if found["engines"]:
        print_table(
            ("engine", "state", "why"), [[each[key] for key in ("engine", "state", "why")] for each in found["engines"]]
        )
    if found["replicas"]:
        columns = ("id", "engine", "state", "pid", "memory", "restarts", "in_flight", "error")
        shown = [replica | {"memory": _mebibytes(replica["memory_bytes"])} for replica in found["replicas"]]
        print_table(columns, [[replica.get(column) for column in columns] for replica in shown])


def _prompt_cache(cache: dict[str, Any]) -> str:
    """How requests are sent to what has read their prompts, in words."""
    way = "requests go to the replica that knows their prompt" if cache["by_prompt"] else "requests go to any replica"
    settled = "" if cache["decided"] else ", being tried"
    gain = "" if cache["gain"] is None else f"; first pieces {cache['gain']:+.0%} sooner by prompt, when last tried"
    counts = ", ".join(f"{count} {outcome}" for outcome, count in cache["outcomes"].items())
    return f"{way}{settled}{gain} ({counts})"


def _mebibytes(size: int | None) -> str | None:
    return None if size is None else f"{size / 2**20:.0f} MiB"
