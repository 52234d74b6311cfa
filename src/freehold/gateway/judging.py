"""Models as judges: they are asked for a score or a label as a JSON object, and what they answer is read strictly.

Where the deployment can be bound to a schema it is; where it cannot, it is asked in words, and the first JSON object of
its answer counts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from freehold.errors import (
    FreeholdError,
    ProjectKeyRevoked,
    RateLimited,
    Unauthenticated,
    Unavailable,
    UnsupportedParameter,
)
from freehold.gateway.asking import Asker, Requests
from freehold.types.generation import Usage
from freehold.types.graders import GradeProblem, LabelModel, SamplingParams, ScoreModel
from freehold.types.receipt import Scalar

CHAT: Final = "/v1/chat/completions"
KEPT: Final = 65_536
"""Characters of a judge's answer that are looked at, and kept."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said.

    Args:
        value: the score, the label, or why there is none.
        usage: what it came to, by the name of the deployment.
        calls: how often it was asked.
        sample: what it was asked and answered.
    """

    value: float | str | GradeProblem
    usage: Mapping[str, Usage] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    sample: Mapping[str, Any] | None = None


class Judging:
    """Asks judges.

    Args:
        requests: asks models.
    """

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._free: set[str] = set()
        """Models that have turned out not to take a schema."""

    async def score(
        self, asker: Asker, grader: ScoreModel, messages: Sequence[Mapping[str, Any]], notes: Mapping[str, Scalar]
    ) -> Verdict:
        """A number within the grader's range. Raises: as `Requests.ask`, where it can be tried again."""
        low, high = grader.bounds
        asked = f'Answer with a JSON object: {{"result": a number from {low:g} to {high:g}}}'
        answer = await self._asked(asker, grader, [*messages], asked, {"type": "number"}, notes)
        value = answer.value
        if isinstance(value, GradeProblem):
            return answer
        result = _result(str(value))
        if isinstance(result, bool) or not isinstance(result, int | float) or not math.isfinite(result):
            return _unread(answer, f"The judge '{grader.model}' gave no number.")
        if not low <= result <= high:
            return _unread(
                answer, f"The judge '{grader.model}' gave {result:g}, which is not from {low:g} to {high:g}."
            )
        return Verdict(float(result), answer.usage, answer.calls, answer.sample)

    async def label(
        self, asker: Asker, grader: LabelModel, messages: Sequence[Mapping[str, Any]], notes: Mapping[str, Scalar]
    ) -> Verdict:
        """One of the grader's labels. Raises: as `Requests.ask`, where it can be tried again."""
        words = ", ".join(orjson.dumps(label).decode() for label in grader.labels)
        asked = f'Answer with a JSON object: {{"result": one of {words}}}'
        schema = {"type": "string", "enum": list(grader.labels)}
        answer = await self._asked(asker, grader, [*messages], asked, schema, notes)
        value = answer.value
        if isinstance(value, GradeProblem):
            return answer
        result = _result(str(value))
        if result not in grader.labels:
            return _unread(answer, f"The judge '{grader.model}' gave none of the labels.")
        return Verdict(str(result), answer.usage, answer.calls, answer.sample)

    async def _asked(
        self,
        asker: Asker,
        grader: ScoreModel | LabelModel,
        messages: list[Mapping[str, Any]],
        asked: str,
        schema: Mapping[str, Any],
        notes: Mapping[str, Scalar],
    ) -> Verdict:
        """What a judge answers, as text."""
        params = grader.sampling_params if isinstance(grader, ScoreModel) else None
        messages = _with_last(messages, asked)
        body: dict[str, Any] = {"model": grader.model, "messages": messages, **_sampling(params)}
        structured = {
            "type": "json_schema",
            "json_schema": {"name": "result", "strict": True, "schema": _object(schema)},
        }
        try:
            answer = await self._answered(asker, grader.model, body, structured, notes)
        except (RateLimited, Unavailable, Unauthenticated, ProjectKeyRevoked):
            raise
        except FreeholdError as exc:
            return Verdict(GradeProblem("model_grader_server_error", f"The judge '{grader.model}': {exc.message}"))
        choice = answer["choices"][0]
        text = str(choice["message"].get("content") or "")[:KEPT]
        told = answer.get("usage") or {}
        read, cached = told.get("prompt_tokens", 0), (told.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        usage = {answer["model"]: Usage(read, told.get("completion_tokens", 0), cached_tokens=cached or 0)}
        sample = {
            "input": messages,
            "output": [{"role": "assistant", "content": text}],
            "finish_reason": choice["finish_reason"],
            "model": answer["model"],
        }
        value: str | GradeProblem = text
        if choice["message"].get("refusal") or choice["finish_reason"] == "content_filter":
            value = GradeProblem("model_grader_refusal_error", f"The judge '{grader.model}' did not answer.")
        return Verdict(value, usage, {answer["model"]: 1}, sample)

    async def _answered(
        self,
        asker: Asker,
        model: str,
        body: dict[str, Any],
        structured: Mapping[str, Any],
        notes: Mapping[str, Scalar],
    ) -> Mapping[str, Any]:
        if model not in self._free:
            try:
                return await self._requests.ask(asker, CHAT, {**body, "response_format": structured}, notes)
            except UnsupportedParameter as exc:
                if not (exc.param or "").startswith("response_format"):
                    raise
                self._free.add(model)
        return await self._requests.ask(asker, CHAT, body, notes)


def _with_last(messages: list[Mapping[str, Any]], asked: str) -> list[Mapping[str, Any]]:
    """The messages with the question for the form of the answer at their end."""
    last = messages[-1]
    if last["role"] == "user" and isinstance(last["content"], str):
        return [*messages[:-1], {**last, "content": f"{last['content']}\n\n{asked}"}]
    return [*messages, {"role": "user", "content": asked}]


def _object(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"result": schema},
        "required": ["result"],
        "additionalProperties": False,
    }


def _sampling(params: SamplingParams | None) -> dict[str, Any]:
    """What a judge's request says of sampling; without a word it is asked for what it holds likeliest."""
    if params is None:
        return {"temperature": 0.0}
    told = {
        "seed": params.seed,
        "top_p": params.top_p,
        "temperature": params.temperature,
        "max_completion_tokens": params.max_completions_tokens,
        "reasoning_effort": params.reasoning_effort,
    }
    return {name: value for name, value in told.items() if value is not None}


def _result(text: str) -> Any:
    """The `result` of the first JSON object in a text; None if there is none."""
    start = text.find("{")
    end = text.find("}", start)
    if start < 0 or end < 0:
        return None
    try:
        return orjson.loads(text[start : end + 1]).get("result")
    except orjson.JSONDecodeError:
        return None


def _unread(answer: Verdict, message: str) -> Verdict:
    problem = GradeProblem("model_grader_parse_error", message)
    return Verdict(problem, answer.usage, answer.calls, answer.sample)
