"""The content filter on a request's way: the prompt before an engine reads it, the answer before a caller does.

The policy is that of the deployment that serves: where a request spills over to another one, its texts are examined
anew if that one's policy is not the same.
"""

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from freehold.catalog.deployments import Deployment
from freehold.content_filter.annotations import annotations
from freehold.content_filter.examination import Examiner
from freehold.content_filter.filter import Filter
from freehold.content_filter.hold_back import HoldBack
from freehold.content_filter.masking import masked
from freehold.content_filter.registry import FilterRegistry
from freehold.content_filter.report import Report
from freehold.content_filter.verdicts import total
from freehold.errors import ContentFiltered, FilterUnavailable, NotFound, UnsupportedParameter
from freehold.gateway.account import Account
from freehold.gateway.passages import (
    Text,
    chat_texts,
    completion_texts,
    joined_texts,
    with_chat_texts,
    with_completion_texts,
)
from freehold.types.chat import ChatRequest
from freehold.types.completions import CompletionRequest
from freehold.types.content_filter import Side
from freehold.types.generation import Event, Usage
from freehold.types.verdict import Verdict

MESSAGE = (
    "The response was filtered due to the prompt triggering Freehold's content management policy. Please modify your "
    "prompt and retry."
)

TextT = TypeVar("TextT", ChatRequest, CompletionRequest)


@dataclass(frozen=True, slots=True)
class Filtering:
    """What the pipeline needs to have texts examined.

    Args:
        registry: knows the policies.
        clock: tells seconds.
    """

    registry: FilterRegistry
    clock: Callable[[], float] = time.perf_counter

    def policy(self, deployment: Deployment, project_id: str) -> Filter:
        """The policy of a deployment, for the requests of a project.

        Raises:
            FilterUnavailable: there is no policy of the name that the deployment says.
        """
        name = deployment.settings.content_filter
        try:
            return self.registry.filter(name, project_id)
        except NotFound as exc:
            raise FilterUnavailable(
                f"The deployment '{deployment.name}' names the content-filter policy '{name}', which does not exist. "
                "Nothing is served unexamined; name one that exists."
            ) from exc


class TextScreen:
    """Stands before and after the engine, for one request whose answer is a text.

    Args:
        filtering: knows the policies.
        project_id: whose request it is.
        account: told of what is decided.
        choices: how many the answer has.
        whole: whether it is wanted in one piece.
        befores: of each choice the text that the caller is given before it.
    """

    def __init__(
        self,
        filtering: Filtering,
        project_id: str,
        account: Account,
        *,
        choices: int,
        whole: bool,
        befores: Mapping[int, str] | None = None,
    ) -> None:
        self._filtering = filtering
        self._project_id = project_id
        self._account = account
        self._choices = choices
        self._whole = whole
        self._befores = befores or {}

    def screened(
        self, deployment: Deployment, request: TextT, generate: Callable[[TextT], AsyncGenerator[Event]]
    ) -> AsyncGenerator[Event]:
        """The answer of a deployment, as far as its policy lets it pass.

        Args:
            deployment: which serves.
            request: what is asked.
            generate: has the request, whose prompt was vetted, served.

        Raises (while iterating):
            ContentFiltered: the prompt does not pass.
            FilterUnavailable: a text cannot be examined.
        """
        self._account.filter = None
        policy = self._filtering.policy(deployment, self._project_id)
        if not policy.prompt and not policy.completion:
            return generate(request)
        return self._screened(policy, deployment, request, generate)

    async def _screened(
        self,
        policy: Filter,
        deployment: Deployment,
        request: TextT,
        generate: Callable[[TextT], AsyncGenerator[Event]],
    ) -> AsyncGenerator[Event]:
        self._account.filter = report = Report(policy)
        if policy.prompt:
            request = await self._vetted(policy, deployment, request, report)
        events = generate(request)
        if policy.completion:
            events = self._held_back(policy, events, report)
        async with aclosing(events):
            async for event in events:
                yield event

    async def _vetted(self, policy: Filter, deployment: Deployment, request: TextT, report: Report) -> TextT:
        """The request with what must be hidden in its prompts hidden.

        Raises:
            ContentFiltered: a prompt does not pass.
            FilterUnavailable: one cannot be examined, and does not pass.
        """
        prompts, more = _texts(request, deployment)
        examiner = Examiner(policy, Side.PROMPT, self._filtering.clock)
        texts: list[list[str]] = []
        try:
            for prompt in prompts:
                verdict, changed = await vetted(examiner, prompt, more, report)
                report.prompts.append(verdict)
                texts.append(changed)
        finally:
            report.spent_s += examiner.spent_s
            if examiner.failed:
                report.failed(Side.PROMPT)
        report.scanned(Side.PROMPT)
        require_passing(report)
        if not any(verdict.masked for verdict in report.prompts):
            return request
        if isinstance(request, ChatRequest):
            return with_chat_texts(request, texts[0])
        return with_completion_texts(request, texts)

    async def _held_back(self, policy: Filter, events: AsyncGenerator[Event], report: Report) -> AsyncGenerator[Event]:
        """The events that were vetted. Where every choice was ended here, the engine is stopped."""
        examiner = Examiner(policy, Side.COMPLETION, self._filtering.clock)
        choices = [
            HoldBack(n, examiner, whole=self._whole, before=self._befores.get(n, "")) for n in range(self._choices)
        ]
        came: float | None = None
        produced: set[int] = set()
        stopped = False
        try:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Usage):
                        yield event
                        continue
                    if came is None:
                        came = examiner.clock()
                    choice = choices[event.choice]
                    ready = await choice.push(event)
                    if ready and report.held_s is None and not self._whole:
                        report.held_s = examiner.clock() - came
                    if event.finish_reason is not None:
                        produced.add(event.choice)
                    for delta in ready:
                        yield delta
                    stopped = choice.blocked and _is_over(choices, produced)
                    if stopped:
                        break
            if stopped:
                yield self._account.estimated_usage()
            report.scanned(Side.COMPLETION)
        finally:
            for choice in choices:
                report.add(choice.verdict)
                report.masked += choice.masked
            report.spent_s += examiner.spent_s
            if examiner.failed:
                report.failed(Side.COMPLETION)


def _is_over(choices: Sequence[HoldBack], produced: set[int]) -> bool:
    """Whether nothing that an engine still makes would be sent, and it still makes something."""
    left = [choice for choice in choices if choice.choice not in produced]
    return bool(left) and all(choice.blocked for choice in left)


async def vetted(
    examiner: Examiner, texts: Sequence[Text], more: Sequence[Text], report: Report
) -> tuple[Verdict, list[str]]:
    """The verdict on a prompt, which is several texts, and the texts with what must be hidden in them hidden.

    Args:
        examiner: examines prompts under the policy.
        texts: the prompt's.
        more: further ones that are examined, and not changed.
        report: told of the verdict.

    Raises:
        FilterUnavailable: a text cannot be examined, and does not pass.
    """
    verdicts: list[Verdict] = [examiner.clean]
    changed: list[str] = []
    for each in texts:
        judgement = await examiner.judge_all(each.text, each.source)
        verdicts.append(examiner.verdict(judgement))
        changed.append(masked(each.text, judgement.masked) if judgement.masked else each.text)
        report.masked += len(judgement.masked)
    verdicts += [examiner.verdict(await examiner.judge_all(each.text, each.source)) for each in more]
    verdict = total(verdicts)
    report.add(verdict)
    return verdict, changed


def require_passing(report: Report, *, picture: bool = False) -> None:
    """Return if every prompt passes.

    Raises:
        ContentFiltered: one does not.
    """
    blocked = [verdict for verdict in report.prompts if verdict.blocked]
    if blocked:
        results: dict[str, Any] = annotations(total(blocked))
        raise ContentFiltered(MESSAGE, results=results, picture=picture)


def _texts(request: ChatRequest | CompletionRequest, deployment: Deployment) -> tuple[list[list[Text]], list[Text]]:
    """The prompts, each a list of texts, and further texts to examine.

    Raises:
        UnsupportedParameter: a prompt is no text.
    """
    if isinstance(request, ChatRequest):
        return [chat_texts(request)], joined_texts(request)
    prompts = completion_texts(request)
    if len(prompts) < len(request.prompts):
        raise UnsupportedParameter(
            f"Unsupported value: 'prompt' cannot be tokens with the model '{deployment.name}': its content filter "
            "reads text. Send the prompt as text.",
            param="prompt",
        )
    return prompts, []
