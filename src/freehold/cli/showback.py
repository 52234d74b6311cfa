"""`freehold usage showback`: what each project used of the whole service, serving and training on one report."""

import asyncio
import csv
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from freehold.cli.control import open_control
from freehold.cli.options import ConfigOption, HomeOption, JsonOption, home_of
from freehold.cli.output import print_json, print_note
from freehold.cli.tables import print_table
from freehold.config import load_settings
from freehold.types.money import decimal_from_micro
from freehold.types.training import HOUR_US

SHOWBACK_EXAMPLE: Final = "Example: freehold usage showback --month 2026-01 --csv > january.csv"
_HOURS: Final = {"device_hours": "device_us", "core_hours": "core_us"}
_MONEY: Final = {"serving": "serving_micro", "training": "training_micro", "total": "total_micro"}
_COLUMNS: Final = (
    "requests",
    "prompt_tokens",
    "completion_tokens",
    "images",
    "serving",
    "trainings",
    "device_hours",
    "core_hours",
    "trained_tokens",
    "training",
    "total",
)


def showback(
    month: Annotated[
        str | None, typer.Option("--month", metavar="YYYY-MM", help="Which month, UTC. [default: this one]")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values with a head.")] = False,
    home: HomeOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each project used in a month: requests to models and trainings, in tokens, hours and money.

    Money is in whole units of the currency of your prices; what an hour of a training costs is in [training].
    """
    if as_csv and as_json:
        raise typer.BadParameter("choose one of --csv and --json")
    since, until = month_of(month)
    answer = asyncio.run(_ask(home_of(home), config, since, until))
    if as_json:
        print_json(answer)
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["organization_id", "organization", "project_id", "project", *_COLUMNS])
        names = ("organization_id", "organization", "project_id", "project")
        writer.writerows([*(line[name] for name in names), *_figures(line)] for line in answer["data"])
    else:
        rows = [[*_whose(line), *_figures(line)] for line in answer["data"]]
        print_table(
            ("organization", "project", *(name.replace("_tokens", "") for name in _COLUMNS)),
            [*rows, ["total", None, *_figures(answer["total"])]],
        )
    projection = answer["projection"]
    if projection["state"] != "ok":
        print_note(f"The last {projection['lag']} records of the journal are not in these figures yet.")


def month_of(text: str | None) -> tuple[int, int]:
    """The first second of a month and that after it, since the epoch, in UTC; of this month without one.

    Raises:
        typer.BadParameter: it is no month.
    """
    now = datetime.now(UTC)
    try:
        begin = (
            datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
            if text
            else datetime(now.year, now.month, 1, tzinfo=UTC)
        )
        end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    except ValueError as exc:
        raise typer.BadParameter(f"'{text}' must be a month such as 2026-01", param_hint="--month") from exc
    return int(begin.timestamp()), int(end.timestamp())


async def _ask(home: Path, config: Path | None, since: int, until: int) -> dict[str, Any]:
    async with open_control(home, load_settings(config)) as control:
        return await control.request("GET", f"/admin/usage/showback?since={since}&until={until}")


def _whose(line: dict[str, Any]) -> tuple[str, str]:
    """Organization and project by their names; by their ids where they are no more."""
    return line["organization"] or line["organization_id"], line["project"] or line["project_id"]


def _figures(line: dict[str, Any]) -> list[object]:
    return [_figure(line, name) for name in _COLUMNS]


def _figure(line: dict[str, Any], name: str) -> object:
    """A figure as people read it: hours with three decimals, money in whole units."""
    if name in _HOURS:
        return f"{line[_HOURS[name]] / HOUR_US:.3f}"
    return decimal_from_micro(line[_MONEY[name]]) if name in _MONEY else line[name]
