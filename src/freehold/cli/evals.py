"""`freehold eval`: run evaluations on deployments, and see what they came to."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final, Literal

import typer

from freehold.cli.control import Control, admin_key, open_control, open_service
from freehold.cli.eval_chart import chart_of
from freehold.cli.eval_file import EvalFile, read_eval
from freehold.cli.eval_harness import Harness, evaluation_of, lines_of, run_harness
from freehold.cli.eval_report import print_comparison, print_reports
from freehold.cli.jobs_watch import watch_jobs
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import ExitCode, print_error, print_json, print_note
from freehold.cli.tables import at_time, print_table
from freehold.config import key_from_environment
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
    chart: Annotated[Path | None, typer.Option("--chart", metavar="FILE.svg", help="Draw the means too.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run an evaluation on deployments, and print means with intervals and, of two, their difference.

    The form of the file is in docs/reference/evaluations.md. An evaluation that was made of the same file is used
    again; one that is named by its id is run on the items of its newest run.
    """
    reports = asyncio.run(_run(home_of(home), what, model, watch=watch and not as_json))
    if chart is not None:
        _draw(chart, what if what.startswith("eval_") else read_eval(Path(what)).request["name"], reports)
    if as_json:
        print_json({"data": reports})
    else:
        print_reports(reports)
        for report in reports[1:]:
            print_comparison(model[0], report["model"], report["comparison"])
    short = [_shortfall(report, fail_under) for report in reports]
    for reason in filter(None, short):
        print_error(reason)
    if any(short):
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


def _draw(file: Path, title: str, reports: Sequence[Mapping[str, Any]]) -> None:
    """Write the chart of runs.

    Raises:
        InvalidRequest: it cannot be written.
    """
    try:
        file.write_bytes(chart_of(title, reports))
    except OSError as exc:
        raise InvalidRequest(f"{file} cannot be written: {exc.strerror}") from exc


def _shortfall(report: Mapping[str, Any], least: float | None) -> str:
    """Why a run is not good enough; empty where it is."""
    if report["status"] != "completed" or report["overall"] is None:
        return f"{report['model']}: the run '{report['id']}' is {report['status']}"
    mean = report["overall"]["mean"]
    return (
        f"{report['model']}: the mean {mean:.3f} is less than {least:g}" if least is not None and mean < least else ""
    )


def _criteria(evaluation: Mapping[str, Any]) -> str:
    return ", ".join(criterion["name"] for criterion in evaluation["testing_criteria"])


@app.command("harness", epilog="Example: freehold eval harness --model chat --tasks capitals --include tasks")
def run_lm_eval(
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="The deployment to ask.")],
    tasks: Annotated[str, typer.Option("--tasks", metavar="A,B", help="lm-eval's tasks, by their names.")],
    include: Annotated[
        Path | None, typer.Option("--include", metavar="FOLDER", help="A folder with tasks of your own, as YAML.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Items of a task at most.")] = None,
    backend: Annotated[
        Literal["chat", "completions"], typer.Option("--backend", help="How the deployment is asked.")
    ] = "chat",
    python: Annotated[
        Path, typer.Option("--python", metavar="FILE", help="The Python of an environment with lm-eval.")
    ] = Path(".venv-eval/bin/python"),
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run tasks of EleutherAI's lm-eval on a deployment, offline, and keep the results as runs of evaluations.

    Needs lm-eval in an environment of its own (the extra 'eval'). Tasks that generate text work; those that compare
    likelihoods of given answers do not.
    """
    reports = asyncio.run(_harness(home_of(home), python.absolute(), model, tasks.split(","), include, limit, backend))
    if as_json:
        print_json({"data": reports})
    else:
        print_reports(reports)


async def _harness(
    home: Path, python: Path, model: str, tasks: Sequence[str], include: Path | None, limit: int | None, backend: str
) -> list[dict[str, Any]]:
    """Run the tasks, and keep what came of them; the reports."""
    key = key_from_environment() or admin_key(home)
    with TemporaryDirectory(prefix="freehold-eval-") as folder:
        async with open_service(home) as control:
            harness = Harness(python, control.url, key, model, tasks, include, limit, backend)
            samples = await run_harness(harness, Path(folder))
            return [await _kept(control, task, found, model) for task, found in samples.items()]


async def _kept(control: Control, task: str, samples: Sequence[Mapping[str, Any]], model: str) -> dict[str, Any]:
    """Keep the results of a task as a run; its report."""
    metrics, lines = lines_of(samples, model)
    request = evaluation_of(task, metrics)
    eval_id = await _found_or_made(control, request)
    source = {"type": "jsonl", "source": {"type": "file_content", "content": lines}}
    body = {"name": model, "metadata": {"model": model, "by": "lm-eval"}, "data_source": source}
    run = await control.request("POST", f"{EVALS}/{eval_id}/runs", body)
    return await _report(control, eval_id, run["id"], run["id"])


async def _run(home: Path, what: str, models: Sequence[str], *, watch: bool) -> list[dict[str, Any]]:
    """Run an evaluation on each model; the reports of the runs, compared with the first."""
    async with open_service(home) as control:
        if what.startswith("eval_"):
            eval_id, source = what, await _newest_source(control, what)
        else:
            file = read_eval(Path(what))
            eval_id, source = await _found_or_made(control, file.request), _source(file)
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


async def _found_or_made(control: Control, request: Mapping[str, Any]) -> str:
    """The id of the evaluation of that name and content, made if there is none."""
    for each in await _all(control):
        if each["metadata"] == request["metadata"] and each["name"] == request["name"]:
            return str(each["id"])
    made = await control.request("POST", EVALS, dict(request))
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
