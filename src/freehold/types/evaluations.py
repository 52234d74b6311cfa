"""Evaluations: what is asked of models, and how their answers are graded, as in OpenAI's `/evals`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from freehold.types.base import RequestModel, SettingsModel
from freehold.types.chat import Metadata, ResponseFormat, Tool
from freehold.types.graders import (
    MOST_GRADERS,
    Effort,
    Grader,
    Messages,
    Multi,
    RefusedGrader,
    ScoreModel,
    TextSimilarity,
)
from freehold.types.responses import TextOptions

EVAL_JOB: Final = "eval_run"
"""What a job is called that runs an evaluation."""
MOST_ITEMS: Final = 100_000
"""Of one run."""
MOST_INLINE: Final = 10_000
"""Of those, the ones that may stand in the request itself."""

Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]
ModelName: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]


class EvaluationsSettings(SettingsModel):
    """`[evaluations]`: what evaluations ask beside the models that their callers name."""

    embedding_model: Annotated[str, Field(min_length=1, max_length=256)] = "embed"
    """The deployment whose embeddings the metric `cosine` compares."""


class CustomConfig(RequestModel):
    """Items of a shape of the caller's own; `item_schema` is a JSON schema."""

    type: Literal["custom"]
    item_schema: dict[str, Any]
    include_sample_schema: bool = False


class StoredConfig(RequestModel):
    """Items that are stored chat completions; `stored_completions` is OpenAI's older word for `logs`."""

    type: Literal["logs", "stored_completions"]
    metadata: Metadata | None = None


class EvalRequest(RequestModel):
    """An evaluation that is to be made."""

    name: Name | None = None
    metadata: Metadata | None = None
    data_source_config: Annotated[CustomConfig | StoredConfig, Field(discriminator="type")]
    testing_criteria: Annotated[list[Grader], Field(min_length=1, max_length=MOST_GRADERS)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [criterion.name for criterion in self.criteria]
        if len(set(names)) != len(names):
            raise ValueError("testing_criteria: must have names that differ; results are told by them")
        for criterion in self.criteria:
            if isinstance(criterion, TextSimilarity) and criterion.pass_threshold is None:
                raise ValueError(f"testing_criteria: needs a 'pass_threshold' in '{criterion.name[:64]}'")
        return self

    @property
    def criteria(self) -> list[Any]:
        """What stands in `testing_criteria`; a kind that is refused was refused."""
        return [criterion for criterion in self.testing_criteria if not isinstance(criterion, RefusedGrader)]


class EvalUpdate(RequestModel):
    """What can be changed of an evaluation; what is left out stays."""

    name: Name | None = None
    metadata: Metadata | None = None


class Line(RequestModel):
    """One item, and perhaps an answer that was made elsewhere."""

    item: dict[str, Any]
    sample: dict[str, Any] | None = None


class FileContent(RequestModel):
    """Items that stand in the request."""

    type: Literal["file_content"]
    content: Annotated[list[Line], Field(min_length=1, max_length=MOST_INLINE)]


class FileId(RequestModel):
    """Items in a file, one a line."""

    type: Literal["file_id"]
    id: Annotated[str, Field(min_length=1, max_length=64)]


class StoredSource(RequestModel):
    """Chat completions that were stored."""

    type: Literal["stored_completions"]
    metadata: Metadata | None = None
    model: ModelName | None = None
    created_after: Annotated[int, Field(ge=0)] | None = None
    created_before: Annotated[int, Field(ge=0)] | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_ITEMS)] | None = None


class ResponsesSource(RequestModel):
    """Responses that were stored; they cannot be listed, so they cannot be a source."""

    type: Literal["responses"]

    @model_validator(mode="before")
    @classmethod
    def _refused(cls, _: Any) -> Any:
        raise ValueError("type: cannot be 'responses': stored responses are not searched; take 'stored_completions'")


class TemplateInput(RequestModel):
    """Messages with templates."""

    type: Literal["template"]
    template: Messages


class ItemReference(RequestModel):
    """Messages that stand in the item, such as `item.messages`."""

    type: Literal["item_reference"]
    item_reference: Annotated[str, Field(min_length=1, max_length=256)]


InputMessages: TypeAlias = Annotated[TemplateInput | ItemReference, Field(discriminator="type")]
Lines: TypeAlias = Annotated[FileContent | FileId, Field(discriminator="type")]


class ChatSampling(RequestModel):
    """How the model is sampled, by chat completions."""

    reasoning_effort: Effort | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(min_length=1, max_length=128)] | None = None


class ResponseSampling(RequestModel):
    """How the model is sampled, by responses."""

    reasoning_effort: Effort | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    tools: Annotated[list[dict[str, Any]], Field(max_length=128)] | None = None
    text: TextOptions | None = None


class JsonlSource(RequestModel):
    """Answers that were made elsewhere are graded."""

    type: Literal["jsonl"]
    source: Lines


class CompletionsSource(RequestModel):
    """A model is asked by chat completions, and its answers are graded."""

    type: Literal["completions"]
    source: Annotated[FileContent | FileId | StoredSource, Field(discriminator="type")]
    input_messages: InputMessages | None = None
    sampling_params: ChatSampling | None = None
    model: ModelName | None = None


class ResponsesRunSource(RequestModel):
    """A model is asked by responses, and its answers are graded."""

    type: Literal["responses"]
    source: Annotated[FileContent | FileId | ResponsesSource, Field(discriminator="type")]
    input_messages: InputMessages | None = None
    sampling_params: ResponseSampling | None = None
    model: ModelName | None = None


DataSource: TypeAlias = Annotated[JsonlSource | CompletionsSource | ResponsesRunSource, Field(discriminator="type")]


class RunRequest(RequestModel):
    """A run that is to be made."""

    name: Name | None = None
    metadata: Metadata | None = None
    data_source: DataSource

    @model_validator(mode="after")
    def _possible(self) -> Self:
        found = self.data_source
        if isinstance(found, JsonlSource):
            return self
        stored = isinstance(found.source, StoredSource)
        if not stored and (found.model is None or found.input_messages is None):
            missing = "model" if found.model is None else "input_messages"
            raise ValueError(f"data_source: needs '{missing}': what is asked, and of which deployment")
        return self


class RunStatus(StrEnum):
    """How far a run is."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELED = "canceled"
    FAILED = "failed"


RUN_ENDED: Final = frozenset({RunStatus.COMPLETED, RunStatus.CANCELED, RunStatus.FAILED})
"""States that no run leaves."""


class ItemStatus(StrEnum):
    """What became of an item."""

    PASSED = "pass"
    FAILED = "fail"
    ERRORED = "error"


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """What one model's answers came to, in tokens."""

    invocation_count: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: "ModelUsage") -> "ModelUsage":
        return ModelUsage(
            self.invocation_count + other.invocation_count,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of an item.

    Args:
        number: its place among the items, from 0.
        status: whether it passed.
        passed: by criterion, in their order; None where there is no score.
        scores: likewise: what was given, brought into 0 to 1.
        content: the item, its answer and its grades, for whoever looks.
        usage: what models came to for it, by their names.
    """

    number: int
    status: ItemStatus
    passed: tuple[bool | None, ...]
    scores: tuple[float | None, ...]
    content: Mapping[str, Any]
    usage: Mapping[str, ModelUsage] = field(default_factory=dict)


def unit_score(criterion: Any, score: float) -> float:
    """A score brought into 0 to 1: what a model gives within a range by that range, others as they are, cut off."""
    low, high = criterion.bounds if isinstance(criterion, ScoreModel) else (0.0, 1.0)
    assert isinstance(criterion, Multi) or low <= score <= high, "a grader gives no score beyond its range"
    return min(1.0, max(0.0, (score - low) / (high - low)))
