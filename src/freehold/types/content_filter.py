"""The content filter's words: categories and severities, what a policy says, and what was found in a text.

As in Azure OpenAI: four categories with a severity each, and signals that are there or not (shields, blocklists,
personal data, secrets). What each key of a policy means to its author is in docs/reference/content-filter.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from freehold.types.base import SettingsModel
from freehold.types.deployment import NAME_PATTERN, DeploymentName
from freehold.types.values import value_class

FilterName = Annotated[str, Field(pattern=NAME_PATTERN)]
DEFAULT_FILTER = "default"
"""The policy of a deployment that names none."""
MAX_ITEMS = 10_000
"""How many items a blocklist may have."""
MAX_PATTERNS = 1000
"""How many of them may be patterns, which are dearer than terms."""


class Category(StrEnum):
    """What harm a text does; the names are Azure's."""

    HATE = "hate"
    SEXUAL = "sexual"
    VIOLENCE = "violence"
    SELF_HARM = "self_harm"


class Severity(IntEnum):
    """How much of it; ordered."""

    SAFE = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3

    @property
    def label(self) -> str:
        """The name on the wire."""
        return self.name.lower()


class Shield(StrEnum):
    """Attacks on a model that a prompt may carry."""

    JAILBREAK = "jailbreak"
    """A user who wants the model to leave its rules."""
    INDIRECT_ATTACK = "indirect_attack"
    """Instructions hidden in a document or in a tool's answer."""


class Side(StrEnum):
    """Which half of a request a text belongs to."""

    PROMPT = "prompt"
    COMPLETION = "completion"


class Source(StrEnum):
    """Who wrote a text."""

    SYSTEM = "system"
    USER = "user"
    DOCUMENT = "document"
    """What was brought in: a tool's answer, or a text that the user put between Azure's document marks."""
    ASSISTANT = "assistant"


class PersonalData(StrEnum):
    """Kinds of personal data that can be told by their form, most of them by a checksum."""

    EMAIL = "email"
    PHONE = "phone"
    CARD = "card"
    IBAN = "iban"
    NATIONAL_ID = "national_id"
    IP_ADDRESS = "ip_address"


Harm: TypeAlias = Literal["block", "annotate", "off"]
Masking: TypeAlias = Literal["block", "mask", "annotate", "off"]


class CategoryRule(SettingsModel):
    """What becomes of a text of one category, from a severity on."""

    threshold: Literal["low", "medium", "high"] = "medium"
    action: Harm = "block"

    @property
    def severity(self) -> Severity:
        """The threshold as a severity."""
        return Severity[self.threshold.upper()]


class CategoryRules(SettingsModel):
    """The rule for prompts and the one for completions."""

    prompt: CategoryRule = CategoryRule()
    completion: CategoryRule = CategoryRule()


class PersonalDataRules(SettingsModel):
    """What becomes of personal data."""

    prompt: Masking = "off"
    completion: Masking = "off"
    kinds: Annotated[tuple[PersonalData, ...], Field(min_length=1)] = tuple(PersonalData)


class SecretRules(SettingsModel):
    """What becomes of keys, tokens and private keys."""

    prompt: Masking = "off"
    completion: Masking = "off"


class GuardSettings(SettingsModel):
    """A model that judges texts, as the last and dearest stage."""

    deployment: DeploymentName
    format: Literal["llama_guard", "qwen3guard", "shieldgemma", "gpt_oss_safeguard"]
    """How the model is asked, and how its answer is read."""
    always: bool = False
    """Ask it about every text, instead of those that the stages before it are not sure of."""


class FilterSettings(SettingsModel):
    """One content-filter policy, as it is written in `[[content_filter]]` or sent to the admin API.

    Without any key it is Azure's default: the four categories blocked from `medium` on, jailbreaks blocked.
    """

    name: FilterName
    description: Annotated[str, Field(max_length=1000)] = ""
    hate: CategoryRules = CategoryRules()
    sexual: CategoryRules = CategoryRules()
    violence: CategoryRules = CategoryRules()
    self_harm: CategoryRules = CategoryRules()
    jailbreak: Harm = "block"
    indirect_attack: Harm = "off"
    blocklists: tuple[FilterName, ...] = ()
    """Lists that hold for everybody who uses it; a project's own lists hold for its requests under every policy."""
    personal_data: PersonalDataRules = PersonalDataRules()
    secrets: SecretRules = SecretRules()
    mode: Literal["blocking", "asynchronous"] = "blocking"
    """`asynchronous`: a stream is sent at once, and what is found in it follows."""
    on_error: Literal["closed", "open"] = "closed"
    """What becomes of a request whose text cannot be examined: 503, or it is served unexamined, and says so."""
    embeddings: bool = True
    """Ask the embedding deployment, where one runs, about texts that the classifier is not sure of."""
    guard: GuardSettings | None = None
    keep_flagged: bool = False
    """Keep the text of blocked requests, encrypted for the project, for review by those who may."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.blocklists)) != len(self.blocklists):
            raise ValueError("blocklists: names a list twice")
        return self

    def rule(self, category: Category, side: Side) -> CategoryRule:
        """What the policy says of a category."""
        rules: CategoryRules = getattr(self, category.value)
        return rules.prompt if side is Side.PROMPT else rules.completion

    @property
    def is_off(self) -> bool:
        """Whether nothing at all is looked for; lists of a project hold nevertheless."""
        rules: list[str] = [self.rule(category, side).action for category in Category for side in Side]
        rules += [self.jailbreak, self.indirect_attack]
        rules += [getattr(pair, side.value) for pair in (self.personal_data, self.secrets) for side in Side]
        return not self.blocklists and all(rule == "off" for rule in rules)

    def wire(self) -> dict[str, Any]:
        """The settings as JSON values that `FilterSettings` reads back to the same settings."""
        return self.model_dump(mode="json", exclude_defaults=True)


class BlocklistItem(SettingsModel):
    """A term, or a regular expression of the linear-time kind (RE2); one of both."""

    term: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    pattern: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    description: Annotated[str, Field(max_length=1000)] = ""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.term is None) == (self.pattern is None):
            raise ValueError("give either 'term' or 'pattern'")
        return self


class ContentFilterSettings(SettingsModel):
    """`[filter]`: what all content-filter policies share."""

    weights: str | None = None
    """A file with weights of the n-gram classifier, as `freehold train content-filter` makes them; without one, those
    that come with Freehold."""


class BlocklistSettings(SettingsModel):
    """A blocklist, as it is written in `[[blocklist]]` or sent to the admin API."""

    name: FilterName
    description: Annotated[str, Field(max_length=1000)] = ""
    project: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """The project whose requests it holds for, under every policy; without one, those under policies that name it."""
    prompt: Harm = "block"
    completion: Harm = "block"
    items: Annotated[tuple[BlocklistItem, ...], Field(max_length=MAX_ITEMS)] = ()

    def wire(self) -> dict[str, Any]:
        """The settings as JSON values that `BlocklistSettings` reads back to the same settings."""
        return self.model_dump(mode="json", exclude_defaults=True)


@value_class
class Passage:
    """A text to examine: of a prompt one message or one document, of a completion what has come so far.

    Args:
        text: as it was written.
        side: of which half of the request.
        source: who wrote it.
        whole: False while more of it may come.
        memo: what detectors have made of the text, for one another; not a part of the passage.
    """

    text: str
    side: Side
    source: Source = Source.USER
    whole: bool = True
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a text that something was found in.

    Args:
        kind: `personal_data`, `secret` or `blocklist`.
        name: which: `email`, `github_token`, the list's name.
        start: of the text as it was written, in code points.
        end: of the first code point after it.
    """

    kind: Literal["personal_data", "secret", "blocklist"]
    name: str
    start: int
    end: int


@value_class
class Findings:
    """What detectors found in one text. Nothing is what was left out.

    Args:
        severities: of the categories; absent is safe.
        scores: probabilities in 0..1 by category, or by the finer names of OpenAI's moderation (`harassment`).
        shields: the attacks that were found.
        spans: where blocklists, personal data and secrets were found.
        unsure: whether a dearer detector should be asked.
    """

    severities: Mapping[Category, Severity] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    shields: frozenset[Shield] = frozenset()
    spans: tuple[Span, ...] = ()
    unsure: bool = False

    def __bool__(self) -> bool:
        """Whether anything harmful was found, of any severity."""
        return bool(self.severities or self.shields or self.spans)


NOTHING = Findings()


def merged(first: Findings, second: Findings) -> Findings:
    """What both found: of each category and score the higher. Of two detectors of one text, or of two texts."""
    if not first.scores and not first:
        return second
    if not second.scores and not second:
        return first
    return Findings(
        severities=_higher(first.severities, second.severities),
        scores=_higher(first.scores, second.scores),
        shields=first.shields | second.shields,
        spans=first.spans + second.spans,
        unsure=first.unsure or second.unsure,
    )


def _higher(first: Mapping[Any, Any], second: Mapping[Any, Any]) -> dict[Any, Any]:
    found = dict(first)
    for name, value in second.items():
        if name not in found or value > found[name]:
            found[name] = value
    return found
