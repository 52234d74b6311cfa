"""`/fine_tuning/alpha/graders`: look at a grader, and try it on one answer."""

import time
from dataclasses import dataclass
from typing import Any, Final

from freehold.api.body import parse
from freehold.api.own_requests import OwnRequests
from freehold.api.reply import Call, Handler, Reply
from freehold.errors import InvalidRequest
from freehold.gateway.grading import Grading, check_grader, sample_of
from freehold.governance.authorization import require
from freehold.types.engine import Tier
from freehold.types.generation import Usage
from freehold.types.graders import Grade, GraderRequest, LabelModel, RunGraderRequest
from freehold.types.identity import Action, Principal

_RESOURCE: Final = "graders"


@dataclass(frozen=True, slots=True)
class _Present:
    """A caller who is there: see `freehold.gateway.asking.Asker`."""

    caller: Principal

    def principal(self) -> Principal:
        """See `Asker.principal`."""
        return self.caller


async def validate_grader(call: Call) -> Reply:
    """Say a grader back if it is one."""
    require(call.principal, Action.INFER, _RESOURCE)
    _check(parse(GraderRequest, call.body))
    return {"grader": call.body["grader"]}


async def run_grader(call: Call) -> Reply:
    """What a grader says of an answer."""
    require(call.principal, Action.INFER, _RESOURCE)
    request = parse(RunGraderRequest, call.body)
    _check(request)
    grading = Grading(OwnRequests(call.gateway, tier=Tier.DEFAULT), call.gateway.content.evaluations.settings)
    sample = sample_of(request.model_sample)
    notes = {"grader_run": call.account.request_id}
    begun = time.perf_counter()
    grade = await grading.grade(_Present(call.principal), request.grader, request.item, sample, notes)
    return run_object(grade, time.perf_counter() - begun)


OPERATIONS: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("POST", "fine_tuning/alpha/graders/validate", validate_grader),
    ("POST", "fine_tuning/alpha/graders/run", run_grader),
)
"""Method, path and handler of each."""


def run_object(grade: Grade, took_s: float) -> dict[str, Any]:
    """A grade as OpenAI's answer for a grader that was run."""
    kind = "" if grade.problem is None else grade.problem.kind
    details = None if grade.problem is None else grade.problem.message
    of_model = kind.startswith("model_grader")
    total = sum((usage.total_tokens for usage in grade.usage.values()), 0)
    errors = {
        **{name: kind == name for name in _FLAGS},
        "other_error": kind == "other_error",
        "python_grader_server_error_type": None,
        "python_grader_runtime_error_details": None,
        "model_grader_server_error_details": details if of_model else None,
    }
    return {
        "reward": grade.score,
        "metadata": {
            "name": grade.name,
            "type": grade.type,
            "errors": errors,
            "execution_time": took_s,
            "scores": dict(grade.scores),
            "token_usage": total or None,
            "sampled_model_name": next(iter(grade.usage), None),
        },
        "sub_rewards": dict(grade.scores),
        "model_grader_token_usage_per_model": {name: usage_of(usage) for name, usage in grade.usage.items()},
    }


def usage_of(usage: Usage) -> dict[str, int]:
    """The tokens of one model."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "cached_tokens": usage.cached_tokens,
    }


def _check(request: GraderRequest | RunGraderRequest) -> None:
    """Return if a grader can be one of a fine-tuning job.

    Raises:
        InvalidRequest: names the field.
    """
    if isinstance(request.grader, LabelModel):
        raise InvalidRequest(
            "A 'label_model' gives no score by itself; put it into a 'multi' grader.", param="grader.type"
        )
    check_grader(request.grader)


_FLAGS: Final = (
    "formula_parse_error",
    "sample_parse_error",
    "truncated_observation_error",
    "unresponsive_reward_error",
    "invalid_variable_error",
    "python_grader_server_error",
    "python_grader_runtime_error",
    "model_grader_server_error",
    "model_grader_refusal_error",
    "model_grader_parse_error",
)
