"""The command line: which commands there are, and how their errors end."""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

import freehold
from freehold.cli.lazy import LazyCommand, LazyGroup, command_group
from freehold.cli.output import ExitCode, error_body, exit_code, print_error
from freehold.errors import FreeholdError

COMMANDS: tuple[LazyCommand, ...] = (
    LazyCommand("serve", "Start the service on this machine.", "freehold.cli.serve:app"),
    LazyCommand("chat", "Talk with a deployment.", "freehold.cli.chat:app"),
    LazyCommand("complete", "Let a deployment continue a text.", "freehold.cli.complete:app"),
    LazyCommand("embed", "Turn texts into vectors.", "freehold.cli.embed:app"),
    LazyCommand("paint", "Paint pictures.", "freehold.cli.paint:app"),
    LazyCommand("pull", "Fetch a model into the catalog.", "freehold.cli.pull:app"),
    LazyCommand("jobs", "List, show, watch, pause and cancel jobs.", "freehold.cli.jobs:app"),
    LazyCommand("models", "List and delete the catalog's models.", "freehold.cli.models:app"),
    LazyCommand("deployments", "List, create, scale and delete deployments.", "freehold.cli.deployments:app"),
    LazyCommand("apply", "Make the deployments what a file says.", "freehold.cli.apply:app"),
    LazyCommand("keys", "Create, list, rotate and revoke API keys.", "freehold.cli.keys:app"),
    LazyCommand("projects", "Make, rename and archive projects.", "freehold.cli.projects:app"),
    LazyCommand("members", "Add people to a project and remove them.", "freehold.cli.members:app"),
    LazyCommand("service-accounts", "Make, list and delete service accounts.", "freehold.cli.service_accounts:app"),
    LazyCommand("invites", "Invite people into the organization.", "freehold.cli.invites:app"),
    LazyCommand("roles", "List the roles and what they allow.", "freehold.cli.roles:app"),
    LazyCommand("organizations", "Make and list organizations.", "freehold.cli.organizations:app"),
    LazyCommand("can", "Tell whether somebody may do something, and why.", "freehold.cli.can:app"),
    LazyCommand("users", "Make, list and disable users.", "freehold.cli.users:app"),
    LazyCommand("database", "Move the home's database to PostgreSQL.", "freehold.cli.database:app"),
    LazyCommand("gateways", "List and remove the gateways of the database.", "freehold.cli.gateways:app"),
    LazyCommand("limits", "Set budgets and rate limits.", "freehold.cli.limits:app"),
    LazyCommand("policies", "Say which requests are allowed.", "freehold.cli.policies:app"),
    LazyCommand("policy", "Try policies before they hold.", "freehold.cli.policy:app"),
    LazyCommand("filter", "Say what is looked for in texts.", "freehold.cli.filters:app"),
    LazyCommand("blocklists", "Keep lists of terms that are looked for.", "freehold.cli.blocklists:app"),
    LazyCommand("usage", "Show what was used and what it cost.", "freehold.cli.usage:app"),
    LazyCommand("reconcile", "Compare the journal, the usage database and the engines.", "freehold.cli.reconcile:app"),
    LazyCommand("audit", "Read, export and verify the journal.", "freehold.cli.audit:app"),
    LazyCommand("abuse", "Find misuse, suspend users, review blocked texts.", "freehold.cli.abuse:app"),
    LazyCommand("retention", "Set how long kept content stays.", "freehold.cli.retention:app"),
    LazyCommand("content-keys", "Revoke and restore the keys of kept content.", "freehold.cli.content_keys:app"),
    LazyCommand("master-key", "Exchange the master key of kept content.", "freehold.cli.master_key:app"),
    LazyCommand("erase", "Erase a user's or a project's data, with a certificate.", "freehold.cli.erase:app"),
    LazyCommand("backup", "Make a backup of the home, also while it serves.", "freehold.cli.backup:app"),
    LazyCommand("restore", "Make a home of a backup.", "freehold.cli.restore:app"),
    LazyCommand("provenance", "Tell where a picture came from.", "freehold.cli.provenance:app"),
    LazyCommand("lineage", "Trace an answer or a model to its data.", "freehold.cli.lineage:app"),
    LazyCommand("eval", "Evaluate deployments.", "freehold.cli.evals:app"),
    LazyCommand("tune", "Fine-tune a model on examples of a table.", "freehold.cli.tune:app"),
    LazyCommand("train", "Train a model of Freehold's own.", "freehold.cli.train:app"),
    LazyCommand("bench", "Measure what this machine does.", "freehold.cli.bench:app"),
    LazyCommand("size", "Tell what a model will need and how fast it will be.", "freehold.cli.size:app"),
    LazyCommand("cluster", "Make this machine a node of a cluster, and see its nodes.", "freehold.cli.cluster:app"),
    LazyCommand("simulate", "Simulate a cluster before it is bought.", "freehold.cli.simulate:app"),
    LazyCommand("doctor", "Tell what is wrong here and how to mend it.", "freehold.cli.doctor:app"),
    LazyCommand("version", "Print the version.", "freehold.cli.version:app"),
)
"""Name, summary and "module:attribute", in the order of the help."""

_EPILOG = """Example: freehold serve

\b
Exit codes:
  0    fine
  1    failed
  2    wrong usage or wrong input
  3    the service is not running or not reachable
  4    the credential was refused
  130  interrupted

\b
Environment:
  FREEHOLD_HOME     where all state is kept (default ~/.freehold)
  FREEHOLD_URL      a server to talk to, instead of the one of the home
  FREEHOLD_API_KEY  the key to call with, instead of the one in HOME/admin.key

'freehold COMMAND --help' tells more about a command."""


class Commands(LazyGroup):
    """All commands of the program."""

    lazy = COMMANDS


app = command_group()


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"freehold {freehold.__version__}")
        raise typer.Exit


@app.callback(cls=Commands, invoke_without_command=True, epilog=_EPILOG)
def freehold_program(
    ctx: typer.Context,
    version: Annotated[  # noqa: ARG001  # the callback prints it
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Run your own Azure OpenAI Service: models, deployments, keys, one OpenAI-compatible API."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def run(args: Sequence[str]) -> int:
    """Run one command line and return its exit status. No expected error leaves a traceback.

    Args:
        args: the arguments, without the program's name.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a text stream has it
    as_json = "--json" in args
    try:
        status = app(list(args), prog_name="freehold", standalone_mode=False)
        sys.stdout.flush()
    except FreeholdError as exc:
        _show(error_body(exc), as_json=as_json)
        return exit_code(exc)
    except typer.TyperException as exc:
        _show(_usage_body(exc), as_json=as_json)
        return ExitCode.WRONG_INPUT
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader has gone: nothing more is to be said, nor flushed when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    return status if isinstance(status, int) else ExitCode.FINE


def _usage_body(exc: typer.TyperException) -> dict[str, Any]:
    """A wrong command line as an error object; the message ends with where to read on."""
    context = getattr(exc, "ctx", None)
    message = exc.format_message().strip()
    if context is not None:
        message += f" (see '{context.command_path} --help')"
    return {"error": {"message": message, "type": "usage_error", "param": None, "code": "usage"}}


def _show(body: dict[str, Any], *, as_json: bool) -> None:
    """Print an error on stderr, as JSON or as a line."""
    if as_json:
        sys.stderr.write(json.dumps(body) + "\n")
    else:
        print_error(body["error"]["message"])
