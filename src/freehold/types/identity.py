"""Who is asking."""

from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """What a principal may do: `owner` everything, `user` call deployments and list models."""

    OWNER = "owner"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated caller of one request.

    `key_last4` is the only part of the credential that is kept in the clear.
    """

    organization_id: str
    project_id: str
    key_id: str
    key_name: str
    key_last4: str
    roles: frozenset[Role] = field(default_factory=frozenset)
    auth_method: str = "api_key"
