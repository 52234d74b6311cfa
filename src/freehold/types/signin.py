"""How people sign in, as it is written in TOML: `[identity]` and its providers. Times are seconds."""

from typing import Annotated, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from freehold.types.base import SettingsModel
from freehold.types.deployment import SecretRef

SigningAlgorithm: TypeAlias = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""What a provider may sign with: public-key algorithms only. A shared secret or no signature cannot be configured."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def _default_algorithms() -> list[SigningAlgorithm]:
    return ["RS256", "ES256"]


class RoleMapping(SettingsModel):
    """`[[identity.provider.map]]`: members of a group of the provider hold a role here."""

    group: Annotated[str, Field(min_length=1, max_length=512)]
    role: Annotated[str, Field(min_length=1, max_length=64)]
    project: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """The id of the project in which they hold it; without one they hold it in the whole organization."""


class ProgramMapping(SettingsModel):
    """`[[identity.provider.program]]`: a program that the provider knows acts as a service account here."""

    subject: Annotated[str, Field(min_length=1, max_length=255)]
    service_account: Annotated[str, Field(min_length=1, max_length=64)]


class ProviderSettings(SettingsModel):
    """`[[identity.provider]]`: one OpenID provider."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    """Stands in the redirect address, in the audit log and beside the roles that the provider gives."""
    label: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    issuer: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$", max_length=512)]
    client_id: Annotated[str, Field(min_length=1, max_length=256)]
    client_secret: SecretRef | None = None
    scopes: list[str] = Field(default_factory=lambda: ["openid", "email", "profile"])
    algorithms: Annotated[list[SigningAlgorithm], Field(min_length=1)] = Field(default_factory=_default_algorithms)
    audiences: list[Annotated[str, Field(min_length=1, max_length=512)]] = Field(default_factory=list)
    """Which audiences of JWTs the API takes as bearer tokens; with none it takes no JWT of this provider."""
    organization: Annotated[str, Field(min_length=1, max_length=64)] = "org-default"
    users: Literal["invited", "create"] = "invited"
    email_claim: Annotated[str, Field(min_length=1, max_length=256)] = "email"
    trust_email: bool = False
    """Whether addresses count that the provider does not call verified."""
    email_domains: list[Annotated[str, Field(pattern=r"^[^@\s]+\.[^@\s]+$")]] = Field(default_factory=list)
    groups_claim: Annotated[str, Field(min_length=1, max_length=256)] = "groups"
    default_role: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Held in the organization by whoever signs in here, whatever their groups."""
    clock_skew_s: Annotated[int, Field(ge=0, le=300)] = 60
    allow_http: bool = False
    """Whether the issuer may be an `http://` address of this machine; for trials."""
    map: list[RoleMapping] = Field(default_factory=list)
    program: list[ProgramMapping] = Field(default_factory=list)

    @model_validator(mode="after")
    def _safe(self) -> Self:
        address = urlsplit(self.issuer)
        local = self.allow_http and address.hostname in LOOPBACK
        if address.scheme != "https" and not local:
            raise ValueError(
                f"issuer: '{self.issuer}' must begin with https:// (http:// only on this machine with 'allow_http')"
            )
        if "openid" not in self.scopes:
            raise ValueError("scopes: must contain 'openid'")
        subjects = [program.subject for program in self.program]
        if len(set(subjects)) != len(subjects):
            raise ValueError("program: two have the same subject")
        return self

    @property
    def title(self) -> str:
        """What people know the provider as."""
        return self.label or self.name


class IdentitySettings(SettingsModel):
    """`[identity]`: who may sign in, and for how long."""

    local_accounts: bool = True
    """Whether people may sign in with an address and a password of this home."""
    session_idle_s: Annotated[float, Field(ge=60)] = 2 * 3600.0
    session_max_s: Annotated[float, Field(ge=60)] = 24 * 3600.0
    provider: list[ProviderSettings] = Field(default_factory=list)

    @model_validator(mode="after")
    def _unique(self) -> Self:
        for what in ("name", "issuer"):
            values = [getattr(provider, what) for provider in self.provider]
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise ValueError(f"provider: two have the {what} '{twice}'")
        return self
