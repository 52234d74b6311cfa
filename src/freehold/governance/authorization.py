"""Who may do what. Every answer is allow or deny, with a reason."""

from dataclasses import dataclass
from enum import StrEnum

from freehold.errors import Forbidden
from freehold.types.identity import Principal, Role


class Action(StrEnum):
    """Something that a principal may ask for."""

    INFER = "deployments:infer"
    READ_MODELS = "models:read"
    READ_RECEIPTS = "receipts:read"
    READ_PROVENANCE = "provenance:read"
    READ_USAGE = "usage:read"
    MANAGE = "service:manage"


ALLOWED: dict[Role, frozenset[Action]] = {
    Role.OWNER: frozenset(Action),
    Role.USER: frozenset({Action.INFER, Action.READ_MODELS, Action.READ_RECEIPTS, Action.READ_PROVENANCE}),
}


@dataclass(frozen=True, slots=True)
class Decision:
    """Allow or deny, and why."""

    allowed: bool
    reason: str


def decide(principal: Principal, action: Action, resource: str) -> Decision:
    """Whether the principal may do `action` on the named resource."""
    for role in sorted(principal.roles):
        if action in ALLOWED[role]:
            return Decision(allowed=True, reason=f"the role '{role}' may do '{action}'")
    held = ", ".join(f"'{role}'" for role in sorted(principal.roles)) or "none"
    return Decision(allowed=False, reason=f"'{action}' on '{resource}' needs another role; this key's roles: {held}")


def require(principal: Principal, action: Action, resource: str) -> None:
    """Return if it is allowed.

    Raises:
        Forbidden: it is not; the message says why.
    """
    decision = decide(principal, action, resource)
    if not decision.allowed:
        raise Forbidden(f"You are not allowed to do this: {decision.reason}.")
