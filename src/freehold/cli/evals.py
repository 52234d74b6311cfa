"""`freehold eval`: run evaluations on deployments, and see what they came to."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from freehold.cli.control import Control, open_control, open_service
from freehold.cli.eval_file import EvalFile, read_eval
from freehold.cli.eval_report import print_comparison, print_reports
from freehold.cli.jobs_watch import watch_jobs
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import ExitCode, print_json, print_note
from freehold.cli.tables import at_time, print_table
from freehold.errors import InvalidRequest

app = command_group("Evaluate deployments.", "Example: freehold eval run capitals.toml --model chat")

EVALS: Final = "/v1/evals"
_PAGE: Final = 100


@app.callback()
def evals() -> None:
    """Evaluate deployments, in the credential's project."""


@app.command("run", epilog="Example: freehold eval run capitals.toml --model chat --model tuned --fail-under 0.8")
def run_eval(
    what: Annotated[str, typer.Argument(metavar="FILE.toml|EVAL_ID", help="A file, or an evaluation made before.")],
    model: Annotated[list[str], typer.Option("--model", metavar="NAME", help="The deployment to ask; repeatable.")],
    fail_under: Annotated[
        float | None, typer.Option("--fail-under", min=0, max=1, help="Exit with 1 if a model's mean is less.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Show how far the runs are.")] = True,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run an evaluation on deployments, and print means with intervals and, of two, their difference.

    The form of the file is in docs/reference/evaluations.md. An evaluation that was made of the same file is used
    again; one that is named by its id is run on the items of its newest run.
    """
    reports = asyncio.run(_run(home_of(home), what, model, watch=watch and not as_json))
    if as_json:
        print_json({"data": reports})
    else:
        print_reports(reports)
        for report in reports[1:]:
            print_comparison(model[0], report["model"], report["comparison"])
    failed = [each["id"] for each in reports if each["status"] != "completed"]
    means = [0.0 if each["overall"] is None else each["overall"]["mean"] for each in reports]
    if failed or (fail_under is not None and min(means) < fail_under):
        raise typer.Exit(ExitCode.FAILED)


@app.command("list", epilog="Example: freehold eval list")
def list_evals(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List evaluations, the newest first."""
    found = asyncio.run(_list(home_of(home)))
    if as_json:
        print_json({"data": found})
        return
    rows = [
        (
            each["id"],
            each["name"],
            ", ".join(one["name"] for one in each["testing_criteria"]),
            at_time(each["created_at"]),
        )
        for each in found
    ]
    print_table(("id", "name", "criteria", "created"), rows)


@app.command("show", epilog="Example: freehold eval show eval_0123456789abcdef01234567")
def show_eval(
    eval_id: Annotated[str, typer.Argument(metavar="EVAL_ID", help="The id of an evaluation.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the runs of an evaluation came to, the newest first."""
    reports = asyncio.run(_show(home_of(home), eval_id))
    if as_json:
        print_json({"data": reports})
        return
    print_reports(reports)


def _criteria(evaluation: Mapping[str, Any]) -> str:
    return ", ".join(criterion["name"] for criterion in evaluation["testing_criteria"])


async def _run(home: Path, what: str, models: Sequence[str], *, watch: bool) -> list[dict[str, Any]]:
    """Run an evaluation on each model; the reports of the runs, compared with the first."""
    async with open_service(home) as control:
        if what.startswith("eval_"):
            eval_id, source = what, await _newest_source(control, what)
        else:
            file = read_eval(Path(what))
            eval_id, source = await _found_or_made(control, file), _source(file)
        runs = []
        for model in models:
            body = {"name": f"{model}", "data_source": {**source, "model": model}}
            runs.append(await control.request("POST", f"{EVALS}/{eval_id}/runs", body))
        if watch:
            await watch_jobs(control, [f"/v1/jobs/{run['id']}" for run in runs])
        return [await _report(control, eval_id, run["id"], runs[0]["id"]) for run in runs]


async def _report(control: Control, eval_id: str, run_id: str, first_id: str) -> dict[str, Any]:
    """The report of a run once it has ended."""
    against = "" if run_id == first_id else f"?against={first_id}"
    path = f"{EVALS}/{eval_id}/runs/{run_id}/report{against}"
    while True:
        report = await control.request("GET", path)
        if report["status"] not in {"queued", "in_progress"}:
            if report["error"] is not None:
                print_note(f"{run_id}: {report['error']['message']}")
            return report
        await asyncio.sleep(0.2)


async def _found_or_made(control: Control, file: EvalFile) -> str:
    """The id of the evaluation of a file, made if there is none of the same content."""
    for each in await _all(control):
        if each["metadata"].get("digest") == file.digest and each["name"] == file.request["name"]:
            return str(each["id"])
    made = await control.request("POST", EVALS, dict(file.request))
    return str(made["id"])


def _source(file: EvalFile) -> dict[str, Any]:
    return {"type": "completions", "source": file.source, **file.asked}


async def _newest_source(control: Control, eval_id: str) -> Mapping[str, Any]:
    runs = await control.request("GET", f"{EVALS}/{eval_id}/runs?order=desc&limit=1")
    if not runs["data"]:
        raise InvalidRequest(f"'{eval_id}' was never run, so its items are not known; run it by the API or from a file")
    source: Mapping[str, Any] = runs["data"][0]["data_source"]
    if source["type"] == "jsonl":
        raise InvalidRequest(f"the newest run of '{eval_id}' graded answers that it was given, and asked no model")
    return source


async def _all(control: Control) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = await control.request("GET", f"{EVALS}?order=desc&limit={_PAGE}{after}")
        found += page["data"]
        if not page["has_more"]:
            return found
        after = f"&after={page['last_id']}"


async def _list(home: Path) -> list[dict[str, Any]]:
    async with open_control(home) as control:
        return await _all(control)


async def _show(home: Path, eval_id: str) -> list[dict[str, Any]]:
    async with open_control(home) as control:
        runs = await control.request("GET", f"{EVALS}/{eval_id}/runs?order=desc&limit=20")
        return [await control.request("GET", f"{EVALS}/{eval_id}/runs/{run['id']}/report") for run in runs["data"]]
