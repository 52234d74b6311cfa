"""`POST /moderations`: what the content filter finds in texts, told in OpenAI's categories.

The filter is no engine and runs in the gateway, so there is no deployment to make; yet its requests are authorized,
limited and receipted as those of one, whose name is `moderation`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from freehold.catalog.deployments import Deployment
from freehold.content_filter.examination import Examiner
from freehold.content_filter.filter import Filter
from freehold.errors import DeploymentNotFound, UnsupportedParameter
from freehold.gateway.account import Account
from freehold.gateway.books import Books
from freehold.gateway.bounds import BYTES_PER_TOKEN, Bounds
from freehold.gateway.permits import Permits
from freehold.governance.authorization import decide_deployment
from freehold.types.chat import TextPart
from freehold.types.content_filter import Findings, Severity, Side, Source
from freehold.types.deployment import DeploymentSettings, Origin
from freehold.types.generation import Usage
from freehold.types.identity import Action, Principal
from freehold.types.moderations import DEFAULT_MODEL, ModerationRequest

NAME = "moderation"
ALIASES = (DEFAULT_MODEL, "omni-moderation-2024-09-26", "text-moderation-latest", "text-moderation-stable")
"""What OpenAI's clients ask for."""

CATEGORIES = {
    "harassment": None,
    "harassment/threatening": None,
    "hate": "hate",
    "hate/threatening": None,
    "illicit": None,
    "illicit/violent": None,
    "self-harm": "self_harm",
    "self-harm/intent": None,
    "self-harm/instructions": None,
    "sexual": "sexual",
    "sexual/minors": None,
    "violence": "violence",
    "violence/graphic": None,
}
"""OpenAI's categories, and the filter's own of the same kind."""

LIKELY = 0.5
"""The score from which on a category is flagged that has no severities."""

BUILT_IN = Deployment(
    DeploymentSettings(name=NAME, model="content-filter", engine="content_filter", aliases=list(ALIASES)),
    Origin.STARTER,
    0,
)


@dataclass(frozen=True, slots=True)
class Moderation:
    """What was found in one input: the flag and the score (0..1) of each of OpenAI's categories."""

    categories: Mapping[str, bool]
    scores: Mapping[str, float]

    @property
    def flagged(self) -> bool:
        """Whether any category is."""
        return any(self.categories.values())


@dataclass(frozen=True, slots=True)
class ModerationAnswer:
    """One moderation for each input, in their order, and the model's name with its version."""

    model: str
    results: tuple[Moderation, ...]


class Moderator:
    """Classifies texts.

    Args:
        policy: looks for harm of all categories.
        books: where requests are admitted.
        permits: asks the policies.
    """

    def __init__(self, policy: Filter, books: Books, permits: Permits) -> None:
        self._policy = policy
        self._books = books
        self._permits = permits

    async def moderate(self, principal: Principal, request: ModerationRequest, account: Account) -> ModerationAnswer:
        """Classify the inputs.

        Raises:
            RequestError: the request is refused.
            FilterUnavailable: the texts cannot be examined.
        """
        if request.model != NAME and request.model not in ALIASES:
            raise DeploymentNotFound(request.model)
        account.requested = NAME
        account.decided(decide_deployment(principal, Action.INFER, NAME, request.model, *ALIASES))
        self._permits.enter(principal, BUILT_IN, account)
        texts = _texts(request)
        account.parameters = {"inputs": len(texts)}
        self._permits.grant(principal, [BUILT_IN], account)
        size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
        tokens = -(-size // BYTES_PER_TOKEN)
        await self._books.admit(account, principal, [BUILT_IN], lambda _: Bounds(tokens, 0, tokens, 0))
        account.calls = 1
        examiner = Examiner(self._policy, Side.PROMPT)
        results = tuple([self._told((await examiner.judge_all(text, Source.USER)).findings) for text in texts])
        account.sent(Usage(prompt_tokens=tokens, estimated=True))
        versions = "+".join(f"{name}-{version}" for name, version in self._policy.prompt.versions.items())
        return ModerationAnswer(f"{NAME}:{versions}", results)

    def _told(self, found: Findings) -> Moderation:
        """The findings in OpenAI's words: what has a severity is flagged from `medium` on, the rest if it is likely."""
        scores = {name: _score(found, name, own) for name, own in CATEGORIES.items()}
        severe = {category.value for category, severity in found.severities.items() if severity >= Severity.MEDIUM}
        flags = {name: own in severe if own is not None else scores[name] >= LIKELY for name, own in CATEGORIES.items()}
        return Moderation(flags, scores)


def _score(found: Findings, name: str, own: str | None) -> float:
    return found.scores.get(name, found.scores.get(own or "", 0.0))


def _texts(request: ModerationRequest) -> Sequence[str]:
    """The texts to classify: parts belong together.

    Raises:
        UnsupportedParameter: there is a picture, and nothing here that classifies pictures.
    """
    if isinstance(request.input, str):
        return [request.input]
    together: list[str] = []
    apart: list[str] = []
    for position, part in enumerate(request.input):
        if isinstance(part, str):
            apart.append(part)
        elif isinstance(part, TextPart):
            together.append(part.text)
        else:
            raise UnsupportedParameter(
                f"Unsupported value: 'input[{position}]' is a picture, and no classifier of pictures is deployed here. "
                "Send text only.",
                param=f"input[{position}]",
            )
    return ["\n".join(together)] if together else apart
