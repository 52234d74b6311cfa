"""A deployment: what callers name. The settings of `[[deployment]]`, and of the admin API's bodies."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""What a deployment, a model or an alias may be called: also one path segment of an Azure URL."""

DeploymentName = Annotated[str, Field(pattern=NAME_PATTERN)]


class SettingsModel(BaseModel):
    """A part of the configuration: frozen, closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class SecretRef(SettingsModel):
    """Where a secret is kept: the name of an environment variable or the path of a file. Never the secret."""

    env: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("give either 'env' or 'file'")
        return self


MAX_PRICE_MICRO = 10**15
"""The highest price: a billion whole units for a million tokens."""


class Price(SettingsModel):
    """Prices in micro-units of money (a millionth of a dollar, say) per million tokens.

    Written in a file as a decimal of the whole unit: `input = "0.15"` is 150,000 micro-units.
    """

    input: int = 0
    cached_input: int | None = None
    output: int = 0

    @field_validator("input", "cached_input", "output", mode="before")
    @classmethod
    def _micro(cls, value: Any) -> Any:
        if value is None:
            return None
        try:
            micro = Decimal(str(value)) * 1_000_000
        except ArithmeticError as exc:
            raise ValueError('must be a decimal number such as "0.15"') from exc
        if not micro.is_finite() or not 0 <= micro <= MAX_PRICE_MICRO or micro != micro.to_integral_value():
            raise ValueError("must not be negative, at most 1000000000, and have at most six decimals")
        return int(micro)

    def wire(self) -> dict[str, str]:
        """The prices as they are written in a file, in whole units."""
        named = {"input": self.input, "cached_input": self.cached_input, "output": self.output}
        return {
            name: format((Decimal(value) / 1_000_000).normalize(), "f")
            for name, value in named.items()
            if value is not None
        }


class SamplingDefaults(SettingsModel):
    """Values for parameters that a request leaves out; without them OpenAI's own defaults."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    """Only for prose: data under a schema repeats its punctuation by nature."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None


class DeploymentSettings(SettingsModel):
    """One deployment, as it is written in TOML or sent to the admin API. Times are seconds."""

    name: DeploymentName
    model: Annotated[str, Field(min_length=1, max_length=256)]
    engine: Annotated[str, Field(min_length=1, max_length=32)] = "auto"
    aliases: list[DeploymentName] = Field(default_factory=list)
    task: Literal["chat", "embeddings"] = "chat"
    """What the model is for: writing (chat and completions) or embeddings."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The engine's own options; each engine validates them and names an unknown one."""
    context_length: Annotated[int, Field(ge=16, lt=2**31)] | None = None
    """Tokens per request, prompt and completion together; the model's own length where it is not given."""
    parallel: Annotated[int, Field(ge=1, le=1024)] = 8
    """Requests that one replica works on at once."""
    replicas: Annotated[int, Field(ge=0, le=64)] = 1
    idle_unload_s: Annotated[float, Field(gt=0)] | None = None
    """Stop the replicas after this long without a request; the next request starts them again."""
    start: Literal["eager", "on_demand"] = "eager"
    fallbacks: list[DeploymentName] = Field(default_factory=list)
    price: Price = Price()
    defaults: SamplingDefaults = SamplingDefaults()
    base_url: str | None = None
    """For `remote`: the endpoint up to and including `/v1`, or an Azure endpoint."""
    api_key: SecretRef | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.name in self.aliases:
            raise ValueError(f"aliases: '{self.name}' is the deployment's own name")
        if self.name in self.fallbacks:
            raise ValueError(f"fallbacks: '{self.name}' cannot fall back to itself")
        if self.base_url is not None and not self.base_url.startswith(("http://", "https://")):
            raise ValueError("base_url: must begin with http:// or https://")
        return self

    def wire(self) -> dict[str, Any]:
        """The settings as JSON values that `DeploymentSettings` reads back to the same settings."""
        body = self.model_dump(mode="json", exclude_defaults=True)
        if "price" in body:
            body["price"] = self.price.wire()
        return body


class Origin(StrEnum):
    """Where a deployment was defined."""

    STARTER = "starter"
    API = "api"
    CONFIG = "config"


class ReplicaState(StrEnum):
    """The life of a replica."""

    FETCHING = "fetching"
    STARTING = "starting"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    BACKING_OFF = "backing_off"
    DRAINING = "draining"
    UNLOADED = "unloaded"
    STOPPED = "stopped"
