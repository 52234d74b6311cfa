"""EleutherAI's lm-eval on a deployment: a process of its own, offline, whose answers become a run of an evaluation."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from freehold.config import engine_environment
from freehold.errors import InvalidRequest

_ENVIRONMENT: Final = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
"""Nothing is downloaded: tasks whose data are not on the disk fail."""
_BACKENDS: Final = {
    "chat": ("local-chat-completions", "/v1/chat/completions"),
    "completions": ("local-completions", "/v1/completions"),
}
_KEPT: Final = 2000


@dataclass(frozen=True, slots=True)
class Harness:
    """How lm-eval is run.

    Args:
        python: of the environment that has it.
        url: of the service.
        key: with which it is called.
        model: the deployment.
        tasks: their names.
        include: a folder with tasks of one's own.
        limit: items of each task at most.
        backend: `chat` or `completions`.
    """

    python: Path
    url: str
    key: str
    model: str
    tasks: Sequence[str]
    include: Path | None
    limit: int | None
    backend: str

    def argv(self, out: Path) -> list[str]:
        """The command line."""
        name, path = _BACKENDS[self.backend]
        told = f"model={self.model},base_url={self.url}{path},num_concurrent=4,max_retries=3,tokenized_requests=False"
        told += ",tokenizer_backend=None"
        argv = [str(self.python), "-m", "lm_eval", "--model", name, "--model_args", told]
        argv += ["--tasks", ",".join(self.tasks), "--log_samples", "--output_path", str(out)]
        argv += ["--apply_chat_template"] if self.backend == "chat" else []
        argv += [] if self.include is None else ["--include_path", str(self.include)]
        return argv + ([] if self.limit is None else ["--limit", str(self.limit)])


async def run_harness(harness: Harness, out: Path) -> dict[str, list[dict[str, Any]]]:
    """The samples of each task, as lm-eval writes them.

    Raises:
        InvalidRequest: it is not installed there, or fails; with the end of what it says.
    """
    if not harness.python.exists():
        raise InvalidRequest(
            f"there is no Python at {harness.python}; install freehold's extra 'eval' there, or give --python"
        )
    environment = engine_environment(_ENVIRONMENT) | {"OPENAI_API_KEY": harness.key}
    process = await asyncio.create_subprocess_exec(
        *harness.argv(out),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        end = said.decode(errors="replace").strip()[-_KEPT:]
        raise InvalidRequest(f"lm-eval failed with exit status {process.returncode}:\n{end}")
    return await asyncio.to_thread(_samples, out)


def _samples(out: Path) -> dict[str, list[dict[str, Any]]]:
    """What lm-eval has written of each task."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(out.rglob("samples_*.jsonl")):
        task = path.name.removeprefix("samples_").rpartition("_")[0]
        found[task] = [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
    return found


def lines_of(samples: Iterable[Mapping[str, Any]], model: str) -> tuple[list[str], list[dict[str, Any]]]:
    """The metrics of a task's samples, and the lines of a run that says them.

    Raises:
        InvalidRequest: a metric is not 0 or 1 for each item, so that it cannot be told whether an item passed.
    """
    found = list(samples)
    names = sorted({name for sample in found for name in sample.get("metrics", ())})
    lines = []
    for sample in found:
        passed: dict[str, str] = {}
        for name in names:
            value = sample.get(name)
            if value not in {0, 1}:
                raise InvalidRequest(
                    f"the metric '{name}' of lm-eval is {value!r} for an item; only 0 and 1 can be kept"
                )
            passed[name] = "pass" if value else "fail"
        text = sample.get("filtered_resps", [""])[0]
        answer = text if isinstance(text, str) else orjson.dumps(text).decode()
        item = {"doc": sample.get("doc", {}), "target": sample.get("target")}
        lines.append({"item": item, "sample": {"output_text": answer, "model": model, "metrics": passed}})
    return names, lines


def evaluation_of(task: str, metrics: Sequence[str]) -> dict[str, Any]:
    """The body of an evaluation that has a criterion for each metric of a task."""
    criteria = [
        {
            "type": "string_check",
            "name": metric,
            "input": f"{{{{ sample.metrics['{metric}'] }}}}",
            "reference": "pass",
            "operation": "eq",
        }
        for metric in metrics
    ]
    config = {"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": True}
    return {
        "name": task,
        "metadata": {"by": "lm-eval", "metrics": ",".join(metrics)},
        "data_source_config": config,
        "testing_criteria": criteria,
    }
