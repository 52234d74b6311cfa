"""Remembers the texts of a request while it runs, so that they can be kept if the content filter blocks something."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from freehold.catalog.deployments import Deployment
from freehold.content_filter.report import Report
from freehold.gateway.account import Account
from freehold.gateway.flagged import MAX_CHARACTERS, FlaggedContent
from freehold.gateway.passages import Text
from freehold.types.content import tenant_of
from freehold.types.generation import Delta, Event


class Witness:
    """Of one request under a policy that keeps what it blocks. In memory there is no more of it than may be kept.

    Args:
        flagged: keeps the texts.
        account: whose request it is.
        deployment: which serves.
    """

    def __init__(self, flagged: FlaggedContent, account: Account, deployment: Deployment) -> None:
        self._flagged = flagged
        self._account = account
        self._deployment = deployment
        self._prompt: list[str] = []
        self._completion: dict[int, list[str]] = {}
        self._left: dict[int, int] = {}
        """Of each choice how many characters are still remembered."""

    def asked(self, prompts: Sequence[Sequence[Text]]) -> None:
        """Remember what is asked, each text after who wrote it."""
        self._prompt = [f"{text.source.value}: {text.text}" for prompt in prompts for text in prompt]

    async def watched(self, events: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
        """The events of an engine as they are, remembered on their way to the filter."""
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Delta):
                    self._hear(event)
                yield event

    def _hear(self, delta: Delta) -> None:
        left = self._left.setdefault(delta.choice, MAX_CHARACTERS + 1)
        if left <= 0:
            return
        calls = "".join((call.name or "") + call.arguments for call in delta.tool_calls)
        text = (delta.reasoning + delta.text + calls)[:left]
        self._left[delta.choice] = left - len(text)
        self._completion.setdefault(delta.choice, []).append(text)

    async def testify(self, report: Report) -> None:
        """Have the texts kept, if something of the request was blocked."""
        record, principal = report.record(), self._account.principal
        if principal is None or not record.get("blocked"):
            return
        choices = ["".join(pieces) for _, pieces in sorted(self._completion.items())]
        await self._flagged.keep(
            tenant_of(principal),
            self._account.request_id,
            "\n".join(self._prompt),
            "\n\n".join(choices),
            record,
            end_user=self._account.end_user,
            deployment=self._deployment.name,
        )
