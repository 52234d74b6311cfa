"""`freehold deployments calibrate` and `capacity`: how many units replicas carry, and who has them."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote

import typer

from freehold.cli.control import open_control
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import print_json, print_note, visible
from freehold.cli.tables import print_table
from freehold.config import parse_settings
from freehold.types.capacity import (
    COMPLETION_TOKENS_PER_UNIT,
    EMBEDDED_TOKENS_PER_UNIT,
    PICTURES_PER_UNIT,
    CapacitySettings,
)

DeploymentArgument: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="The deployment's name.")]
UnitsOption: TypeAlias = Annotated[int | None, typer.Option(metavar="N", help="Give it so many units.")]
ProjectOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="ID", help="The project whose all units are. [default: everybody's]")
]
ReserveOption: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="ID=N", help="Units that are a project's own. Repeatable.")
]
SpilloverOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="The deployment that takes what goes beyond. [default: refuse it]")
]
BurstOption: TypeAlias = Annotated[
    float | None,
    typer.Option("--burst", metavar="SECONDS", help="Work of so many seconds may be taken at once. [default: 10]"),
]
SecondsOption: TypeAlias = Annotated[
    float | None, typer.Option(metavar="S", help="How long to measure at each number of callers. [default: 4]")
]
ForceOption: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Take more units than the replicas were measured to carry.")
]
RemoveOption: TypeAlias = Annotated[bool, typer.Option("--remove", help="Take its units away.")]


def calibrate(
    name: DeploymentArgument, seconds: SecondsOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Measure how many units of capacity the replicas of a deployment carry, with real requests.

    Takes some half a minute for a small model and uses all that the replicas can do: have nothing else run meanwhile.
    """
    body = None if seconds is None else {"seconds": seconds}
    found = asyncio.run(_call(home_of(home), "POST", f"{_path(name)}/calibration", body, unhurried=True))
    if as_json:
        print_json(found)
        return
    _print_calibration(found)


def capacity(
    name: DeploymentArgument,
    units: UnitsOption = None,
    project: ProjectOption = None,
    reserve: ReserveOption = None,
    spillover: SpilloverOption = None,
    burst_s: BurstOption = None,
    remove: RemoveOption = False,
    force: ForceOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a deployment's units of capacity, or give it some with --units, or take them away with --remove."""
    given = {
        "units": units,
        "project": project,
        "reserved": dict(_reserved(text) for text in reserve or []) or None,
        "spillover": spillover,
        "burst_s": burst_s,
    }
    body = {key: value for key, value in given.items() if value is not None}
    if remove and body:
        raise typer.BadParameter("say either --remove or what it is to have", param_hint="--remove")
    if body and units is None:
        raise typer.BadParameter("say how many units it is to have", param_hint="--units")
    path, folder = f"{_path(name)}/capacity", home_of(home)
    if remove:
        asyncio.run(_call(folder, "DELETE", path))
    elif body:
        parse_settings(body, CapacitySettings)
        asyncio.run(_call(folder, "PUT", path + ("?force=true" if force else ""), body))
    found = asyncio.run(_call(folder, "GET", path))
    if as_json:
        print_json(found)
    else:
        _print_capacity(found)


def _path(name: str) -> str:
    return f"/admin/deployments/{quote(name, safe='')}"


def _reserved(text: str) -> tuple[str, int]:
    """A project's id and its units from `ID=N`.

    Raises:
        typer.BadParameter: it is not that.
    """
    project, equals, units = text.rpartition("=")
    if not equals or not project or not units.isdecimal():
        raise typer.BadParameter(f"'{text}' must be ID=N", param_hint="--reserve")
    return project, int(units)


async def _call(home: Path, method: str, path: str, body: Any = None, *, unhurried: bool = False) -> dict[str, Any]:
    async with open_control(home) as control:
        return await control.request(method, path, body, unhurried=unhurried)


def _print_calibration(found: dict[str, Any]) -> None:
    replicas = found["replicas"]
    measured = datetime.fromtimestamp(found["measured_at"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    print(
        visible(
            f"{found['deployment']} carries {found['units']} units with {replicas} "
            f"{'replica' if replicas == 1 else 'replicas'} of {found['engine']} {found['version']}".rstrip()
            + f" on {found['machine']}, measured {measured}"
        )
    )
    rates = {
        "prompt": (found["prompt_tokens_per_s"], "tokens/s"),
        "cached prompt": (found["cached_tokens_per_s"], "tokens/s"),
        "completion": (found["completion_tokens_per_s"], "tokens/s"),
        "pictures": (found["images_per_s"] * 60, "a minute"),
    }
    print_table(("what", "at most", ""), [(what, f"{rate:,.1f}", unit) for what, (rate, unit) in rates.items() if rate])
    print()
    print_table(
        ("measured", "callers", "a second"),
        [(level["kind"], level["concurrency"], f"{level['per_s']:,.2f}") for level in found["levels"]],
    )
    print_note(
        f"One unit is {COMPLETION_TOKENS_PER_UNIT} tokens of completions a minute, {EMBEDDED_TOKENS_PER_UNIT:,} "
        f"embedded tokens a minute, or a picture in {1 / PICTURES_PER_UNIT:g} minutes."
    )
    if found["disturbed"]:
        print_note("Other requests ran meanwhile, so it carries more than was measured.")
    if not found.get("holds", True):
        print_note("The deployment has another model, engine or machine now: calibrate it again.")


def _print_capacity(found: dict[str, Any]) -> None:
    if found["units"] is None:
        print(visible(f"{found['deployment']} has no units; it serves what it can"))
        if found["available"] is not None:
            print(f"it could have {found['available']}: its replicas carry {found['carried']}")
        return
    print(
        visible(
            f"{found['deployment']} has {found['units']} units"
            + ("" if found["carried"] is None else f" of the {found['carried']} that its replicas carry")
            + ("" if found["spillover"] is None else f"; what goes beyond goes to {found['spillover']}")
        )
    )
    if found["utilization"] is not None:
        print(f"utilization of the last minute: {found['utilization']:.1f} %")
    columns = ("project", "units", "utilization %", "bucket %")
    rows = [
        (share["project"] or "everybody", share["units"], share["utilization"], share["bucket_filled"])
        for share in found["shares"]
    ]
    if rows:
        print_table(columns, rows)
    parts = [(visible(part["gateway"]), part["utilization"], part["held"]) for part in found.get("gateways", [])]
    if parts:
        print()
        print_table(("gateway", "utilization %", "held %"), parts)
    if found["warning"] is not None:
        print_note(visible(found["warning"]))
