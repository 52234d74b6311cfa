"""`freehold tune`: from a table to a model that was fine-tuned on it."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer

from freehold.cli.control import Control, open_service
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import print_json, print_note
from freehold.cli.tables import print_table
from freehold.cli.tune_data import Columns, read_rows, split, write_data
from freehold.errors import InvalidRequest
from freehold.training.finetune.dataset import DatasetReport, check_file

app = command_group(
    "Make examples of a table, check them, and fine-tune a model on them.",
    "Example: freehold tune start --model chat --training training.jsonl --suffix tickets",
)

Method: TypeAlias = Literal["supervised", "dpo", "reinforcement"]
MethodOption: TypeAlias = Annotated[Method, typer.Option("--method", help="What the examples are for.")]
FileArgument: TypeAlias = Annotated[Path, typer.Argument(metavar="FILE", help="The file.")]


@app.callback()
def tune() -> None:
    """Make examples of a table, check them, and fine-tune a model on them."""


@app.command(
    "data", epilog='Example: freehold tune data tickets.csv --ask "{{ item.text }}" --answer "{{ item.label }}"'
)
def make_data(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV in UTF-8 whose first line names the columns.")],
    ask: Annotated[str, typer.Option("--ask", help="What the user says, such as '{{ item.text }}'.")],
    answer: Annotated[str, typer.Option("--answer", help="What the assistant is to answer.")],
    worse: Annotated[str | None, typer.Option("--worse", help="The worse answer, for --method dpo.")] = None,
    system: Annotated[str | None, typer.Option("--system", help="What the system says before that.")] = None,
    hold_out: Annotated[float, typer.Option("--hold-out", min=0, max=0.9, help="The share not to train on.")] = 0.2,
    seed: Annotated[int, typer.Option("--seed", help="By which the rows are drawn.")] = 1,
    delimiter: Annotated[str, typer.Option("--delimiter", help="What stands between cells.")] = ",",
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the files go.")] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Make examples of the rows of a table.

    Writes training.jsonl and, of the rows that are held out, validation.jsonl for the training's curves, and
    evaluation.jsonl with evaluation.toml for 'freehold eval run'. A template names a column as '{{ item.COLUMN }}'.
    """
    if len(delimiter) != 1:
        raise InvalidRequest("the delimiter is one character", param="--delimiter")
    columns = Columns(ask, answer, worse, system)
    columns.check()
    rows = read_rows(file, delimiter)
    if not rows:
        raise InvalidRequest(f"{file.name} has no rows below its header")
    training, held = split(rows, columns, hold_out, seed)
    written = write_data(out, file.stem, columns, training, held)
    if as_json:
        print_json({"files": [{"path": str(path), "lines": lines} for path, lines in written]})
        return
    print_table(("file", "lines"), written)
    for path, _ in written[:1]:
        _tell(path, check_file(path, "supervised" if worse is None else "dpo"))


@app.command("check", epilog="Example: freehold tune check training.jsonl --method dpo")
def check_data(file: FileArgument, method: MethodOption = "supervised", as_json: JsonOption = False) -> None:
    """Check a file of examples as a fine-tuning job does, before anything is uploaded.

    Exit status 2 where there are problems; each names its line and field.
    """
    try:
        report = check_file(file, method)
    except OSError as exc:
        raise InvalidRequest(f"{file} cannot be read: {exc.strerror}") from exc
    if as_json:
        problems = [{"line": each.line, "field": each.field, "message": each.message} for each in report.problems]
        print_json({"examples": report.examples, "problems": problems, "problem_count": report.problem_count})
    else:
        _tell(file, report)
    if report.problem_count:
        raise typer.Exit(2)


@app.command("start", epilog="Example: freehold tune start --model chat --training training.jsonl --suffix tickets")
def start(
    training: Annotated[Path, typer.Option("--training", metavar="FILE", help="The examples.")],
    model: Annotated[str, typer.Option("--model", help="A deployment or a model of the catalog.")] = "chat",
    validation: Annotated[Path | None, typer.Option("--validation", metavar="FILE", help="Examples to watch.")] = None,
    method: Annotated[Literal["supervised", "dpo"], typer.Option("--method", help="How to train.")] = "supervised",
    suffix: Annotated[str | None, typer.Option("--suffix", help="Stands in the new model's name.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="How often all examples are seen.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, help="Examples of one step.")] = None,
    rate: Annotated[
        float | None, typer.Option("--learning-rate-multiplier", help="By which the usual learning rate is multiplied.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of the order and the first weights.")] = None,
    export: Annotated[
        Literal["f16", "q8_0", "lora"] | None, typer.Option("--export", help="In which form the result is kept.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Upload examples and begin a fine-tuning job; 'freehold jobs watch' shows how far it is.

    A job with graders (method 'reinforcement') is begun through the API.
    """
    numbers = {"n_epochs": epochs, "batch_size": batch_size, "learning_rate_multiplier": rate}
    hyperparameters = {name: value for name, value in numbers.items() if value is not None}
    body: dict[str, Any] = {
        "model": model,
        "method": {"type": method, method: {"hyperparameters": hyperparameters}},
        **{
            name: value for name, value in (("suffix", suffix), ("seed", seed), ("export", export)) if value is not None
        },
    }
    job = asyncio.run(_start(home_of(home), body, training, validation))
    if as_json:
        print_json(job)
        return
    print_table(("what", "value"), [("id", job["id"]), ("status", job["status"]), ("base", job["model"])])
    print_note(f"follow it with: freehold jobs watch {job['id']}")


async def _start(home: Path, body: dict[str, Any], training: Path, validation: Path | None) -> dict[str, Any]:
    """Upload the files and make the job."""
    async with open_service(home) as service:
        body["training_file"] = await _uploaded(service, training)
        if validation is not None:
            body["validation_file"] = await _uploaded(service, validation)
        return await service.request("POST", "/v1/fine_tuning/jobs", body)


async def _uploaded(service: Control, path: Path) -> str:
    """The id of a file, once it is uploaded."""
    try:
        found = await service.upload(path, "fine-tune")
    except OSError as exc:
        raise InvalidRequest(f"{path} cannot be read: {exc.strerror}") from exc
    return str(found["id"])


def _tell(path: Path, report: DatasetReport) -> None:
    """Say what was found in a file."""
    print_note(f"{path.name}: {report.examples} examples, about {report.estimated_tokens} tokens an epoch")
    if report.problems:
        print_table(
            ("line", "field", "problem"), [(each.line or "", each.field, each.message) for each in report.problems]
        )
        if report.problem_count > len(report.problems):
            print_note(f"and {report.problem_count - len(report.problems)} more")
