"""Options that many commands share, and how they are read."""

import sys
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from freehold.config import home_from_environment

HomeOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Where all state is kept. [default: $FREEHOLD_HOME or ~/.freehold]"),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, errors included, for scripts.")]
YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ConfigOption: TypeAlias = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="The TOML file with the settings.")
]


def home_of(option: Path | None) -> Path:
    """The home that was asked for, as an absolute path."""
    return option.expanduser().absolute() if option is not None else home_from_environment()


def pass_on(ctx: typer.Context, home: Path | None, *, as_json: bool) -> None:
    """Give options that stand before the subcommand's name to the subcommand."""
    if ctx.invoked_subcommand is not None:
        given = {"home": home, "as_json": as_json or None}
        ctx.default_map = {ctx.invoked_subcommand: {name: value for name, value in given.items() if value is not None}}


def confirm(question: str, *, yes: bool) -> None:
    """Return if the person agrees, or has agreed with --yes.

    Raises:
        typer.Abort: they do not agree.
        typer.BadParameter: there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is nobody to ask; add --yes to go on without asking")
    typer.confirm(question, abort=True, err=True)
