"""Whom abuse monitoring is about."""

from enum import StrEnum
from typing import Final


class SubjectKind(StrEnum):
    """What findings of the content filter are kept apart by."""

    END_USER = "end_user"
    """A user of a caller, in the project whose caller it is; known by the digest that receipts hold."""
    PRINCIPAL = "principal"
    """A member: a user or a service account."""
    PROJECT = "project"


SUSPENDABLE: Final = (SubjectKind.END_USER, SubjectKind.PRINCIPAL)
"""What can be suspended. A project is stopped by revoking its content key, or archived."""
MAX_REASON: Final = 1000
"""Characters of a reason, of a suspension or of looking at kept content."""
