"""Content that is kept for callers: whose it is, of which kind, and how long it stays."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field, field_validator

from freehold.types.base import SettingsModel
from freehold.types.identity import Principal

DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose content something is.

    Args:
        organization_id: of the organization.
        project_id: of the project in it.
        owner_id: the member who asked for it; empty for what belongs to the project as such.
    """

    organization_id: str
    project_id: str
    owner_id: str = ""


def tenant_of(principal: Principal) -> Tenant:
    """Whose content it is that a caller asks to keep."""
    return Tenant(principal.organization_id, principal.project_id, principal.id)


@dataclass(frozen=True, slots=True)
class ContentKind:
    """One kind of kept content.

    Args:
        name: as settings and the API call it; also what its ciphertext is bound to.
        default_s: how long it is kept where nothing else is set, in seconds.
        about: what it is, for those who read the settings.
    """

    name: str
    default_s: int
    about: str


ANSWERS: Final = ContentKind("answers", DAY_S, "answers to requests with an Idempotency-Key")
PICTURES: Final = ContentKind("pictures", DAY_S, "pictures that were answered as an address")
FLAGGED: Final = ContentKind(
    "flagged", 30 * DAY_S, "texts of requests that the content filter blocked, where its policy keeps them for review"
)
FILES: Final = ContentKind("files", 3650 * DAY_S, "files that callers upload; those for batches 30 days at most")
RESPONSES: Final = ContentKind("responses", 30 * DAY_S, "responses, what they were asked and what they answered")
CONVERSATIONS: Final = ContentKind("conversations", 3650 * DAY_S, "conversations and their items")
COMPLETIONS: Final = ContentKind("completions", 30 * DAY_S, "chat completions that callers have stored")
BATCHES: Final = ContentKind(
    "batches", 30 * DAY_S, "batches, and what became of their lines until their files are made"
)
FINE_TUNING: Final = ContentKind("fine_tuning", 3650 * DAY_S, "fine-tuning jobs, their events and checkpoints")
EVALUATIONS: Final = ContentKind(
    "evaluations", 365 * DAY_S, "evaluations, their runs, and what was asked, answered and said of each item"
)

KINDS: Final = (
    ANSWERS,
    PICTURES,
    FLAGGED,
    FILES,
    RESPONSES,
    CONVERSATIONS,
    COMPLETIONS,
    BATCHES,
    FINE_TUNING,
    EVALUATIONS,
)
"""Every kind there is. A new one is added here, to `RetentionSettings`, and with its table to `store.kept_content`."""


RetentionType: TypeAlias = Literal["organization_default", "none", "modified_abuse_monitoring", "zero_data_retention"]
"""How much is kept, in the words of OpenAI's administration API. With `none` content is kept for as long as each kind
says; with `modified_abuse_monitoring` likewise, but nothing for monitoring (`FLAGGED`), whatever a content-filter
policy says."""

KeptS: TypeAlias = Annotated[int, Field(ge=60, le=10 * 366 * DAY_S)]
"""How long something is kept, in seconds: a minute to ten years."""


class RetentionSettings(SettingsModel):
    """`[retention]`: how long kept content stays, unless a project has its own; each kind a key."""

    zero: bool = False
    """Whether nothing is kept for anyone."""
    answers_s: KeptS = ANSWERS.default_s
    pictures_s: KeptS = PICTURES.default_s
    flagged_s: KeptS = FLAGGED.default_s
    files_s: KeptS = FILES.default_s
    responses_s: KeptS = RESPONSES.default_s
    conversations_s: KeptS = CONVERSATIONS.default_s
    completions_s: KeptS = COMPLETIONS.default_s
    batches_s: KeptS = BATCHES.default_s
    fine_tuning_s: KeptS = FINE_TUNING.default_s
    evaluations_s: KeptS = EVALUATIONS.default_s


class RetentionOverride(SettingsModel):
    """What is set for one project, or for an organization; what is left out is as above it."""

    type: RetentionType = "organization_default"
    store: bool | None = None
    """Whether a completion is stored whose request does not say."""
    keep_s: dict[str, KeptS] = Field(default_factory=dict)
    """For kinds of content: how long they are kept."""

    @field_validator("keep_s")
    @classmethod
    def _known_kinds(cls, value: dict[str, int]) -> dict[str, int]:
        known = {kind.name for kind in KINDS}
        for name in value:
            if name not in known:
                raise ValueError(f"'{name}' is no kind of content; there are {', '.join(sorted(known))}")
        return value


class KeyState(StrEnum):
    """What may be done with a key of kept content."""

    ACTIVE = "active"
    REVOKED = "revoked"
    """Not for the moment: nothing is encrypted or decrypted with it until it is restored."""
    DESTROYED = "destroyed"
    """Never again: the key is gone, its row says that there was one."""
