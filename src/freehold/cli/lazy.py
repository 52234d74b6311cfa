"""Commands that are imported only when they are called, so that the program answers at once.

A command is registered by its name, one line about it, and "module:attribute" of a `typer.Typer`.
"""

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


def load(target: str) -> Any:
    """The attribute that "module:attribute" names."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def command_group(about: str | None = None, epilog: str | None = None) -> typer.Typer:
    """A set of commands in the style of this program: plain help, errors that `run` prints."""
    return typer.Typer(
        help=about,
        epilog=epilog,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """One command: how it is called, what it does in one line, and where it is."""

    name: str
    summary: str
    target: str

    def listed(self) -> TyperCommand:
        """What stands for the command in lists, without importing it."""
        return TyperCommand(self.name, help=self.summary, rich_markup_mode=None)

    def resolved(self) -> Any:
        """The command itself, imported."""
        gc.disable()  # what is imported stays; to search it for dead cycles takes an eighth of the time
        try:
            command = get_command(load(self.target))
        finally:
            gc.enable()
        command.name = self.name
        return command


class LazyGroup(TyperGroup):
    """A group of `LazyCommand`s; a subclass names them."""

    lazy: Sequence[LazyCommand] = ()

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for command in self.lazy:
            self.add_command(command.listed())

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # the signature is the base's
        """The names, in the order of the registry."""
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that is to run, and import it."""
        name, command, rest = super().resolve_command(ctx, args)
        found = next((lazy for lazy in self.lazy if lazy.name == name), None)
        return name, found.resolved() if found else command, rest
