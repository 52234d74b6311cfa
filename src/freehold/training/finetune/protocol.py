"""How the training process is told what to do, and what it tells: `task.json`, then JSON objects, one a line.

It writes `started`, then `metrics`, `checkpoint`, `event` and `grade` as they come, and ends with `finished` or
`failed`. It is told `pause`, `cancel` and, in answer to `grade`, `grades`. Needs no torch: who starts the process uses
the same types.
"""

import json
import os
import queue
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Method: TypeAlias = Literal["supervised", "dpo", "reinforcement"]
Export: TypeAlias = Literal["f16", "q8_0", "lora"]
Auto: TypeAlias = Literal["auto"]

TASK: Final = "task.json"
CHECKPOINTS: Final = "checkpoints"
EXPORTS: Final = "export"

ENVIRONMENT: Final[Mapping[str, str]] = {
    "HF_HUB_OFFLINE": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
}
"""What the process's environment should have, since libraries look there before any code of ours runs: nothing is asked
of a network that is not there, and threads that wait for one another sleep, and leave the processor to the server."""

FINISHED, FAILED, STOPPED = 0, 2, 3
"""Exit statuses: done; the input is at fault; paused or cancelled, with a checkpoint. Anything else is a crash."""
MAX_TASK_BYTES: Final = 1024 * 1024
_PIECE_BYTES: Final = 64 * 1024


class TaskInvalid(Exception):
    """The task cannot be done as it stands: what is wrong is the input's fault, and trying again will not help.

    Args:
        message: what is wrong and what to do, safe to show to whoever made the job.
        code: a short name of it.
        param: the job's parameter at fault.
    """

    def __init__(self, message: str, *, code: str = "invalid_task", param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Base(_Closed):
    """The model that is tuned: its name, its GGUF file, and the file's digest in hex."""

    name: str
    path: Path
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Hyperparameters(_Closed):
    """As OpenAI has them; "auto" is resolved by `freehold.training.finetune.recipe`."""

    n_epochs: Annotated[int, Field(ge=1, le=50)] | Auto = "auto"
    batch_size: Annotated[int, Field(ge=1, le=256)] | Auto = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=100)] | Auto = "auto"
    beta: Annotated[float, Field(gt=0, le=2)] | Auto = "auto"
    compute_multiplier: Annotated[float, Field(gt=0, le=10)] | Auto = "auto"
    eval_interval: Annotated[int, Field(ge=1)] | Auto = "auto"
    eval_samples: Annotated[int, Field(ge=1)] | Auto = "auto"
    reasoning_effort: Literal["default", "low", "medium", "high"] = "default"


class Task(_Closed):
    """What is to be done, as `task.json` has it.

    Args:
        method: how the model learns.
        base: the model it begins with.
        training: name of the file of examples, within the job's folder.
        validation: likewise, of examples that are not learnt.
        hyperparameters: what the caller chose.
        seed: of everything that is drawn; the same seed gives the same order of examples and the same numbers.
        export: what comes out: a whole model of half floats or of eight bits a weight, or an adapter.
        name: under which the result is served; stands in its metadata.
        threads: of the processor, at most.
        max_steps: ends the training early.
        checkpoint_steps: after how many steps a checkpoint is written.
        export_checkpoints: whether each epoch's checkpoint is exported too.
        response_format: what the answers of reinforcement learning must look like; told to the model, not enforced.
    """

    method: Method
    base: Base
    training: str = "training.jsonl"
    validation: str | None = None
    hyperparameters: Hyperparameters = Hyperparameters()
    seed: int = Field(default=0, ge=0, lt=2**31)
    export: Export = "f16"
    name: str = Field(min_length=1, max_length=256)
    threads: int = Field(default=2, ge=1, le=1024)
    max_steps: Annotated[int, Field(ge=1)] | None = None
    checkpoint_steps: Annotated[int, Field(ge=1)] | Auto = "auto"
    export_checkpoints: bool = False
    response_format: dict[str, Any] | None = None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The task of a job's folder, with names of files held within it.

        Raises:
            TaskInvalid: there is none, or it is not as it should be; the field is named.
        """
        try:
            with (folder / TASK).open("rb") as file:
                raw = file.read(MAX_TASK_BYTES + 1)
            task = cls.model_validate_json(raw)
        except OSError as exc:
            raise TaskInvalid(f"The job's {TASK} cannot be read.") from exc
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise TaskInvalid(f"{where or TASK}: {first['msg']}", param=where or None) from exc
        for name in (task.training, task.validation):
            if name is not None and (not name or Path(name).name != name or name.startswith(".")):
                raise TaskInvalid(f"'{name[:64]}' is not the name of a file in the job's folder.")
        return task


class Source(Protocol):
    """Where bytes come from."""

    def read(self, size: int, /) -> bytes | None:
        """At most so many bytes, as soon as there are any; none at the end."""


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: memoryview, /) -> int | None:
        """Write what fits now; returns how many bytes that were."""


class Channel:
    """The two ways of messages: objects to whoever started this process, and what that says.

    A thread reads what comes in, so that `stop_wanted` can be asked at any time. When the other side closes its end,
    the one that started the process is gone: the training stops as if it had been paused.

    Args:
        incoming: where lines come from.
        outgoing: where lines go.
    """

    def __init__(self, incoming: Source, outgoing: Sink) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._stop: str | None = None
        self._grades: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        self._asked = 0
        self._reader = threading.Thread(target=self._read, name="messages", daemon=True)
        self._reader.start()

    @classmethod
    def of_this_process(cls) -> Self:
        """The process's own; from then on, whatever else writes to standard output writes to standard error."""
        incoming = os.fdopen(os.dup(0), "rb", buffering=0)
        outgoing = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        return cls(incoming, outgoing)

    @property
    def stop_wanted(self) -> str | None:
        """Why to stop after this step: "pause" or "cancel"; None to go on."""
        return self._stop

    def say(self, kind: str, **fields: Any) -> None:
        """Write one message. Numbers that JSON has not, such as NaN, become null."""
        line = json.dumps({"type": kind, **_finite(fields)}, ensure_ascii=False, allow_nan=False)
        left = memoryview(line.encode("utf-8", errors="replace") + b"\n")
        while left:  # a pipe may take only a part
            left = left[self._outgoing.write(left) or 0 :]

    def event(self, message: str, level: Literal["info", "warn"] = "info") -> None:
        """Tell whoever looks at the job something."""
        self.say("event", level=level, message=message)

    def grade(self, samples: Sequence[Mapping[str, Any]]) -> tuple[list[float | None], list[str]]:
        """Have answers graded; returns a reward for each, None where it could not be graded, and what went wrong.

        Raises:
            Stopped: the process is to stop, or nobody is there to grade.
            ValueError: what came back does not fit.
        """
        self._asked += 1
        self.say("grade", id=self._asked, samples=list(samples))
        while True:
            answer = self._grades.get()
            if answer is None:
                raise Stopped(self._stop or "pause")
            if answer.get("id") == self._asked:
                break
        rewards = answer.get("rewards")
        if not isinstance(rewards, list) or len(rewards) != len(samples):
            raise ValueError("the grades that came back are not one for each answer")
        problems = answer.get("problems") or []
        return [None if reward is None else float(reward) for reward in rewards], [str(text) for text in problems]

    def _read(self) -> None:
        held = b""
        while piece := self._incoming.read(_PIECE_BYTES):
            *lines, held = (held + piece).split(b"\n")
            for line in lines:
                self._take(line)
        self._stop = self._stop or "pause"
        self._grades.put(None)

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return
        kind = message.get("type") if isinstance(message, dict) else None
        if kind in {"pause", "cancel"}:
            self._stop = kind
            self._grades.put(None)
        elif kind == "grades":
            self._grades.put(message)


class Stopped(Exception):
    """The process is to stop before the training has come to its end; a checkpoint holds what is done.

    Args:
        reason: "pause" or "cancel".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _finite(value: Any) -> Any:
    """A value in which every number can be written as JSON."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):  # noqa: PLR0124  # NaN
        return None
    return value
