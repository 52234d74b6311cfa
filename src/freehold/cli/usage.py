"""`freehold usage`: what was used, and what it costs."""

import asyncio
import csv
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import urlencode

import typer
from rich.console import Console
from rich.text import Text

from freehold.cli.control import Control, open_control
from freehold.cli.keys import find_key
from freehold.cli.lazy import command_group
from freehold.cli.listing import project_meant
from freehold.cli.moments import moment
from freehold.cli.options import ConfigOption, HomeOption, JsonOption, YesOption, confirm, home_of, pass_on
from freehold.cli.output import print_json, print_note
from freehold.cli.record_progress import RecordProgress
from freehold.cli.showback import SHOWBACK_EXAMPLE, showback
from freehold.cli.tables import print_table
from freehold.config import load_settings
from freehold.errors import Unavailable
from freehold.types.money import decimal_from_micro

_EPILOG = """\b
Examples:
  freehold usage
  freehold usage --by deployment --since 2026-01-01 --until 2026-01-31
  freehold usage --by end-user --project proj-default --csv > bill.csv"""

app = command_group("Show what was used and what it costs.", _EPILOG)


class By(StrEnum):
    """What usage is kept apart by."""

    DAY = "day"
    HOUR = "hour"
    DEPLOYMENT = "deployment"
    PROJECT = "project"
    KEY = "key"
    END_USER = "end-user"
    OUTCOME = "outcome"
    MODEL = "model"


ByOption: TypeAlias = Annotated[By, typer.Option("--by", help="What to keep apart.")]
SinceOption: TypeAlias = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="First day or moment, UTC. [default: this month's first]")
]
UntilOption: TypeAlias = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Last day, or the moment at which to end. [default: now]")
]
ProjectOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--project", metavar="ID|NAME", help="Only this one. Repeatable.")
]
KeyOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--key", metavar="ID|NAME", help="Only this key. Repeatable.")
]
EndUserOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--end-user", metavar="NAME", help="Only this user of a caller. Repeatable.")
]
DeploymentOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--deployment", metavar="NAME", help="Only this one. Repeatable.")
]
CsvOption: TypeAlias = Annotated[bool, typer.Option("--csv", help="Print comma-separated values with a head.")]
ChartOption: TypeAlias = Annotated[bool, typer.Option("--chart", help="Draw bars.")]

_COLUMNS: Final = (
    "requests",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "images",
    "cost",
)
_POLL_S: Final = 0.5


@app.callback(invoke_without_command=True)
def usage(
    ctx: typer.Context,
    by: ByOption = By.DAY,
    since: SinceOption = None,
    until: UntilOption = None,
    project: ProjectOption = None,
    key: KeyOption = None,
    end_user: EndUserOption = None,
    deployment: DeploymentOption = None,
    as_csv: CsvOption = False,
    chart: ChartOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was used and what it costs; without options this month, by day.

    A day is 2026-01-31, a moment 2026-01-31T09:30, both in UTC. The cost is in whole units of the currency of your
    prices. An end user is found by the name that callers give, and shown as the digest that is kept instead of it.
    """
    pass_on(ctx, home, as_json=as_json)
    if ctx.invoked_subcommand is not None:
        return
    if as_csv + chart + as_json > 1:
        raise typer.BadParameter("choose one of --csv, --chart and --json")
    this_month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    values = {
        "by": by.value,
        "since": _seconds(moment(since, "--since") if since else this_month),
        "until": _seconds(moment(until, "--until", last=True)) if until else None,
        "project": project,
        "key": key,
        "end_user": end_user,
        "deployment": deployment,
    }
    given = {name: value for name, value in values.items() if value is not None}
    answer = asyncio.run(_used(home_of(home), config, given))
    if as_json:
        print_json(answer)
    elif as_csv:
        _print_csv(by, answer)
    elif chart:
        _print_chart(by, answer)
    else:
        _print_table(by, answer)
    _note(answer["projection"])


@app.command("rebuild", epilog="Example: freehold usage rebuild --yes")
def rebuild(
    yes: YesOption = False, home: HomeOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Empty the usage database and make it anew from the journal.

    What came from parts of the journal that were deleted since stays as it is, unless the database was made from
    another journal. Requests are served meanwhile.
    """
    confirm("Empty the usage database and make it anew from the journal?", yes=yes)
    answer = asyncio.run(_rebuild(home_of(home), config))
    if as_json:
        print_json(answer)
    else:
        print(f"rebuilt {answer['database']} up to record {answer['projected']} of the journal")


app.command("showback", epilog=SHOWBACK_EXAMPLE)(showback)


async def _rebuild(home: Path, config: Path | None) -> dict[str, Any]:
    """Begin, and wait until everything that was there is in the database again."""
    async with open_control(home, load_settings(config)) as control:
        answer = await control.request("POST", "/admin/usage/rebuild")
        target = answer["projected"] + answer["lag"]
        with RecordProgress() as progress:
            while answer["projected"] < target:
                progress.show(answer["projected"], target)
                if answer["state"] == "failing":
                    raise Unavailable(answer["reason"])
                await asyncio.sleep(_POLL_S)
                answer = await control.request("GET", "/admin/usage/projection")
    return answer


async def _used(home: Path, config: Path | None, values: dict[str, Any]) -> dict[str, Any]:
    """What was used; projects and keys may be called by their names.

    Raises:
        NotFound: nothing is called so.
    """
    async with open_control(home, load_settings(config)) as control:
        named = {
            "project": [await project_meant(control, each) for each in values.get("project", [])],
            "key": [await _key_meant(control, each) for each in values.get("key", [])],
        }
        answer = await control.request("GET", f"/admin/usage?{urlencode({**values, **named}, doseq=True)}")
    return dict(answer)


async def _key_meant(control: Control, wanted: str) -> str:
    return wanted if wanted.startswith("key_") else str((await find_key(control, wanted))["id"])


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


def _label(by: By, key: Any) -> str:
    """What a line is about, as people read it; empty if requests have no such thing."""
    if by not in {By.DAY, By.HOUR}:
        return key or ""
    return datetime.fromtimestamp(key, UTC).strftime("%Y-%m-%d" if by is By.DAY else "%Y-%m-%d %H:00")


def _figures(line: dict[str, Any]) -> list[object]:
    return [decimal_from_micro(line["cost_micro"]) if name == "cost" else line[name] for name in _COLUMNS]


def _print_table(by: By, answer: dict[str, Any]) -> None:
    rows = [[_label(by, line["key"]), *_figures(line)] for line in answer["data"]]
    names = [by.value, *(name.replace("_tokens", "") for name in _COLUMNS)]
    print_table(names, [*rows, ["total", *_figures(answer["total"])]])


def _print_csv(by: By, answer: dict[str, Any]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([by.value.replace("-", "_"), *_COLUMNS])
    writer.writerows([_label(by, line["key"]), *_figures(line)] for line in answer["data"])


def _print_chart(by: By, answer: dict[str, Any]) -> None:
    """A bar for each line: its cost or, where nothing costs anything, its tokens."""
    lines = answer["data"]
    costs = any(line["cost_micro"] for line in lines)
    sizes = [line["cost_micro"] if costs else line["prompt_tokens"] + line["completion_tokens"] for line in lines]
    shown = [decimal_from_micro(size) if costs else str(size) for size in sizes]
    labels = [_label(by, line["key"]) or "-" for line in lines]
    console = Console(highlight=False)
    widest = max(map(len, labels), default=0)
    room = max(10, console.width - widest - max(map(len, shown), default=0) - 4)
    largest = max(sizes, default=0)
    print_note(f"{'cost' if costs else 'tokens'} by {by.value}")
    for label, size, figure in zip(labels, sizes, shown, strict=True):
        bar = "█" * (max(1, round(room * size / largest)) if size else 0)
        console.print(Text.assemble(f"{label:<{widest}}  ", (bar, "green"), f"{' ' if bar else ''}{figure}"))


def _note(projection: dict[str, Any]) -> None:
    """Tell where the figures are not up to date."""
    if projection["state"] != "ok":
        reason = f" ({projection['reason']})" if projection["reason"] else ""
        print_note(f"The last {projection['lag']} records of the journal are not in these figures yet{reason}.")
