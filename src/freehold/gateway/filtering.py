"""The content filter on a request's way: which policy holds, and what becomes of prompts.

The policy is that of the deployment that serves: where a request spills over to another one, its texts are examined
anew.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from freehold.catalog.deployments import Deployment
from freehold.content_filter.annotations import annotations
from freehold.content_filter.examination import Examiner, detecting
from freehold.content_filter.filter import Filter
from freehold.content_filter.masking import masked
from freehold.content_filter.registry import FilterRegistry
from freehold.content_filter.report import Report
from freehold.content_filter.verdicts import total
from freehold.errors import ContentFiltered
from freehold.gateway.account import Account
from freehold.gateway.flagged import FlaggedContent
from freehold.gateway.passages import Text
from freehold.gateway.witness import Witness
from freehold.types.content_filter import Side
from freehold.types.verdict import Verdict

MESSAGE = (
    "The response was filtered due to the prompt triggering Freehold's content management policy. Please modify your "
    "prompt and retry."
)


@dataclass(frozen=True, slots=True)
class Filtering:
    """What the pipeline needs to have texts examined.

    Args:
        registry: knows the policies.
        flagged: keeps texts that were blocked, where a policy says so.
        clock: tells seconds.
    """

    registry: FilterRegistry
    flagged: FlaggedContent
    clock: Callable[[], float] = time.perf_counter

    def policy(self, deployment: Deployment, project_id: str) -> Filter:
        """The policy of a deployment, for the requests of a project.

        Raises:
            FilterUnavailable: there is no policy of the name that the deployment says, or a detector cannot be made.
        """
        with detecting:
            return self.registry.filter(deployment.settings.content_filter, project_id)

    def witness(self, policy: Filter, deployment: Deployment, account: Account) -> Witness | None:
        """What remembers a request's texts; None where the policy keeps nothing of what it blocks."""
        return Witness(self.flagged, account, deployment) if policy.settings.keep_flagged else None


async def vetted_prompts(
    examiner: Examiner, prompts: Sequence[Sequence[Text]], more: Sequence[Text], report: Report
) -> list[list[str]]:
    """The prompts, each several texts, with what must be hidden in them hidden.

    Raises:
        FilterUnavailable: one cannot be examined, and does not pass.
    """
    texts: list[list[str]] = []
    try:
        for prompt in prompts:
            verdict, changed = await _vetted(examiner, prompt, more, report)
            report.prompts.append(verdict)
            texts.append(changed)
    finally:
        report.examined(examiner)
    report.scanned(Side.PROMPT)
    return texts


async def _vetted(
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
        if not judgement.findings:  # as in nearly all texts
            changed.append(each.text)
            continue
        verdicts.append(examiner.verdict(judgement))
        changed.append(masked(each.text, judgement.masked) if judgement.masked else each.text)
        report.masked += len(judgement.masked)
    if examiner.failed:
        verdicts.append(examiner.clean)
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
