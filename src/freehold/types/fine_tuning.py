"""Fine-tuning: a model that callers train on examples of their own, and what is known of the work on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import Field, field_validator, model_validator

from freehold.types.base import RequestModel, SettingsModel
from freehold.types.chat import Metadata
from freehold.types.files import MEBIBYTE
from freehold.types.graders import AnyGrader, Grader, RefusedGrader
from freehold.types.money import micro_from_decimal
from freehold.types.price import Price

FINE_TUNING_JOB: Final = "fine_tuning"
"""What a job is called that trains a model."""
PREFIX: Final = "ft:"
"""With which the names of fine-tuned models begin."""
MOST_PROBLEMS: Final = 50
"""Of a data set that are told."""

Export: TypeAlias = Literal["f16", "q8_0", "lora"]
"""In which form the result is kept: merged weights of 16 or 8 bits, or an adapter that is served with its base."""
MethodName: TypeAlias = Literal["supervised", "dpo", "reinforcement"]
Auto: TypeAlias = Literal["auto"]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Multiplier: TypeAlias = Annotated[float, Field(gt=0, le=100)]
Level: TypeAlias = Literal["info", "warn", "error"]


class TuningStatus(StrEnum):
    """How far a job is, in OpenAI's words."""

    VALIDATING = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TUNING_ENDED: Final = frozenset({TuningStatus.SUCCEEDED, TuningStatus.FAILED, TuningStatus.CANCELLED})
"""States that no job leaves."""


class FineTuningSettings(SettingsModel):
    """`[fine_tuning]`: how much is trained at a time, with what, and what it costs."""

    max_running: Annotated[int, Field(ge=1, le=64)] = 1
    """Jobs that train at a time, in all, where no arbiter decides who runs."""
    max_running_per_project: Annotated[int, Field(ge=1, le=64)] = 1
    max_asking: Annotated[int, Field(ge=1, le=1024)] = 32
    """Where an arbiter decides: how many train or ask it for room at a time; the others wait in the queue."""
    work_class: Literal["product", "research"] = "research"
    """Whose work goes first where an arbiter decides: products before research."""
    checkpoint_s: Annotated[float, Field(gt=0, le=86_400)] = 120.0
    """Seconds that a job may take to write a checkpoint when its room is taken, before it is killed."""
    folder: Annotated[str, Field(pattern="^/")] | None = None
    """Where jobs have their folders; without one, in `HOME/jobs`. With a Ray cluster, one that every node reaches under
    the same path has jobs train on the nodes; without one they do so on the server's machine."""
    python: Annotated[str, Field(min_length=1)] | None = None
    """A Python that has the `train` extra, on every node where jobs train; without one, that which runs the server, or
    `.venv-train` beside it."""
    threads: Annotated[int, Field(ge=1, le=1024)] | Auto = "auto"
    """Processor threads of one job, which needs as many cores; "auto" leaves one processor to the server and,
    where cores are counted, takes only those that are free when the job begins."""
    max_memory_bytes: Annotated[int, Field(ge=256 * MEBIBYTE)] | None = None
    """Of one job's process; it ends with an error where it needs more."""
    export: Export = "f16"
    """For jobs that do not say."""
    deploy: Literal["on_demand", "never"] = "on_demand"
    """Whether a finished model becomes a deployment, started by its first request."""
    export_checkpoints: bool = False
    """Whether the state after each epoch becomes a model of its own, beside the last."""
    max_training_bytes: Annotated[int, Field(ge=1024)] = 512 * MEBIBYTE
    """Of a training or a validation file."""
    max_examples: Annotated[int, Field(ge=1)] = 100_000
    """Of a training or a validation file."""
    price: int = 0
    """Of 1,000 trained tokens, in micro-units; written as a decimal of the whole unit."""

    @field_validator("price", mode="before")
    @classmethod
    def _micro(cls, value: Any) -> Any:
        return micro_from_decimal(value)

    def price_of_tokens(self) -> Price:
        """What trained tokens cost, as the prompt tokens of a receipt are priced."""
        return Price.model_construct(since=None, input=self.price * 1000, cached_input=None, output=0, image=0)


class SupervisedHyperparameters(RequestModel):
    """How to train on examples of what is to be answered."""

    batch_size: Annotated[int, Field(ge=1, le=256)] | Auto = "auto"
    learning_rate_multiplier: Multiplier | Auto = "auto"
    n_epochs: Annotated[int, Field(ge=1, le=50)] | Auto = "auto"


class PreferenceHyperparameters(SupervisedHyperparameters):
    """How to train on pairs of a better and a worse answer."""

    beta: Annotated[float, Field(gt=0, le=2)] | Auto = "auto"


class ReinforcementHyperparameters(SupervisedHyperparameters):
    """How to train on grades of what the model itself answers."""

    compute_multiplier: Annotated[float, Field(gt=0.00001, le=10)] | Auto = "auto"
    eval_interval: Count | Auto = "auto"
    eval_samples: Count | Auto = "auto"
    reasoning_effort: Literal["default", "low", "medium", "high"] = "default"
    """How long the answers may be that are graded while it trains."""


class SupervisedMethod(RequestModel):
    """Learn to answer as the examples do."""

    hyperparameters: SupervisedHyperparameters = SupervisedHyperparameters()


class PreferenceMethod(RequestModel):
    """Learn to prefer one answer to another: direct preference optimization."""

    hyperparameters: PreferenceHyperparameters = PreferenceHyperparameters()


class ReinforcementMethod(RequestModel):
    """Learn to answer so that a grader gives good grades: group-relative policy optimization."""

    grader: Grader
    response_format: dict[str, Any] | None = None
    """As Azure has it: what the answers are to look like, handed to the grader's templates as `output_json`."""
    hyperparameters: ReinforcementHyperparameters = ReinforcementHyperparameters()


class Method(RequestModel):
    """How to train."""

    type: MethodName
    supervised: SupervisedMethod | None = None
    dpo: PreferenceMethod | None = None
    reinforcement: ReinforcementMethod | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        for name in ("supervised", "dpo", "reinforcement"):
            if name != self.type and getattr(self, name) is not None:
                raise ValueError(f"{name}: the method is '{self.type}'; leave '{name}' out")
        if self.type == "reinforcement" and self.reinforcement is None:
            raise ValueError("reinforcement: is required, with a grader")
        return self

    @property
    def hyperparameters(self) -> SupervisedHyperparameters:
        """Those of the method that is asked for."""
        if self.type == "dpo":
            return (self.dpo or PreferenceMethod()).hyperparameters
        if self.type == "reinforcement" and self.reinforcement is not None:
            return self.reinforcement.hyperparameters
        return (self.supervised or SupervisedMethod()).hyperparameters

    @property
    def grader(self) -> AnyGrader | RefusedGrader | None:
        """What grades answers; None where nothing does."""
        return None if self.reinforcement is None else self.reinforcement.grader


class TuningRequest(RequestModel):
    """A job that is to be made. `export` is Freehold's own."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    training_file: Annotated[str, Field(min_length=1, max_length=64)]
    validation_file: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    hyperparameters: SupervisedHyperparameters | None = None
    """The older form of `method`'s, for supervised training."""
    method: Method | None = None
    suffix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    integrations: list[Any] | None = None
    metadata: Metadata | None = None
    export: Export | None = None

    @field_validator("integrations")
    @classmethod
    def _none(cls, value: list[Any] | None) -> list[Any] | None:
        if value:
            raise ValueError("are not supported: jobs have no network; metrics are in the events and the result files")
        return value

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.method is not None and self.hyperparameters is not None:
            raise ValueError(f"hyperparameters: give them in 'method.{self.method.type}' only")
        return self

    @property
    def how(self) -> Method:
        """How to train, whichever form the request has."""
        if self.method is not None:
            return self.method
        given = self.hyperparameters or SupervisedHyperparameters()
        return Method(type="supervised", supervised=SupervisedMethod(hyperparameters=given))


@dataclass(frozen=True, slots=True)
class TuningError:
    """Why a job failed: a word, what to do about it, and which parameter of the request is meant."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True)
class TuningEvent:
    """Something that happened to a job.

    Args:
        id: names it.
        created_at: when, in seconds since the epoch.
        level: how bad it is.
        type: `metrics` where `data` holds numbers of a step.
        message: what.
        data: what goes with it.
    """

    id: str
    created_at: int
    level: Level
    type: Literal["message", "metrics"]
    message: str
    data: Mapping[str, Any]


def model_name(base: str, project_id: str, suffix: str | None, job_id: str, *, step: int | None = None) -> str:
    """What a fine-tuned model is called: `ft:BASE:PROJECT:SUFFIX:ID`, of a checkpoint with `:ckpt-step-N` behind it.

    Args:
        base: the deployment or model that the job named; of a fine-tuned model its own base stands in the name.
        project_id: whose it is.
        suffix: as the job has it.
        job_id: the job.
        step: of the checkpoint.
    """
    if base.startswith(PREFIX):
        base = base.split(":")[1]
    project = "".join(c if c.isalnum() and c.isascii() else "-" for c in project_id.lower())[:32]
    name = f"{PREFIX}{base}:{project}:{suffix or ''}:{job_id[-8:]}"
    return name if step is None else f"{name}:ckpt-step-{step}"
