"""`freehold reconcile`: whether the bills are right."""

import asyncio
from pathlib import Path
from typing import Any

import typer

from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import ConfigOption, HomeOption, JsonOption, home_of
from freehold.cli.output import ExitCode, print_error, print_json
from freehold.cli.record_progress import RecordProgress
from freehold.cli.tables import print_table
from freehold.config import Settings, load_settings
from freehold.errors import EngineFailed
from freehold.types.money import decimal_from_micro

app = command_group()

_EPILOG = """\b
Examples:
  freehold reconcile
  freehold reconcile --json | jq .gaps"""


@app.command(epilog=_EPILOG)
def reconcile(home: HomeOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Compare the journal with the usage database and with what the engines count.

    Ends with 1 and names what differs, or with 0. Requests are served meanwhile.
    """
    found = asyncio.run(_reconcile(home_of(home), load_settings(config)))
    if as_json:
        print_json(found)
    else:
        _print(found)
    if found["gap_count"]:
        raise typer.Exit(ExitCode.FAILED)


async def _reconcile(home: Path, settings: Settings) -> dict[str, Any]:
    async with open_control(home, settings) as control:
        with RecordProgress() as progress:
            async for event in control.stream("POST", "/admin/reconcile"):
                if "reconciliation" in event:
                    found: dict[str, Any] = event["reconciliation"]
                    return found
                progress.show(event["records"], event["of"])
    raise EngineFailed("the service ended without an answer; see the server's log")


def _print(found: dict[str, Any]) -> None:
    columns = ("day", "deployment", "requests", "tokens", "cost", "database", "hourly", "daily")
    print_table(columns, [_day(day) for day in found["days"]])
    if found["engines"]:
        print()
        names = ("replica", "deployment", "prompt", "its receipts", "completion", "its receipts", "compared")
        print_table(names, [_engine(engine) for engine in found["engines"]])
    print()
    running = f", {found['running']} still running" if found["running"] else ""
    stretches = f", {found['stretches']} stretches of training" if found["stretches"] else ""
    print(f"{found['records']} records, {found['receipts']} receipts{stretches}{running}")
    for gap in found["gaps"]:
        print_error(gap)
    if found["gap_count"] > len(found["gaps"]):
        print_error(f"and {found['gap_count'] - len(found['gaps'])} more")
    if not found["gap_count"]:
        print("no gap")


def _day(day: dict[str, Any]) -> list[object]:
    journal = day["journal"]
    return [
        day["day"],
        day["deployment"],
        journal["requests"],
        journal["tokens"],
        decimal_from_micro(journal["cost_micro"]),
        *(_agreement(day["database"] == journal, day["hourly_agrees"], day["daily_agrees"])),
    ]


def _agreement(*agree: bool) -> list[str]:
    return ["agrees" if each else "DIFFERS" for each in agree]


def _engine(engine: dict[str, Any]) -> list[object]:
    made, told = engine["engine"], engine["receipts"]
    return [
        engine["replica"],
        engine["deployment"],
        made["prompt_tokens"],
        told["prompt_tokens"],
        made["completion_tokens"],
        told["completion_tokens"],
        "exactly" if engine["exact"] else "at least",
    ]
