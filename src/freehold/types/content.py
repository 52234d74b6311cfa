"""Content that is kept for callers: whose it is, of which kind, and how long it stays."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

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

KINDS: Final = (ANSWERS, PICTURES)
"""Every kind there is. A new one is added here, as a setting in `[retention]`, and as a `KeptContent` in app.py."""


class KeyState(StrEnum):
    """What may be done with a key of kept content."""

    ACTIVE = "active"
    REVOKED = "revoked"
    """Not for the moment: nothing is encrypted or decrypted with it until it is restored."""
    DESTROYED = "destroyed"
    """Never again: the key is gone, its row says that there was one."""
