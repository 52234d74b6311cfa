"""`freehold policy`: trying policies before they hold. Reads files only; needs no server."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from freehold.cli.lazy import command_group
from freehold.cli.moments import moment, moment_or_ago
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import ExitCode, print_json, print_note
from freehold.cli.replay_report import print_replay, replay_body
from freehold.cli.tables import print_table
from freehold.config import Settings, load_settings
from freehold.errors import InvalidRequest, NotFound
from freehold.gateway.limit_replay import end_users_named, replay_limits
from freehold.gateway.policy_replay import Replay, Window, oldest, replay_policies
from freehold.governance.digests import Digests
from freehold.governance.limits import Limits, limits_of
from freehold.governance.policy import PolicySet
from freehold.governance.policy_cases import CaseResult, run_cases
from freehold.journal.records import utc
from freehold.store.home import Home
from freehold.types.limits import EVERY, LimitSettings, Scope, Subject

app = command_group("Try policies before they hold.", "Example: freehold policy test policies.toml")

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A TOML file with [[policy]], [[case]] and [[limit]] blocks.")
]


@app.callback()
def policy() -> None:
    """Try policies before they hold: by their own cases, and on the requests of the past."""


@app.command("test", epilog="Example: freehold policy test policies.toml")
def run_policy_cases(file: FileArgument, as_json: JsonOption = False) -> None:
    """Run the cases of a file on its policies. Exit code 1 if one does not come out as it expects."""
    settings = load_settings(file)
    results = run_cases(PolicySet(settings.policy), settings.case, settings.deployment)
    failed = [result for result in results if not result.passed]
    if as_json:
        print_json({"object": "list", "passed": not failed, "data": [_case(result) for result in results]})
    else:
        _print_cases(results)
    if not results:
        print_note(f"There are no cases in {file}: a [[case]] says what its policies must decide.")
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def _case(result: CaseResult) -> dict[str, Any]:
    case = result.case
    return {
        "case": case.name,
        "expected": case.expect,
        "expected_reason": case.reason or None,
        "got": result.got,
        "reason": result.reason,
        "passed": result.passed,
    }


def _print_cases(results: Sequence[CaseResult]) -> None:
    if results:
        rows = [
            (result.case.name, result.case.expect, result.got, "ok" if result.passed else "FAILED", _why(result))
            for result in results
        ]
        print_table(("case", "expected", "got", "result", "reason"), rows)
    failed = sum(not result.passed for result in results)
    print(f"{len(results)} cases, {failed} failed")


def _why(result: CaseResult) -> str:
    """The decision's reason, and the expected one where it is another."""
    wanted = result.case.reason
    return result.reason + (f" (expected: {wanted})" if wanted and wanted not in result.reason else "")


@app.command("replay", epilog="Example: freehold policy replay policies.toml --since 24h")
def replay(
    file: FileArgument,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="How long ago, such as 24h or 7d, or a day or moment, UTC.")
    ] = "24h",
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="To the end of this day, or before this moment. [default: now]")
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A copy of a journal. [default: the home's journal]")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell which past requests the policies and limits of a file would have refused.

    Reads the journal, also while a server writes it, and changes nothing. The file is the whole of what is tried:
    policies and limits that hold now are not added to it. Limits hold from the first moment on, as if they had been set
    then; what had been spent in its month and day is spent.
    """
    settings = load_settings(file)
    if not settings.policy and not settings.limit:
        raise InvalidRequest(f"{file}: there is no [[policy]] and no [[limit]] to try")
    now = datetime.fromtimestamp(time.time(), UTC)
    begin = moment_or_ago(since, "--since", now)
    end = moment(until, "--until", last=True) if until else now
    if begin >= end:
        raise typer.BadParameter("must lie before the end", param_hint="--since")
    window = Window(utc(begin.timestamp()), utc(end.timestamp()))
    place = Home(home_of(home))
    folders = _folders(journal or place.journal)
    found = Replay(begins=oldest(folders))
    denied = replay_policies(folders, PolicySet(settings.policy), window, found)
    notes: list[str] = []
    if settings.limit:
        limits = _limits(settings, place if journal is None else None, notes)
        replay_limits(folders, limits, window, denied, found)
    body = replay_body(found, window, settings, notes)
    if as_json:
        print_json(body)
    else:
        print_replay(body)


def _folders(journal: Path) -> list[Path]:
    """The writers' folders of a journal; it may itself be one.

    Raises:
        NotFound: there is none.
    """
    found = sorted({path.parent for pattern in ("*.jsonl", "*/*.jsonl") for path in journal.glob(pattern)})
    if not found:
        raise NotFound(f"there is no journal in {journal}")
    return found


def _limits(settings: Settings, place: Home | None, notes: list[str]) -> dict[Subject, Limits]:
    """The limits by whom they are counted on; those of end users by name need the home's secret, which is not made."""
    digests = None
    if place is not None and place.has_pepper:
        digests = Digests(place.pepper())
    elif end_users_named(settings.limit):
        notes.append("Limits of end users by name were left out: their digests need the home that wrote the journal.")
    return {subject: limits_of(limit) for limit in settings.limit if (subject := _subject(limit, digests)) is not None}


def _subject(limit: LimitSettings, digests: Digests | None) -> Subject | None:
    if limit.scope is not Scope.END_USER or limit.id == EVERY:
        return Subject(limit.scope, limit.id)
    return None if digests is None else Subject(limit.scope, digests.end_user(limit.id))
