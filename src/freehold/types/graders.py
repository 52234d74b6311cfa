"""Graders: what gives a score to a model's answer, as in OpenAI's specification (`GraderStringCheck` and the like).

A grader's texts may have templates: see `freehold.gateway.templates`. Python graders and endpoint graders have a name
here so that they are refused by it: nothing that callers wrote is run, and nobody else is asked.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import ConfigDict, Field, model_validator

from freehold.types.base import RequestModel
from freehold.types.generation import Usage

MAX_TEMPLATE: Final = 65_536
"""Characters of a text with templates."""
MOST_MESSAGES: Final = 64
MOST_GRADERS: Final = 32
"""In a `multi` grader, and criteria of an evaluation."""
DEFAULT_THRESHOLD: Final = 0.5
"""From which score on a text similarity passes that names no `pass_threshold`."""

Template: TypeAlias = Annotated[str, Field(max_length=MAX_TEMPLATE)]
GraderName: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]
Metric: TypeAlias = Literal[
    "cosine",
    "fuzzy_match",
    "bleu",
    "gleu",
    "meteor",
    "rouge_1",
    "rouge_2",
    "rouge_3",
    "rouge_4",
    "rouge_5",
    "rouge_l",
]
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class InputText(RequestModel):
    """A piece of text of a message."""

    type: Literal["input_text"]
    text: Template


class OutputText(RequestModel):
    """A piece of text that a model has written."""

    type: Literal["output_text"]
    text: Template


class InputImage(RequestModel):
    """A picture in a message: an `https:` or `data:` URL, or a template that becomes one."""

    type: Literal["input_image"]
    image_url: Annotated[str, Field(max_length=8 * 1024 * 1024)]
    detail: Literal["auto", "low", "high"] = "auto"


class InputAudio(RequestModel):
    """Sound in a message; no deployment hears any."""

    type: Literal["input_audio"]
    input_audio: dict[str, Any]

    @model_validator(mode="after")
    def _refused(self) -> Self:
        raise ValueError("type: cannot be 'input_audio': no model here takes sound; send text or pictures")


Part: TypeAlias = Annotated[InputText | OutputText | InputImage | InputAudio, Field(discriminator="type")]
EvalContent: TypeAlias = Template | Part | Annotated[list[Template | Part], Field(min_length=1, max_length=64)]


class EvalItem(RequestModel):
    """A message with templates in it."""

    role: Literal["user", "assistant", "system", "developer"]
    content: EvalContent
    type: Literal["message"] | None = None
    phase: Any = None

    @property
    def parts(self) -> list[str | InputText | OutputText | InputImage | InputAudio]:
        """The pieces of its content."""
        return list(self.content) if isinstance(self.content, list) else [self.content]


Messages: TypeAlias = Annotated[list[EvalItem], Field(min_length=1, max_length=MOST_MESSAGES)]


class StringCheck(RequestModel):
    """Compares a text with another: `eq`, `ne`, or whether it has it in it: `like`, `ilike`."""

    type: Literal["string_check"]
    name: GraderName
    input: Template
    reference: Template
    operation: Literal["eq", "ne", "like", "ilike"]


class TextSimilarity(RequestModel):
    """How alike two texts are, from 0 to 1."""

    type: Literal["text_similarity"]
    name: GraderName
    input: Template
    reference: Template
    evaluation_metric: Metric
    pass_threshold: float | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.evaluation_metric == "meteor":
            raise ValueError(
                "evaluation_metric: cannot be 'meteor': it needs WordNet, which is not part of Freehold; "
                "take 'rouge_l', 'gleu' or 'cosine'"
            )
        return self


class SamplingParams(RequestModel):
    """How a judge is sampled."""

    seed: int | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_completions_tokens: Annotated[int, Field(ge=1)] | None = None
    reasoning_effort: Effort | None = None


class LabelModel(RequestModel):
    """A model that puts one of the labels on an answer."""

    type: Literal["label_model"]
    name: GraderName
    model: Annotated[str, Field(min_length=1, max_length=256)]
    input: Messages
    labels: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=64)]
    passing_labels: Annotated[list[str], Field(max_length=64)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels: must not have a label twice")
        strange = [label for label in self.passing_labels if label not in self.labels]
        if strange:
            raise ValueError(f"passing_labels: must be among the labels, and '{strange[0][:64]}' is not")
        return self


class ScoreModel(RequestModel):
    """A model that gives an answer a score within a range."""

    type: Literal["score_model"]
    name: GraderName
    model: Annotated[str, Field(min_length=1, max_length=256)]
    input: Messages
    sampling_params: SamplingParams | None = None
    range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    pass_threshold: float | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        low, high = self.bounds
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError("range: must be two numbers, the lower first")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest score."""
        return (0.0, 1.0) if self.range is None else (self.range[0], self.range[1])


class RefusedGrader(RequestModel):
    """A kind of grader that there is elsewhere."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: Literal["python", "endpoint"]

    @model_validator(mode="before")
    @classmethod
    def _refused(cls, value: Any) -> Any:
        kind = value.get("type") if isinstance(value, Mapping) else None
        why = "programs that callers send are not run" if kind == "python" else "no other service is asked for scores"
        raise ValueError(f"type: cannot be '{kind}': {why} here; use string_check, text_similarity or a model")


SimpleGrader: TypeAlias = Annotated[
    StringCheck | TextSimilarity | ScoreModel | LabelModel | RefusedGrader, Field(discriminator="type")
]


class Multi(RequestModel):
    """Several graders, and the formula that makes one score of theirs.

    `graders` are objects by the names that the formula has for them; OpenAI's specification also has one grader alone,
    which the formula calls by the grader's own name.
    """

    type: Literal["multi"]
    name: GraderName
    graders: SimpleGrader | Annotated[dict[str, SimpleGrader], Field(min_length=1, max_length=MOST_GRADERS)]
    calculate_output: Annotated[str, Field(min_length=1, max_length=4096)]
    pass_threshold: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """Read a grader alone as one that is called by its name."""
        alone = value.get("graders") if isinstance(value, Mapping) else None
        if isinstance(alone, Mapping) and isinstance(alone.get("type"), str) and isinstance(alone.get("name"), str):
            return {**value, "graders": {alone["name"]: alone}}
        return value

    @property
    def members(self) -> Mapping[str, "StringCheck | TextSimilarity | ScoreModel | LabelModel"]:
        """The graders by name."""
        assert isinstance(self.graders, dict), "one alone was given a name"
        return self.graders  # type: ignore[return-value]  # those that are refused were


Grader: TypeAlias = Annotated[
    StringCheck | TextSimilarity | ScoreModel | LabelModel | Multi | RefusedGrader, Field(discriminator="type")
]
"""Every kind."""
Model: TypeAlias = ScoreModel | LabelModel
AnyGrader: TypeAlias = StringCheck | TextSimilarity | ScoreModel | LabelModel | Multi


class GraderRequest(RequestModel):
    """A grader that is to be looked at."""

    grader: Grader


class RunGraderRequest(RequestModel):
    """A grader that is to grade one answer."""

    grader: Grader
    item: dict[str, Any] = Field(default_factory=dict)
    model_sample: Annotated[str, Field(max_length=1024 * 1024)]


ProblemKind: TypeAlias = Literal[
    "formula_parse_error",
    "sample_parse_error",
    "invalid_variable_error",
    "other_error",
    "model_grader_server_error",
    "model_grader_refusal_error",
    "model_grader_parse_error",
]
"""What can go wrong, in the words of OpenAI's answer for a grader that was run."""


@dataclass(frozen=True, slots=True)
class GradeProblem:
    """Why there is no score.

    Args:
        kind: what went wrong.
        message: the same in words, with what to do about it.
    """

    kind: ProblemKind
    message: str


@dataclass(frozen=True, slots=True)
class Grade:
    """What a grader says of an answer.

    Args:
        name: the grader's.
        type: its kind.
        score: what it gives; the lowest that it could, where there is a problem.
        passed: whether that is enough.
        scores: of the graders in it, by name, and its own.
        usage: what the models were asked for it came to, by the names of their deployments.
        calls: how often they were asked.
        problem: why there is no score; None where there is.
        sample: what a model was asked, and answered; None where none was.
    """

    name: str
    type: str
    score: float
    passed: bool
    scores: Mapping[str, float] = field(default_factory=dict)
    usage: Mapping[str, Usage] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    problem: GradeProblem | None = None
    sample: Mapping[str, Any] | None = None
