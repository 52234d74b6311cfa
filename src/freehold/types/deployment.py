"""A deployment: what callers name. The settings of `[[deployment]]`, and of the admin API's bodies."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from freehold.types.base import SettingsModel
from freehold.types.capacity import CapacitySettings
from freehold.types.condition import parse_condition
from freehold.types.price import Price, check_dates, price_at

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""What a deployment, a model, an alias or a policy may be called: also one path segment of an Azure URL."""
MODEL_NAME_PATTERN = (
    r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63}"
    r"|ft:[A-Za-z0-9][A-Za-z0-9._-]{0,63}:[a-z0-9-]{1,32}:[A-Za-z0-9_-]{0,64}:[A-Za-z0-9]{8}(:ckpt-step-[0-9]{1,9})?)$"
)
"""As `NAME_PATTERN`, and what fine-tuning makes: `ft:BASE:PROJECT:SUFFIX:ID`, as OpenAI calls such models, with
`:ckpt-step-N` behind it for a checkpoint."""

DeploymentName = Annotated[str, Field(pattern=MODEL_NAME_PATTERN)]


class SecretRef(SettingsModel):
    """Where a secret is kept: the name of an environment variable or the path of a file. Never the secret."""

    env: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("give either 'env' or 'file'")
        return self


class SamplingDefaults(SettingsModel):
    """Values for parameters that a request leaves out; without them OpenAI's own defaults."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    """Only for prose: data under a schema repeats its punctuation by nature."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None


class CanarySettings(SettingsModel):
    """A candidate that gets a share of a deployment's requests."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    share: Annotated[float, Field(gt=0, lt=1)]
    """Of the callers; who has it keeps it."""
    rollback_if: str | None = None
    """A condition on `errors` (0 to 1), `latency_p50` (seconds) and evaluations, under which the candidate is given up.
    `base` is what the deployment's own model comes to."""
    window_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """The requests of so many last seconds count."""
    min_requests: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Nothing is concluded from fewer requests."""
    options: dict[str, Any] | None = None
    """The engine's options for the candidate; the deployment's where it is not given."""

    @field_validator("rollback_if")
    @classmethod
    def _is_condition(cls, value: str | None) -> str | None:
        return _checked_condition(value)


class ResourcesSettings(SettingsModel):
    """What one replica needs of a node of a cluster; see `freehold.types.cluster.Resources`."""

    cores: Annotated[float, Field(ge=0, le=4096)] | None = None
    """Processor cores, parts of one allowed; 1 where it is not given."""
    memory_bytes: Annotated[int, Field(ge=0)] | None = None
    """Main memory; 1.3 times the weights and half a GiB where it is not given."""
    devices: Annotated[int, Field(ge=0, le=1024)] = 0
    """Accelerators."""
    device_kind: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Of which kind, as the nodes say; any where it is not given."""


class AutoscaleSettings(SettingsModel):
    """Between how many replicas a deployment has, by what it has to do. Times are seconds."""

    min: Annotated[int, Field(ge=0, le=64)] = 0
    """With 0 the last replica ends after `down_after_s` without a request; the next request starts one."""
    max: Annotated[int, Field(ge=1, le=64)]
    queue_time_s: Annotated[float, Field(gt=0, le=3600)] = 2.0
    """More replicas start when a request has waited longer for one."""
    down_after_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """Replicas end when fewer would have been enough for so long."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min: {self.min} is more than max, {self.max}")
        return self


class DeploymentSettings(SettingsModel):
    """One deployment, as it is written in TOML or sent to the admin API. Times are seconds."""

    name: DeploymentName
    model: Annotated[str, Field(min_length=1, max_length=256)]
    engine: Annotated[str, Field(min_length=1, max_length=32)] = "auto"
    aliases: list[DeploymentName] = Field(default_factory=list)
    description: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    """What it is good for, as people who choose a model read it."""
    task: Literal["chat", "embeddings", "images"] = "chat"
    """What the model is for: writing (chat and completions), embeddings or pictures."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The engine's own options; each engine validates them and names an unknown one."""
    context_length: Annotated[int, Field(ge=16, lt=2**31)] | None = None
    """Tokens per request, prompt and completion together; the model's own length where it is not given."""
    parallel: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Requests that one replica works on at once; the engine's own number where it is not given. More wait."""
    queue: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """How many requests may wait for a replica at once; of more than that the lowest tier's are refused."""
    replicas: Annotated[int, Field(ge=0, le=64)] = 1
    """How many engine processes; with `autoscale`, how many at first, and 0 still stops it."""
    autoscale: AutoscaleSettings | None = None
    """How many replicas there are by what it has to do."""
    work_class: Literal["api", "product", "research"] = "api"
    """On a cluster: whose replicas go first where there is no room for all, and take room from those behind."""
    idle_unload_s: Annotated[float, Field(gt=0)] | None = None
    """Stop the replicas after this long without a request; the next request starts them again."""
    start: Literal["eager", "on_demand"] = "eager"
    fallbacks: list[DeploymentName] = Field(default_factory=list)
    zone: Annotated[str, Field(pattern=NAME_PATTERN)] | None = None
    """Where its model runs, as an organization calls it; policies can demand one."""
    resources: ResourcesSettings = ResourcesSettings()
    """What each replica needs of a node, where engines run on a cluster."""
    content_filter: Annotated[str, Field(pattern=NAME_PATTERN)] = "default"
    """The name of the content-filter policy under which its texts are examined; policies can demand one."""
    price: tuple[Price, ...] = ()
    """What use costs: one price, or a list of prices with the day from which each is in force."""
    prompt_cache_routing: Literal["auto", "on", "off"] = "auto"
    """Whether requests go to the replica that has read the beginning of their prompt; `auto` finds out if it helps."""
    defaults: SamplingDefaults = SamplingDefaults()
    project: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """The id of the project whose own it is: nobody else sees it. Without one it is everybody's."""
    base_url: str | None = None
    """For `remote`: the endpoint up to and including `/v1`, or an Azure endpoint."""
    api_key: SecretRef | None = None
    promote_if: str | None = None
    """A condition on evaluations, such as `gsm8k >= 0.3 and toxicity <= base`, that another model must satisfy before
    the deployment changes to it. `base` is the result of the present model."""
    canary: CanarySettings | None = None
    upgrade: Literal["never", "new_default", "at_retirement"] = "never"
    """When it goes over to the default model of its model's family, if `promote_if` allows it."""
    capacity: CapacitySettings | None = None
    """Units that it serves with; without, it serves what it can."""

    @field_validator("promote_if")
    @classmethod
    def _is_condition(cls, value: str | None) -> str | None:
        return _checked_condition(value)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.name in self.aliases:
            raise ValueError(f"aliases: '{self.name}' is the deployment's own name")
        if self.name in self.fallbacks:
            raise ValueError(f"fallbacks: '{self.name}' cannot fall back to itself")
        if self.capacity is not None and self.capacity.spillover == self.name:
            raise ValueError(f"capacity.spillover: '{self.name}' cannot spill over to itself")
        if self.canary is not None and self.canary.model == self.model and self.canary.options is None:
            raise ValueError(f"canary.model: '{self.model}' is the deployment's own model")
        if self.base_url is not None and not self.base_url.startswith(("http://", "https://")):
            raise ValueError("base_url: must begin with http:// or https://")
        return self

    @field_validator("price", mode="before")
    @classmethod
    def _one_price_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict | Price) else value

    @field_validator("price", mode="after")
    @classmethod
    def _by_date(cls, value: tuple[Price, ...]) -> tuple[Price, ...]:
        return check_dates(value)

    @property
    def others(self) -> list[str]:
        """The deployments that take a request when this one cannot, in this order."""
        spillover = None if self.capacity is None else self.capacity.spillover
        if spillover is None:
            return self.fallbacks
        return [spillover, *(name for name in self.fallbacks if name != spillover)]

    def price_at(self, when_s: float) -> Price:
        """The price that is in force at a time (seconds since the epoch)."""
        return price_at(self.price, when_s)

    def wire(self) -> dict[str, Any]:
        """The settings as JSON values that `DeploymentSettings` reads back to the same settings."""
        body = self.model_dump(mode="json", exclude_defaults=True)
        if "price" in body:
            prices = [price.wire() for price in self.price]
            body["price"] = prices[0] if len(prices) == 1 else prices
        return body


def _checked_condition(value: str | None) -> str | None:
    """ValueError if the text is no condition."""
    if value is not None:
        parse_condition(value)
    return value


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
