"""The table of a job's metrics, `step_metrics.csv`."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

COLUMNS: Final = (
    "step",
    "train_loss",
    "train_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "train_mean_reward",
    "valid_mean_reward",
    "train_reward_accuracy",
    "valid_reward_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
    "learning_rate",
    "tokens",
)
"""As OpenAI's `step_metrics.csv` has them, then what else is measured."""
_ALWAYS: Final = COLUMNS[:5]
_SOURCES: Final = {"train_accuracy": "train_mean_token_accuracy"}
Metrics = Mapping[str, Any]


def table_of(steps: Sequence[Metrics]) -> bytes:
    """`step_metrics.csv`: a line for each step, with the columns that any step has."""
    columns = [name for name in COLUMNS if name in _ALWAYS or any(_value(step, name) is not None for step in steps)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for step in steps:
        writer.writerow([_text(_value(step, name)) for name in columns])
    return out.getvalue().encode()


def _value(step: Metrics, name: str) -> Any:
    return step.get(_SOURCES.get(name, name))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
