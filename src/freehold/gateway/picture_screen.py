"""What stands before the engine where the answer is pictures."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from freehold.catalog.deployments import Deployment
from freehold.content_filter.examination import Examiner
from freehold.content_filter.filter import Filter
from freehold.content_filter.masking import masked
from freehold.content_filter.report import Report
from freehold.gateway.account import Account
from freehold.gateway.filtering import Filtering, require_passing, vetted_prompts
from freehold.gateway.passages import (
    Text,
)
from freehold.types.content_filter import Side, Source
from freehold.types.images import PaintEvent, Picture


class PictureScreen:
    """Stands before the engine, for one request whose answer is pictures.

    Args:
        filtering: knows the policies.
        project_id: whose request it is.
        account: told of what is decided.
    """

    def __init__(self, filtering: Filtering, project_id: str, account: Account) -> None:
        self._filtering = filtering
        self._project_id = project_id
        self._account = account

    async def screened(
        self, deployment: Deployment, prompt: str, generate: Callable[[str], AsyncGenerator[PaintEvent]]
    ) -> AsyncGenerator[PaintEvent]:
        """The pictures of a deployment, if its policy lets the prompt pass. Without a prompt nothing is examined.

        Raises: as `TextScreen.screened`.
        """
        self._account.filter = None
        policy = self._filtering.policy(deployment, self._project_id)
        if not policy.prompt or not prompt:
            return generate(prompt)
        return await self._screened(policy, deployment, prompt, generate)

    async def _screened(
        self,
        policy: Filter,
        deployment: Deployment,
        prompt: str,
        generate: Callable[[str], AsyncGenerator[PaintEvent]],
    ) -> AsyncGenerator[PaintEvent]:
        self._account.filter = report = Report(policy)
        witness = self._filtering.witness(policy, deployment, self._account)
        prompts = [[Text(prompt, Source.USER)]]
        try:
            [[prompt]] = await vetted_prompts(Examiner(policy, Side.PROMPT, self._filtering.clock), prompts, [], report)
            require_passing(report, picture=True)
        finally:
            if witness is not None:
                witness.asked(prompts)
                await witness.testify(report)
        examiner = Examiner(policy, Side.COMPLETION, self._filtering.clock)
        events = generate(prompt)
        return _with_revised(events, examiner, report) if examiner else events


async def _with_revised(
    events: AsyncGenerator[PaintEvent], examiner: Examiner, report: Report
) -> AsyncGenerator[PaintEvent]:
    """The events with as much as may be told of the prompts that the engine made of the caller's."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Picture) and event.revised_prompt is not None:
                yield await _revised(event, examiner, report)
            else:
                yield event


async def _revised(picture: Picture, examiner: Examiner, report: Report) -> Picture:
    """The picture with as much as may be told of the prompt that an engine made of the caller's."""
    prompt = picture.revised_prompt or ""
    judgement = await examiner.judge_all(prompt, Source.ASSISTANT)
    report.add(examiner.verdict(judgement))
    return replace(picture, revised_prompt=None if judgement.blocked else masked(prompt, judgement.masked))
