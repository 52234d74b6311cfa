"""One item of a run: what is asked of the model, what it answers, and how that is graded."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from freehold.errors import (
    AuditUnavailable,
    Draining,
    FreeholdError,
    InvalidRequest,
    ProjectKeyRevoked,
    Unauthenticated,
    UnsupportedParameter,
)
from freehold.gateway.account import EVALUATED
from freehold.gateway.asking import Asker, Requests
from freehold.gateway.evaluation_sources import SourceItem
from freehold.gateway.evaluation_store import Evaluation, Run
from freehold.gateway.grading import Grading, messages_of, sample_of
from freehold.gateway.templates import value_of
from freehold.types.evaluations import (
    CompletionsSource,
    EvaluationsSettings,
    ItemReference,
    ItemResult,
    ItemStatus,
    JsonlSource,
    ModelUsage,
    ResponsesRunSource,
    TemplateInput,
    unit_score,
)
from freehold.types.generation import Usage
from freehold.types.graders import Grade

CHAT: Final = "/v1/chat/completions"
RESPONSES: Final = "/v1/responses"
SEED: Final = 42
"""As in OpenAI's specification, where the run names none."""

_SAMPLED: Final = {"temperature", "max_completion_tokens", "top_p", "seed"}


class ItemWork:
    """Works on the items of one run.

    Args:
        evaluation: says how answers are graded.
        run: says what is asked.
        asker: on whose behalf.
        requests: asks models.
        settings: what graders ask beside the models that their callers name.
    """

    def __init__(
        self, evaluation: Evaluation, run: Run, asker: Asker, requests: Requests, settings: EvaluationsSettings
    ) -> None:
        self._criteria = evaluation.request.criteria
        self._source = run.request.data_source
        self._defaults = run.defaults
        self._notes = {EVALUATED: run.id}
        self._asker = asker
        self._requests = requests
        self._grading = Grading(requests, settings)
        self._seeded = True
        """Whether the model takes a seed that nobody asked for."""

    async def result(self, found: SourceItem) -> ItemResult:
        """Ask, and grade.

        Raises:
            Unauthenticated, ProjectKeyRevoked: nothing may be asked any more.
            AuditUnavailable, Draining: nothing can be asked now.
        """
        sample, told, usage = dict(found.sample or {}), _nothing_asked(found), dict[str, ModelUsage]()
        if found.problem:
            return self._errored(found, told, "invalid_item", found.problem)
        source = self._source
        if not isinstance(source, JsonlSource) and source.model is not None:
            try:
                sample, told = await self._sampled(source, source.model, found)
            except (Unauthenticated, ProjectKeyRevoked, AuditUnavailable, Draining):
                raise
            except FreeholdError as exc:
                return self._errored(found, told, exc.code or exc.type, exc.message)
            usage[told["model"]] = ModelUsage(
                1, told["usage"]["prompt_tokens"], told["usage"]["completion_tokens"], told["usage"]["cached_tokens"]
            )
        grades = [
            await self._grading.grade(self._asker, criterion, found.item, sample, self._notes)
            for criterion in self._criteria
        ]
        for grade in grades:
            _add(usage, grade)
        return self._graded(found, told, grades, usage)

    def _graded(
        self, found: SourceItem, told: Mapping[str, Any], grades: Sequence[Grade], usage: Mapping[str, ModelUsage]
    ) -> ItemResult:
        failed = [grade for grade in grades if grade.problem is not None]
        status = ItemStatus.PASSED if all(grade.passed for grade in grades) else ItemStatus.FAILED
        content = {
            "datasource_item": found.item,
            "results": [_result(grade) for grade in grades],
            "sample": told,
        }
        return ItemResult(
            found.number,
            ItemStatus.ERRORED if failed else status,
            tuple(None if grade.problem else grade.passed for grade in grades),
            tuple(
                None if grade.problem else unit_score(criterion, grade.score)
                for criterion, grade in zip(self._criteria, grades, strict=True)
            ),
            content,
            usage,
        )

    def _errored(self, found: SourceItem, told: Mapping[str, Any], code: str, message: str) -> ItemResult:
        nothing = (None,) * len(self._criteria)
        told = {**told, "error": {"code": code, "message": message}}
        content = {"datasource_item": found.item, "results": [], "sample": told}
        return ItemResult(found.number, ItemStatus.ERRORED, nothing, nothing, content)

    async def _sampled(
        self, source: CompletionsSource | ResponsesRunSource, model: str, found: SourceItem
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a model answers: as graders see it, and as it is told of the item."""
        messages = _messages(source, found)
        if isinstance(source, ResponsesRunSource):
            body = _response_body(source, model, messages)
            answer = await self._requests.ask(self._asker, RESPONSES, body, self._notes)
            sample = _response_sample(answer)
        else:
            answer = await self._chat(source, _chat_body(source, model, messages))
            sample = _chat_sample(answer)
        used = answer.get("usage") or {}
        words = ("prompt", "completion") if "prompt_tokens" in used else ("input", "output")
        read, made = used.get(f"{words[0]}_tokens", 0), used.get(f"{words[1]}_tokens", 0)
        cached = (used.get(f"{words[0]}_tokens_details") or {}).get("cached_tokens", 0) or 0
        told = {
            "input": [{"role": each["role"], "content": _plain(each.get("content"))} for each in messages],
            "output": [{"role": "assistant", "content": sample["output_text"]}],
            "finish_reason": sample["finish_reason"],
            "model": sample["model"],
            "usage": {
                "total_tokens": read + made,
                "completion_tokens": made,
                "prompt_tokens": read,
                "cached_tokens": cached,
            },
            "error": None,
            **self._sampling(source),
        }
        return sample, told

    def _sampling(self, source: CompletionsSource | ResponsesRunSource) -> dict[str, float]:
        """How the model was sampled."""
        params = source.sampling_params
        given = {} if params is None else params.model_dump(include=_SAMPLED, exclude_none=True)
        seed = SEED if self._seeded and isinstance(source, CompletionsSource) else 0
        return {"seed": seed, **self._defaults, **given}

    async def _chat(self, source: CompletionsSource, body: dict[str, Any]) -> Mapping[str, Any]:
        """Ask with a seed, so that a run can be repeated; without where the model takes none and nobody named one."""
        named = source.sampling_params is not None and source.sampling_params.seed is not None
        if not named and self._seeded:
            try:
                return await self._requests.ask(self._asker, CHAT, {**body, "seed": SEED}, self._notes)
            except UnsupportedParameter as exc:
                if exc.param != "seed":
                    raise
                self._seeded = False
        return await self._requests.ask(self._asker, CHAT, body, self._notes)


def _messages(source: CompletionsSource | ResponsesRunSource, found: SourceItem) -> list[dict[str, Any]]:
    """What is asked, as messages of a chat completion.

    Raises:
        InvalidRequest: a template cannot be filled in, or what it names are no messages.
    """
    match source.input_messages:
        case TemplateInput(template=template):
            return messages_of(template, found.item, found.sample or {})
        case ItemReference(item_reference=reference):
            value = value_of(reference, found.item, found.sample or {})
        case _:
            value = found.item["input"]
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) and "role" in each for each in value):
        raise InvalidRequest("What 'item_reference' names must be a list of messages.", code="invalid_item")
    return value


def _chat_body(source: CompletionsSource, model: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    params = source.sampling_params
    told = {} if params is None else params.model_dump(exclude_none=True, by_alias=True)
    return {"model": model, "messages": messages, **told}


def _response_body(source: ResponsesRunSource, model: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    params = source.sampling_params
    told = {} if params is None else params.model_dump(exclude_none=True, by_alias=True)
    told.pop("seed", None)  # responses have none
    effort, most = told.pop("reasoning_effort", None), told.pop("max_completion_tokens", None)
    body = {"model": model, "input": [_as_input(each) for each in messages], "store": False, **told}
    return (
        body
        | ({} if effort is None else {"reasoning": {"effort": effort}})
        | ({} if most is None else {"max_output_tokens": most})
    )


def _as_input(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message of a chat completion as an item of a response's input."""
    content = message.get("content")
    if not isinstance(content, list):
        return {"role": message["role"], "content": content or ""}
    parts = [
        {"type": "input_text", "text": part["text"]}
        if part.get("type") == "text"
        else {"type": "input_image", "image_url": part["image_url"]["url"], "detail": part["image_url"]["detail"]}
        for part in content
    ]
    return {"role": message["role"], "content": parts}


def _chat_sample(answer: Mapping[str, Any]) -> dict[str, Any]:
    choice = answer["choices"][0]
    message = choice["message"]
    tools = message.get("tool_calls") or []
    more = {"model": answer["model"], "finish_reason": choice["finish_reason"], "output_tools": tools}
    return sample_of(message.get("content") or message.get("refusal") or "", **more)


def _response_sample(answer: Mapping[str, Any]) -> dict[str, Any]:
    output = answer.get("output") or []
    texts = [
        part.get("text", "")
        for item in output
        if item["type"] == "message"
        for part in item["content"]
        if part["type"] == "output_text"
    ]
    tools = [item for item in output if item["type"] == "function_call"]
    finish = "stop" if answer.get("status") == "completed" else "length"
    return sample_of("".join(texts), model=answer["model"], finish_reason=finish, output_tools=tools)


def _nothing_asked(found: SourceItem) -> dict[str, Any]:
    """What is told of an item whose answer came with it."""
    sample = found.sample or {}
    text = sample.get("output_text")
    return {
        "input": [],
        "output": [{"role": "assistant", "content": text}] if isinstance(text, str) else [],
        "finish_reason": str(sample.get("finish_reason") or ""),
        "model": str(sample.get("model") or ""),
        "usage": {"total_tokens": 0, "completion_tokens": 0, "prompt_tokens": 0, "cached_tokens": 0},
        "error": None,
        **dict.fromkeys(_SAMPLED, 0),
    }


def _result(grade: Grade) -> dict[str, Any]:
    """A grade as an item's result tells it."""
    told: dict[str, Any] = {
        "name": grade.name,
        "type": grade.type,
        "score": grade.score,
        "passed": grade.passed,
        "sample": grade.sample,
    }
    if grade.scores:
        told["scores"] = dict(grade.scores)
    if grade.problem is not None:
        told["error"] = asdict(grade.problem)
    return told


def _add(usage: dict[str, ModelUsage], grade: Grade) -> None:
    for model, used in grade.usage.items():
        usage[model] = usage.get(model, ModelUsage()) + _model_usage(used, grade.calls.get(model, 1))


def _model_usage(used: Usage, calls: int) -> ModelUsage:
    return ModelUsage(calls, used.prompt_tokens, used.completion_tokens, used.cached_tokens)


def _plain(content: Any) -> str:
    """The text of a message's content."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")
