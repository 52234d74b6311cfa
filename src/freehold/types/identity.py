"""Who is asking, and what they may do."""

from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase


class Action(StrEnum):
    """Something that a principal may ask for."""

    INFER = "deployments:infer"
    CALL_TOOLS = "tools:call"
    READ_MODELS = "models:read"
    READ_RECEIPTS = "receipts:read"
    READ_PROVENANCE = "provenance:read"
    READ_FILES = "files:read"
    WRITE_FILES = "files:write"
    READ_CONVERSATIONS = "conversations:read"
    WRITE_CONVERSATIONS = "conversations:write"
    READ_USAGE = "usage:read"
    READ_DEPLOYMENTS = "deployments:read"
    WRITE_DEPLOYMENTS = "deployments:write"
    WRITE_MODELS = "models:write"
    READ_LIMITS = "limits:read"
    WRITE_LIMITS = "limits:write"
    READ_KEYS = "keys:read"
    WRITE_KEYS = "keys:write"
    READ_PROJECTS = "projects:read"
    WRITE_PROJECTS = "projects:write"
    READ_USERS = "users:read"
    WRITE_USERS = "users:write"
    READ_AUDIT = "audit:read"
    READ_POLICIES = "policies:read"
    WRITE_POLICIES = "policies:write"
    READ_FILTERS = "filters:read"
    WRITE_FILTERS = "filters:write"
    READ_ABUSE = "abuse:read"
    WRITE_ABUSE = "abuse:write"
    REVIEW_CONTENT = "content:review"
    READ_RETENTION = "retention:read"
    WRITE_RETENTION = "retention:write"
    ERASE = "data:erase"
    MANAGE = "service:manage"


DATA_PLANE = frozenset(
    {
        Action.INFER,
        Action.CALL_TOOLS,
        Action.READ_MODELS,
        Action.READ_RECEIPTS,
        Action.READ_PROVENANCE,
        Action.READ_FILES,
        Action.WRITE_FILES,
        Action.READ_CONVERSATIONS,
        Action.WRITE_CONVERSATIONS,
    }
)
"""What callers of deployments do; everything else is administration."""


class Role(StrEnum):
    """The roles that every home has; the configuration file can define others."""

    OWNER = "owner"
    DEPLOYER = "deployer"
    USER = "user"
    READER = "reader"
    USAGE_READER = "usage_reader"
    AUDITOR = "auditor"
    FILTER_MANAGER = "filter_manager"


class MemberKind(StrEnum):
    """What can be a member of an organization."""

    USER = "user"
    SERVICE_ACCOUNT = "service_account"


@dataclass(frozen=True, slots=True)
class KeyScope:
    """What a key is cut down to; None is no restriction. It never allows more than its owner's roles.

    Args:
        models: names of deployments, with `*` and `?` as in file names.
        operations: names of actions.
        ip_ranges: networks in CIDR notation from which the key may be used.
    """

    models: tuple[str, ...] | None = None
    operations: tuple[Action, ...] | None = None
    ip_ranges: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated caller of one request.

    Args:
        organization_id: whose member it is.
        project_id: in which project it acts; empty for a key of the organization.
        id: the member, a user or a service account.
        kind: which of both.
        name: what the member is called.
        roles: held in this project, those of the organization included.
        actions: what the roles allow in the project, cut down to what the key may be used for.
        organization_actions: those of them that hold in the whole organization.
        key_id: of the API key; empty without one.
        key_name: what the key is called.
        key_last4: the only part of the credential that is kept in the clear.
        models: the deployments that the key may be used for; None for all.
        auth_method: `api_key`, `jwt` or `session`.
        session_id: of the session; empty without one.
        expires_at: when the credential ends, in seconds since the epoch; None if it does not.
    """

    organization_id: str
    project_id: str
    id: str
    kind: MemberKind = MemberKind.SERVICE_ACCOUNT
    name: str = ""
    roles: frozenset[str] = field(default_factory=frozenset)
    actions: frozenset[Action] = field(default_factory=frozenset)
    organization_actions: frozenset[Action] = field(default_factory=frozenset)
    key_id: str = ""
    key_name: str = ""
    key_last4: str = ""
    models: tuple[str, ...] | None = None
    auth_method: str = "api_key"
    session_id: str = ""
    expires_at: int | None = None

    def reaches(self, *names: str) -> bool:
        """Whether the key may be used for a deployment of one of these names."""
        return self.models is None or any(fnmatchcase(name, pattern) for name in names for pattern in self.models)
