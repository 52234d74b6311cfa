"""What the API of a kind of job tells of it, beyond what all jobs have in common."""

from typing import Any, Final, TypeAlias
from urllib.parse import quote

from freehold.cli.control import Control
from freehold.cli.tables import at_time, print_table
from freehold.types.money import decimal_from_micro
from freehold.types.training import HOUR_US

TUNING: Final = "fine_tuning"
BATCH: Final = "batch"
TRAINING: Final = "training"
_PATHS: Final = {BATCH: "/v1/batches", TUNING: "/v1/fine_tuning/jobs", TRAINING: "/v1/training/jobs"}
"""Kinds whose subjects have an API of their own that tells more."""
_PAGE: Final = 100
_MEASURES: Final = {
    "loss": "loss",
    "train_loss": "training loss",
    "full_valid_loss": "validation loss",
    "valid_loss": "validation loss of a batch",
    "train_reward_accuracy": "training pairs ranked right",
    "valid_reward_accuracy": "validation pairs ranked right",
    "train_mean_reward": "training reward",
    "valid_mean_reward": "validation reward",
}
"""Of what a step's metrics hold, what a person wants to see."""

Rows: TypeAlias = list[tuple[str, object]]


def details_path(job: dict[str, Any]) -> str | None:
    """Where the API of a job's kind tells of it; None where there is none."""
    found = _PATHS.get(job["kind"])
    return None if found is None or not job.get("subject") else f"{found}/{quote(job['subject'], safe='')}"


async def with_details(control: Control, job: dict[str, Any]) -> dict[str, Any]:
    """A job with `details`, what the API of its kind tells, and of a training with `metrics`, the newest of each.

    Args:
        control: reaches the service.
        job: as `/v1/jobs` has it.

    Raises:
        ErrorAnswer: it is gone, or the service refuses.
    """
    path = details_path(job)
    if path is None:
        return job
    told = job | {"details": await control.request("GET", path)}
    return told | {"metrics": await newest_metrics(control, path)} if job["kind"] == TUNING else told


async def newest_metrics(control: Control, path: str) -> dict[str, Any]:
    """The newest value of each metric that the last events of a training have, with the newest step.

    Args:
        control: reaches the service.
        path: of the fine-tuning job.

    Raises:
        ErrorAnswer: there is no such job, or the service refuses.
    """
    found: dict[str, Any] = {}
    for event in (await control.request("GET", f"{path}/events?limit={_PAGE}"))["data"]:
        found = event["data"] | found if event["type"] == "metrics" else found
    return found


async def tuning_events(control: Control, path: str, seen: str) -> list[dict[str, Any]]:
    """The events of a training that came behind the one of the id `seen`, the oldest first; all if it is empty.

    Args:
        control: reaches the service.
        path: of the fine-tuning job.
        seen: the last event that is known.

    Raises:
        ErrorAnswer: there is no such job, or the service refuses.
    """
    found: list[dict[str, Any]] = []
    more, after = True, ""
    while more:
        answer = await control.request("GET", f"{path}/events?limit={_PAGE}{after}")
        fresh = [event for event in answer["data"] if event["id"] > seen]
        found += fresh
        more = answer["has_more"] and len(fresh) == len(answer["data"])
        after = f"&after={found[-1]['id']}" if found else ""
    return found[::-1]


def measured(metrics: dict[str, Any]) -> Rows:
    """What a training's metrics say to a person."""
    return [(name, f"{metrics[key]:.4g}") for key, name in _MEASURES.items() if key in metrics]


def print_details(job: dict[str, Any], rows: Rows) -> None:
    """Print what all jobs have and what those of the kind have besides, and what is wrong with an input.

    Args:
        job: with its details, where it has any.
        rows: what all jobs have.
    """
    details = job.get("details", {})
    told = {BATCH: _batch_rows, TUNING: _tuning_rows, TRAINING: _training_rows}.get(job["kind"])
    print_table(("what", "value"), rows + (told(job) if told is not None and details else []))
    problems = details.get("errors", {}).get("data", []) if job["kind"] == BATCH else []
    if problems:
        print_table(("line", "code", "message"), [(each["line"], each["code"], each["message"]) for each in problems])


def _batch_rows(job: dict[str, Any]) -> Rows:
    batch = job["details"]
    return [
        ("status", batch["status"]),
        ("endpoint", batch["endpoint"]),
        ("model", batch.get("model")),
        ("tokens", batch["usage"]["total_tokens"]),
        ("ends by", at_time(batch["expires_at"])),
        ("input", batch["input_file_id"]),
        ("output", batch.get("output_file_id")),
        ("errors", batch.get("error_file_id")),
    ]


def _training_rows(job: dict[str, Any]) -> Rows:
    training = job["details"]
    error = training["error"]
    return [
        ("recipe", training["name"]),
        ("data", training["data"]),
        ("folder", training["out"]),
        ("processes", training["processes"]),
        ("zones", ", ".join(training["zones"] or ())),
        *measured(training["metrics"]),
        ("preemptions", training["preemptions"] or None),
        ("trained tokens", training["trained_tokens"]),
        ("device hours", f"{training['device_us'] / HOUR_US:.3f}"),
        ("core hours", f"{training['core_us'] / HOUR_US:.3f}"),
        ("cost", decimal_from_micro(training["cost_micro"])),
        ("what is wrong", None if error is None else error["message"]),
    ]


def _tuning_rows(job: dict[str, Any]) -> Rows:
    tuning = job["details"]
    method = tuning["method"]["type"]
    numbers = tuning["method"][method]["hyperparameters"]
    metrics = job.get("metrics", {})
    tokens = tuning["trained_tokens"]
    rows: Rows = [
        ("status", tuning["status"]),
        ("base model", tuning["model"]),
        ("fine-tuned model", tuning["fine_tuned_model"]),
        ("method", method),
        ("hyperparameters", ", ".join(f"{name}={value}" for name, value in numbers.items())),
        ("seed", tuning["seed"]),
        ("training file", tuning["training_file"]),
        ("validation file", tuning["validation_file"]),
        ("trained tokens", int(metrics.get("tokens") or 0) or None if tokens is None else tokens),
        *measured(metrics),
        ("ready about", at_time(tuning["estimated_finish"])),
        *(("result file", file_id) for file_id in tuning["result_files"]),
    ]
    if tuning["error"] is not None:
        rows.append(("what is wrong", tuning["error"]["message"]))
    return rows
