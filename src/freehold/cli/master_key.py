"""`freehold master-key`: what the content keys are wrapped by."""

import asyncio
from pathlib import Path
from typing import Any

from freehold.cli.control import Control, open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import ConfigOption, HomeOption, JsonOption, home_of
from freehold.cli.output import print_json, print_note
from freehold.cli.tables import print_table
from freehold.config import load_settings

app = command_group("Exchange the master key of kept content.", "Example: freehold master-key rotate")


@app.callback()
def master_key() -> None:
    """Exchange the master key of kept content, and see which one is in use."""


@app.command("show", epilog="Example: freehold master-key show")
def show_master_key(home: HomeOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the name of the master key in use, and how many content keys each master key wraps."""
    asyncio.run(_show(home_of(home), config, as_json=as_json))


@app.command("rotate", epilog="Example: freehold master-key rotate")
def rotate_master_key(home: HomeOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Wrap every content key anew: by a new master key, where it is the home's own, else by the configured one.

    The master key of before stays until nothing is wrapped by it. If this is interrupted, do it again.
    """
    asyncio.run(_rotate(home_of(home), config, as_json=as_json))


async def _show(home: Path, config: Path | None, *, as_json: bool) -> None:
    async with open_control(home, load_settings(config)) as control:
        answer = await control.request("GET", "/admin/master-key")
    _print(answer, as_json=as_json)


async def _rotate(home: Path, config: Path | None, *, as_json: bool) -> None:
    async with open_control(home, load_settings(config)) as control:
        answer = await _steps(control)
    _print(answer, as_json=as_json)
    if not as_json:
        print_note("The master key is exchanged. Backups from before are still encrypted under the one of before.")


async def _steps(control: Control) -> dict[str, Any]:
    """Step after step until all is wrapped anew; the last answer, with the number of all."""
    total, after = 0, ""
    while True:
        answer = await control.request("POST", "/admin/master-key/rotate", {"after": after})
        total += answer["rewrapped"]
        if answer["after"] is None:
            return {**answer, "rewrapped": total}
        after = answer["after"]


def _print(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    rows = [
        (name, count, "in use" if name == answer["name"] else "known from before")
        for name, count in answer["content_keys"].items()
    ]
    print_table(("master key", "content keys", "state"), rows)
