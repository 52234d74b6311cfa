"""Graders at work: an item and a model's answer become a score.

What is wrong with the data, or with what a judge says, is a problem of the grade. What is wrong with the service, and
may be right again in a moment, is raised: whoever asked tries again.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from freehold.errors import FreeholdError, InvalidRequest, ProjectKeyRevoked, RateLimited, Unauthenticated, Unavailable
from freehold.gateway.asking import Asker, Requests
from freehold.gateway.formula import FormulaProblem, check_formula, work_out
from freehold.gateway.judging import Judging, Verdict
from freehold.gateway.similarity import MAX_TEXT, MEASURES, cosine
from freehold.gateway.templates import Data, TemplateProblem, check_template, render
from freehold.types.evaluations import EvaluationsSettings
from freehold.types.generation import Usage
from freehold.types.graders import (
    DEFAULT_THRESHOLD,
    AnyGrader,
    EvalItem,
    Grade,
    GradeProblem,
    InputImage,
    LabelModel,
    Multi,
    ProblemKind,
    RefusedGrader,
    ScoreModel,
    StringCheck,
    TextSimilarity,
)
from freehold.types.receipt import Scalar

__all__ = ["Grading", "check_grader", "sample_of"]

_EMBEDDINGS: Final = "/v1/embeddings"
Notes = Mapping[str, Scalar]


class Grading:
    """Grades answers.

    Args:
        requests: asks the models that judge.
        settings: which deployment makes the embeddings for `cosine`.
    """

    def __init__(self, requests: Requests, settings: EvaluationsSettings) -> None:
        self._requests = requests
        self._settings = settings
        self._judging = Judging(requests)

    async def grade(
        self, asker: Asker, grader: AnyGrader | RefusedGrader, item: Data, sample: Data, notes: Notes
    ) -> Grade:
        """Grade an answer.

        Args:
            asker: on whose behalf models are asked.
            grader: as `check_grader` has found it to be one.
            item: the data that the answer belongs to.
            sample: the answer, as `sample_of` makes it.
            notes: what the receipts of models' answers say they were made for.

        Raises:
            RateLimited, Unavailable: a model cannot be asked now; try again.
            Unauthenticated, Forbidden: the asker may do this no more.
        """
        match grader:
            case StringCheck():
                return self._checked(grader, item, sample)
            case TextSimilarity():
                return await self._compared(asker, grader, item, sample, notes)
            case ScoreModel():
                return await self._scored(asker, grader, item, sample, notes)
            case LabelModel():
                return await self._labelled(asker, grader, item, sample, notes)
            case Multi():
                return await self._combined(asker, grader, item, sample, notes)
            case RefusedGrader():
                raise AssertionError("it was refused when it was read")

    def _checked(self, grader: StringCheck, item: Data, sample: Data) -> Grade:
        try:
            text, reference = render(grader.input, item, sample), render(grader.reference, item, sample)
        except TemplateProblem as exc:
            return _failed(grader, _data_problem(exc))
        match grader.operation:
            case "eq":
                passed = text == reference
            case "ne":
                passed = text != reference
            case "like":
                passed = reference in text
            case "ilike":
                passed = reference.casefold() in text.casefold()
        return _grade(grader, float(passed), passed=passed)

    async def _compared(self, asker: Asker, grader: TextSimilarity, item: Data, sample: Data, notes: Notes) -> Grade:
        try:
            text, reference = render(grader.input, item, sample), render(grader.reference, item, sample)
        except TemplateProblem as exc:
            return _failed(grader, _data_problem(exc))
        if max(len(text), len(reference)) > MAX_TEXT:
            problem = GradeProblem("other_error", f"A text has more than {MAX_TEXT} characters; compare shorter ones.")
            return _failed(grader, problem)
        usage: dict[str, Usage] = {}
        if grader.evaluation_metric == "cosine":
            try:
                score, usage = await self._cosine(asker, text, reference, notes)
            except (RateLimited, Unavailable, Unauthenticated, ProjectKeyRevoked):
                raise
            except FreeholdError as exc:
                return _failed(grader, GradeProblem("model_grader_server_error", exc.message))
        else:
            score = MEASURES[grader.evaluation_metric](text, reference)
        least = DEFAULT_THRESHOLD if grader.pass_threshold is None else grader.pass_threshold
        return _grade(grader, score, passed=score >= least, usage=usage, calls=dict.fromkeys(usage, 1))

    async def _cosine(self, asker: Asker, text: str, reference: str, notes: Notes) -> tuple[float, dict[str, Usage]]:
        """The cosine of two texts' embeddings; texts of nothing are alike only to each other."""
        if not text or not reference:
            return float(text == reference), {}
        body = {"model": self._settings.embedding_model, "input": [text, reference]}
        answer = await self._requests.ask(asker, _EMBEDDINGS, body, notes)
        one, other = (each["embedding"] for each in answer["data"])
        return cosine(one, other), {answer["model"]: Usage(prompt_tokens=answer["usage"]["prompt_tokens"])}

    async def _scored(self, asker: Asker, grader: ScoreModel, item: Data, sample: Data, notes: Notes) -> Grade:
        try:
            messages = messages_of(grader.input, item, sample)
        except TemplateProblem as exc:
            return _failed(grader, _data_problem(exc))
        low, high = grader.bounds
        verdict = await self._judging.score(asker, grader, messages, notes)
        if isinstance(verdict.value, GradeProblem):
            return _failed(grader, verdict.value, verdict, low)
        least = (low + high) / 2 if grader.pass_threshold is None else grader.pass_threshold
        score = float(verdict.value)
        return _grade(grader, score, passed=score >= least, verdict=verdict)

    async def _labelled(self, asker: Asker, grader: LabelModel, item: Data, sample: Data, notes: Notes) -> Grade:
        try:
            messages = messages_of(grader.input, item, sample)
        except TemplateProblem as exc:
            return _failed(grader, _data_problem(exc))
        verdict = await self._judging.label(asker, grader, messages, notes)
        if isinstance(verdict.value, GradeProblem):
            return _failed(grader, verdict.value, verdict)
        passed = verdict.value in grader.passing_labels
        return _grade(grader, float(passed), passed=passed, verdict=verdict)

    async def _combined(self, asker: Asker, grader: Multi, item: Data, sample: Data, notes: Notes) -> Grade:
        parts = {name: await self.grade(asker, member, item, sample, notes) for name, member in grader.members.items()}
        scores = {name: part.score for name, part in parts.items()}
        usage, calls = _together(list(parts.values()))
        problem = next((part.problem for part in parts.values() if part.problem is not None), None)
        score = 0.0
        if problem is None:
            try:
                score = work_out(grader.calculate_output, scores)
            except FormulaProblem as exc:
                problem = GradeProblem("formula_parse_error", exc.message)
        least = DEFAULT_THRESHOLD if grader.pass_threshold is None else grader.pass_threshold
        return Grade(
            grader.name,
            grader.type,
            score,
            passed=problem is None and score >= least,
            scores=scores,
            usage=usage,
            calls=calls,
            problem=problem,
        )


def check_grader(grader: AnyGrader | RefusedGrader, param: str = "grader") -> None:
    """Return if a grader's templates and its formula can be read.

    Args:
        grader: the grader.
        param: where it stands, for the error.

    Raises:
        InvalidRequest: names the field.
    """
    match grader:
        case StringCheck() | TextSimilarity():
            check_template(grader.input, f"{param}.input")
            check_template(grader.reference, f"{param}.reference")
        case ScoreModel() | LabelModel():
            check_messages(grader.input, f"{param}.input")
        case Multi():
            for name, member in grader.members.items():
                check_grader(member, f"{param}.graders.{name}")
            check_formula(grader.calculate_output, grader.members, f"{param}.calculate_output")
        case RefusedGrader():
            raise AssertionError("it was refused when it was read")


def check_messages(messages: Sequence[EvalItem], param: str) -> None:
    """Return if the templates of messages can be read.

    Raises:
        InvalidRequest: names the field.
    """
    for index, message in enumerate(messages):
        for part in message.parts:
            text = part if isinstance(part, str) else part.image_url if isinstance(part, InputImage) else ""
            text = text or getattr(part, "text", "")
            if not (isinstance(part, InputImage) and text.startswith("data:")):
                check_template(text, f"{param}[{index}].content")


def messages_of(messages: Sequence[EvalItem], item: Data, sample: Data) -> list[dict[str, Any]]:
    """Messages with their templates filled in, as a chat completion takes them.

    Raises:
        TemplateProblem: a template cannot be filled in.
    """
    return [_message(message, item, sample) for message in messages]


def _message(message: EvalItem, item: Data, sample: Data) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, InputImage):
            # An address of data has no templates: it would be read character by character for nothing.
            url = part.image_url if part.image_url.startswith("data:") else render(part.image_url, item, sample)
            parts.append({"type": "image_url", "image_url": {"url": url, "detail": part.detail}})
        else:
            text = part if isinstance(part, str) else getattr(part, "text", "")
            parts.append({"type": "text", "text": render(text, item, sample)})
    if all(part["type"] == "text" for part in parts):
        return {"role": message.role, "content": "".join(part["text"] for part in parts)}
    return {"role": message.role, "content": parts}


def sample_of(text: str, **more: Any) -> dict[str, Any]:
    """An answer as templates and graders see it: its text, and what that is as JSON where it is JSON."""
    sample: dict[str, Any] = {"output_text": text, **more}
    try:
        sample["output_json"] = orjson.loads(text)
    except orjson.JSONDecodeError:
        return sample
    return sample


def _together(parts: Sequence[Grade]) -> tuple[dict[str, Usage], dict[str, int]]:
    """What several grades' models came to."""
    usage: dict[str, Usage] = {}
    calls: dict[str, int] = {}
    for part in parts:
        for model, used in part.usage.items():
            usage[model] = usage.get(model, Usage()) + used
        for model, count in part.calls.items():
            calls[model] = calls.get(model, 0) + count
    return usage, calls


def _data_problem(exc: InvalidRequest) -> GradeProblem:
    kind: ProblemKind = "invalid_variable_error"
    if exc.code == "unknown_field" and "'sample.output_json" in exc.message:
        kind = "sample_parse_error"
    return GradeProblem(kind, exc.message)


def _grade(
    grader: AnyGrader,
    score: float,
    *,
    passed: bool,
    usage: Mapping[str, Usage] | None = None,
    calls: Mapping[str, int] | None = None,
    verdict: Verdict | None = None,
) -> Grade:
    assert math.isfinite(score), "no grader gives a score that is not finite"
    if verdict is not None:
        usage, calls = verdict.usage, verdict.calls
    return Grade(
        grader.name,
        grader.type,
        score,
        passed,
        usage=usage or {},
        calls=calls or {},
        sample=None if verdict is None else verdict.sample,
    )


def _failed(grader: AnyGrader, problem: GradeProblem, verdict: Verdict | None = None, score: float = 0.0) -> Grade:
    return Grade(
        grader.name,
        grader.type,
        score,
        passed=False,
        usage={} if verdict is None else verdict.usage,
        calls={} if verdict is None else verdict.calls,
        problem=problem,
        sample=None if verdict is None else verdict.sample,
    )
