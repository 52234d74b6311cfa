"""Several gateways on one database: the settings of `[database]` and `[gateway]`."""

from typing import Annotated

from pydantic import Field

from freehold.types.base import SettingsModel
from freehold.types.deployment import NAME_PATTERN, SecretRef


class DatabaseSettings(SettingsModel):
    """`[database]`: where keys, deployments, jobs and kept content are; for several gateways, all the same."""

    url: SecretRef | None = None
    """Where the URL of PostgreSQL is kept (`postgresql://user:password@host/name`); without it, SQLite in the home."""
    zone: Annotated[str, Field(pattern=NAME_PATTERN)] | None = None
    """Where it stands, as the organization calls it; policies can keep a project's content out of it."""


class GatewaySettings(SettingsModel):
    """`[gateway]`: this server as one of several on one database."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")] | None = None
    """Names it and its journal; without it, the machine's name."""
    url: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+$")] | None = None
    """Where people reach just this one, for `freehold gateways list`."""
