"""Who may do what. Every answer is allow or deny, with a reason."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from freehold.errors import Forbidden, InvalidRequest
from freehold.types.identity import DATA_PLANE, Action, Principal, Role
from freehold.types.values import value_class

_READING = frozenset(
    {
        Action.READ_MODELS,
        Action.READ_DEPLOYMENTS,
        Action.READ_LIMITS,
        Action.READ_PROJECTS,
        Action.READ_USERS,
        Action.READ_POLICIES,
        Action.READ_FILTERS,
        Action.READ_RETENTION,
        Action.READ_PROVENANCE,
    }
)

BUILT_IN: Mapping[str, frozenset[Action]] = {
    Role.OWNER: frozenset(Action),
    Role.DEPLOYER: DATA_PLANE
    | {
        Action.READ_DEPLOYMENTS,
        Action.WRITE_DEPLOYMENTS,
        Action.WRITE_MODELS,
        Action.READ_LIMITS,
        Action.READ_POLICIES,
        Action.READ_FILTERS,
    },
    Role.USER: DATA_PLANE,
    Role.READER: _READING,
    Role.USAGE_READER: frozenset({Action.READ_USAGE, Action.READ_MODELS, Action.READ_LIMITS}),
    Role.AUDITOR: (_READING - {Action.READ_PROVENANCE})
    | {Action.READ_AUDIT, Action.READ_RECEIPTS, Action.READ_USAGE, Action.READ_KEYS, Action.READ_ABUSE},
    Role.FILTER_MANAGER: frozenset(
        {
            Action.READ_MODELS,
            Action.READ_FILTERS,
            Action.WRITE_FILTERS,
            Action.READ_ABUSE,
            Action.WRITE_ABUSE,
        }
    ),
}


class Roles:
    """What each role allows: the built-in ones, and those of the configuration file.

    Args:
        custom: name → actions; a built-in role cannot be defined anew.
    """

    def __init__(self, custom: Mapping[str, Iterable[Action]] | None = None) -> None:
        self._actions = {str(name): actions for name, actions in BUILT_IN.items()}
        for name, actions in (custom or {}).items():
            assert name not in BUILT_IN, "the settings refuse it"
            self._actions[name] = frozenset(actions)

    def names(self) -> list[str]:
        """Every role, the built-in ones first."""
        return list(self._actions)

    def check(self, name: str) -> str:
        """The name, if it is a role's.

        Raises:
            InvalidRequest: there is no such role.
        """
        if name not in self._actions:
            known = ", ".join(f"'{known}'" for known in self._actions)
            raise InvalidRequest(f"There is no role '{name[:64]}'; there are {known}.", param="role")
        return name

    def actions(self, names: Iterable[str]) -> frozenset[Action]:
        """What the roles allow together; one that is no longer defined allows nothing."""
        found: frozenset[Action] = frozenset()
        for name in names:
            found |= self._actions.get(name, frozenset())
        return found

    def giving(self, action: Action) -> list[str]:
        """The roles that allow an action."""
        return [name for name, actions in self._actions.items() if action in actions]


@value_class
class Decision:
    """Allow or deny, and why."""

    allowed: bool
    reason: str


def decide(principal: Principal, action: Action, resource: str) -> Decision:
    """Whether the principal may do `action` on the named resource."""
    if action in principal.actions:
        return _allowed(action, principal.roles)
    return Decision(
        allowed=False,
        reason=f"'{action}' on '{resource}' needs another role, or a key with that scope; "
        f"the roles held: {_held(principal.roles)}",
    )


@lru_cache(maxsize=1024)
def _allowed(action: Action, roles: frozenset[str]) -> Decision:
    """The same for every request of whoever holds these roles."""
    return Decision(allowed=True, reason=f"'{action}' is allowed by the roles {_held(roles)}")


def _held(roles: frozenset[str]) -> str:
    return ", ".join(f"'{role}'" for role in sorted(roles)) or "none"


def decide_deployment(principal: Principal, action: Action, *names: str) -> Decision:
    """Whether the principal may do `action` on the deployment of these names, its key's scope included."""
    return scoped(decide(principal, action, f"deployments/{names[0]}"), principal, *names)


def scoped(decision: Decision, principal: Principal, *names: str) -> Decision:
    """The decision on a deployment of these names, the key's scope included: another one only where that denies it."""
    if decision.allowed and not principal.reaches(*names):
        listed = ", ".join(f"'{pattern}'" for pattern in principal.models or ())
        return Decision(allowed=False, reason=f"this key may only be used for {listed}, not for '{names[0]}'")
    return decision


def require(principal: Principal, action: Action, resource: str) -> None:
    """Return if it is allowed.

    Raises:
        Forbidden: it is not; the message says why.
    """
    assure(decide(principal, action, resource))


def assure(decision: Decision) -> None:
    """Return if the decision is to allow.

    Raises:
        Forbidden: it is not; the message says why.
    """
    if not decision.allowed:
        raise Forbidden(f"You are not allowed to do this: {decision.reason}.")
