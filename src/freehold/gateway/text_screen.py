"""What stands before and after the engine where the answer is a text."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

from freehold.catalog.deployments import Deployment
from freehold.content_filter.examination import Examiner
from freehold.content_filter.filter import Filter
from freehold.content_filter.following import Follower
from freehold.content_filter.hold_back import WHOLE_WINDOW, HoldBack
from freehold.content_filter.joining import Joiner
from freehold.content_filter.report import Report
from freehold.errors import UnsupportedParameter
from freehold.gateway.account import Account
from freehold.gateway.filtering import Filtering, require_passing, vetted_prompts
from freehold.gateway.passages import (
    Text,
    chat_texts,
    completion_texts,
    joined_texts,
    with_chat_texts,
    with_completion_texts,
)
from freehold.gateway.witness import Witness
from freehold.types.chat import ChatRequest
from freehold.types.completions import CompletionRequest
from freehold.types.content_filter import Side
from freehold.types.generation import Delta, Event, Usage

TextT = TypeVar("TextT", ChatRequest, CompletionRequest)


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

    async def screened(
        self, deployment: Deployment, request: TextT, generate: Callable[[TextT], AsyncGenerator[Event]]
    ) -> AsyncGenerator[Event]:
        """The answer of a deployment, as far as its policy lets it pass; its prompt has passed when this returns.

        Args:
            deployment: which serves.
            request: what is asked.
            generate: has the request, whose prompt was vetted, served.

        Raises:
            ContentFiltered: the prompt does not pass.
            FilterUnavailable: a text cannot be examined; also while iterating.
        """
        self._account.filter = None
        policy = self._filtering.policy(deployment, self._project_id)
        if not policy.prompt and not policy.completion:
            return generate(request)
        witness = self._filtering.witness(policy, deployment, self._account)
        if witness is None:
            return await self._screened(policy, deployment, request, generate)
        witness.asked([chat_texts(request)] if isinstance(request, ChatRequest) else completion_texts(request))
        try:
            events = await self._screened(policy, deployment, request, lambda asked: witness.watched(generate(asked)))
        except BaseException:
            if self._account.filter is not None:
                await witness.testify(self._account.filter)
            raise
        return self._witnessed(events, witness)

    async def _witnessed(self, events: AsyncGenerator[Event], witness: Witness) -> AsyncGenerator[Event]:
        """The events as they are; at their end the texts are kept, if something was blocked."""
        try:
            async with aclosing(events):
                async for event in events:
                    yield event
        finally:
            if self._account.filter is not None:
                await witness.testify(self._account.filter)

    async def _screened(
        self,
        policy: Filter,
        deployment: Deployment,
        request: TextT,
        generate: Callable[[TextT], AsyncGenerator[Event]],
    ) -> AsyncGenerator[Event]:
        at_once = not self._whole and may_follow(policy)
        self._account.filter = report = Report(policy, asynchronous=at_once, whole=self._whole)
        if policy.prompt:
            request = await self._vetted(policy, deployment, request, report)
        events = generate(request)
        if not policy.completion:
            return events
        examiner = Examiner(policy, Side.COMPLETION, self._filtering.clock)
        return (self._followed if at_once else self._held_back)(examiner, events, report)

    async def _vetted(self, policy: Filter, deployment: Deployment, request: TextT, report: Report) -> TextT:
        """The request with what must be hidden in its prompts hidden.

        Raises:
            ContentFiltered: a prompt does not pass.
            FilterUnavailable: one cannot be examined, and does not pass.
        """
        prompts, more = _texts(request, deployment)
        examiner = Examiner(policy, Side.PROMPT, self._filtering.clock)
        texts = await vetted_prompts(examiner, prompts, more, report)
        require_passing(report)
        if not any(verdict.masked for verdict in report.prompts):
            return request
        if isinstance(request, ChatRequest):
            return with_chat_texts(request, texts[0])
        return with_completion_texts(request, texts)

    async def _held_back(
        self, examiner: Examiner, events: AsyncGenerator[Event], report: Report
    ) -> AsyncGenerator[Event]:
        """The events that were vetted. Where every choice was ended here, the engine is stopped."""
        befores = self._befores
        choices = [HoldBack(n, examiner, whole=self._whole, before=befores.get(n, "")) for n in range(self._choices)]
        joiner = Joiner(WHOLE_WINDOW)
        came: float | None = None
        produced: set[int] = set()
        stopped = False
        try:
            try:
                async for event in events:
                    if isinstance(event, Usage):
                        yield event
                        continue
                    if event.finish_reason is not None:
                        produced.add(event.choice)
                    if came is None:
                        came = examiner.clock()
                    for taken in joiner.take(event) if self._whole else (event,):
                        ready = await choices[taken.choice].push(taken)
                        if ready and report.held_s is None and not self._whole:
                            report.held_s = examiner.clock() - came
                        for delta in ready:
                            yield delta
                    stopped = choices[event.choice].blocked and _is_over(choices, produced)
                    if stopped:
                        break
            finally:
                await events.aclose()
            if stopped:
                yield self._account.estimated_usage()
            report.scanned(Side.COMPLETION)
        finally:
            for choice in choices:
                report.add(choice.verdict)
                report.masked += choice.masked
            report.examined(examiner)

    async def _followed(
        self, examiner: Examiner, events: AsyncGenerator[Event], report: Report
    ) -> AsyncGenerator[Event]:
        """The events as they come, and after them what was found in them; as `_held_back` where that ends a choice."""
        choices = [Follower(n, examiner) for n in range(self._choices)]
        produced: set[int] = set()
        stopped = False
        try:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Usage):
                        yield event
                        continue
                    choice = choices[event.choice]
                    if event.finish_reason is not None:
                        produced.add(event.choice)
                    for delta in await _sent_and_found(choice, event):
                        yield delta
                    stopped = choice.blocked and _is_over(choices, produced)
                    if stopped:
                        break
            if stopped:
                yield self._account.estimated_usage()
            report.scanned(Side.COMPLETION)
        finally:
            for choice in choices:
                await choice.close()
                report.add(choice.verdict)
            report.examined(examiner)


async def _sent_and_found(choice: Follower, event: Delta) -> list[Delta]:
    """What is sent when a delta comes: itself, what was found in what was sent before, and the end of the choice.

    Raises:
        FilterUnavailable: a text cannot be examined, and does not pass.
    """
    deltas = choice.found() if not choice.blocked else []
    if choice.blocked:
        return deltas
    piece = replace(event, finish_reason=None)
    if piece.text or piece.reasoning or piece.tool_calls or piece.logprobs:
        choice.take(piece)
        deltas.append(piece)
    if event.finish_reason is not None:
        deltas += await choice.finished(event)
    return deltas


def may_follow(policy: Filter) -> bool:
    """Whether a stream may be sent before it is examined: not where something is to be hidden in it."""
    settings = policy.settings
    hides = "mask" in {settings.personal_data.completion, settings.secrets.completion}
    return settings.mode == "asynchronous" and not hides


def _is_over(choices: Sequence[HoldBack] | Sequence[Follower], produced: set[int]) -> bool:
    """Whether nothing that an engine still makes would be sent, and it still makes something."""
    left = [choice for choice in choices if choice.choice not in produced]
    return bool(left) and all(choice.blocked for choice in left)


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
