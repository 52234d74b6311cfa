"""What the claims of a verified token come to: whose they are, and which roles their groups give."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from freehold.errors import Forbidden
from freehold.types.signin import ProviderSettings

MAX_EMAIL = 320
MAX_NAME = 256


@dataclass(frozen=True, slots=True)
class Statement:
    """What a provider says of a person.

    Args:
        subject: the provider's own name for them, which never changes.
        email: their address in lower case, if the provider vouches for one.
        name: how they are called.
        roles: project → the roles that their groups give there; an empty id is the whole organization.
        stated_at: when it was said, in seconds since the epoch.
        expires_at: until when it holds.
    """

    subject: str
    email: str | None
    name: str
    roles: Mapping[str, frozenset[str]]
    stated_at: int
    expires_at: int


def statement(claims: Mapping[str, Any], provider: ProviderSettings) -> Statement:
    """Read verified claims.

    Raises:
        Forbidden: the provider left the groups out because they were too many.
    """
    email = _email(claims, provider)
    name = claims.get("name") or claims.get("preferred_username")
    shown = name.strip()[:MAX_NAME] if isinstance(name, str) and name.strip() else ""
    return Statement(
        subject=claims["sub"],
        email=email,
        name=shown or email or str(claims["sub"])[:MAX_NAME],
        roles=roles_of(groups_of(claims, provider), provider),
        stated_at=int(claims["iat"]),
        expires_at=int(claims["exp"]),
    )


def _email(claims: Mapping[str, Any], provider: ProviderSettings) -> str | None:
    """The person's address, if the provider calls it verified or is trusted without that."""
    value = claims.get(provider.email_claim)
    if not isinstance(value, str) or not 3 <= len(value) <= MAX_EMAIL or value.count("@") != 1:
        return None
    verified = claims.get("email_verified")
    if not provider.trust_email and verified is not True and verified != "true":
        return None
    email = value.strip().lower()
    return email if email.isprintable() and " " not in email else None


def groups_of(claims: Mapping[str, Any], provider: ProviderSettings) -> frozenset[str]:
    """The person's groups; a claim that is not there means none.

    Raises:
        Forbidden: they were too many for the token, so that nobody knows.
    """
    name = provider.groups_claim
    value: Any = claims.get(name)
    if value is None:
        value = claims
        for step in name.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
    elsewhere = claims.get("_claim_names")
    if value is None and isinstance(elsewhere, Mapping) and name in elsewhere:
        raise Forbidden(
            f"The identity provider '{provider.title}' left your groups out of the token because they are too many; "
            "ask your administrator to have it send only those that matter here.",
            code="groups_left_out",
        )
    values = value if isinstance(value, list) else [value]
    return frozenset(each for each in values if isinstance(each, str))


def roles_of(groups: frozenset[str], provider: ProviderSettings) -> dict[str, frozenset[str]]:
    """Project → the roles that groups give there."""
    found: dict[str, set[str]] = {}
    if provider.default_role is not None:
        found.setdefault("", set()).add(provider.default_role)
    for mapping in provider.map:
        if mapping.group in groups:
            found.setdefault(mapping.project or "", set()).add(mapping.role)
    return {project: frozenset(roles) for project, roles in found.items()}
