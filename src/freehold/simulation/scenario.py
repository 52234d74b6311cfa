"""A scenario: which machines there are, what is deployed on them, who asks for how much, and what fails. TOML."""

import tomllib
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from freehold.config import parse_settings
from freehold.errors import ConfigError
from freehold.types.base import SettingsModel
from freehold.types.cluster import Resources, ShareSettings, WorkClass
from freehold.types.deployment import NAME_PATTERN, AutoscaleSettings
from freehold.types.engine import Tier
from freehold.types.limits import LimitSettings
from freehold.types.price import Price, check_dates

BUILT_IN: Final = ("laptop", "department", "supercomputer")
"""The scenarios that come with the program."""
_GIB: Final = 2**30

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class Spread(SettingsModel):
    """A log-normal distribution, by its median and its 95th percentile; equal ones are a fixed value."""

    median: Positive
    p95: Positive
    most: Positive
    """Nothing is larger."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.median <= self.p95 <= self.most:
            raise ValueError("must be ordered: median <= p95 <= most")
        return self


class Arrivals(SettingsModel):
    """How often something comes. `per_hour` is the mean over a long time, whatever the kind."""

    kind: Literal["poisson", "diurnal", "bursts"] = "poisson"
    per_hour: NotNegative
    peak_hour: Annotated[float, Field(ge=0, lt=24)] = 14.0
    """`diurnal`: the hour of the day, UTC, at which most come."""
    quiet: Annotated[float, Field(ge=0, le=1)] = 0.2
    """`diurnal`: the rate in the quietest hour, as a share of the peak's."""
    burst: Annotated[float, Field(ge=1)] = 10.0
    """`bursts`: how many times as many come during a burst."""
    burst_every_s: Positive = 1800.0
    """`bursts`: seconds between two, on average."""
    burst_lasts_s: Positive = 60.0
    """`bursts`: seconds that one lasts, on average."""


class Nodes(SettingsModel):
    """Nodes of one kind in one zone."""

    name: Name
    count: Annotated[int, Field(ge=1, le=100_000)] = 1
    cores: Positive = 8.0
    memory_gib: Positive = 64.0
    devices: Annotated[int, Field(ge=0, le=1024)] = 0
    device_kind: str | None = None
    zone: Name | None = None
    mtbf_hours: Positive | None = None
    """Hours between two failures of one node, on average; without it they never fail."""
    repair_hours: Positive = 2.0
    """Hours until a failed node is back, on average."""

    @property
    def total(self) -> Resources:
        """What each of them has."""
        return Resources(self.cores, round(self.memory_gib * _GIB), self.devices, self.device_kind)


class Needs(SettingsModel):
    """What one process needs of its node."""

    cores: NotNegative = 1.0
    memory_gib: NotNegative = 1.0
    devices: Annotated[int, Field(ge=0, le=1024)] = 0
    device_kind: str | None = None

    @property
    def resources(self) -> Resources:
        """The same as the cluster counts it."""
        return Resources(self.cores, round(self.memory_gib * _GIB), self.devices, self.device_kind)


class Model(SettingsModel):
    """How fast one replica is; `freehold bench engine` measures it."""

    prefill_tokens_s: Positive
    """Prompt tokens a second."""
    decode_tokens_s: Positive
    """Tokens a second of one stream alone."""
    decode_tokens_s_full: Positive
    """Tokens a second of `parallel` streams together."""
    parallel: Annotated[int, Field(ge=1, le=1024)] = 8
    """Requests that one replica works on at once."""
    load_s: NotNegative = 30.0
    """Seconds from the placement until it serves."""

    @model_validator(mode="after")
    def _plausible(self) -> Self:
        if not self.decode_tokens_s <= self.decode_tokens_s_full <= self.decode_tokens_s * self.parallel:
            raise ValueError("decode_tokens_s_full must lie between decode_tokens_s and parallel times as much")
        return self


class Deployed(SettingsModel):
    """One deployment."""

    name: Name
    work_class: Literal["api", "product"] = "api"
    model: Model
    needs: Needs = Needs()
    replicas: Annotated[int, Field(ge=0, le=10_000)] = 1
    """With `autoscale`, how many at first."""
    autoscale: AutoscaleSettings | None = None
    queue: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """How many requests may wait for a replica at once."""
    context_length: Annotated[int, Field(ge=16)] = 32_768
    fallbacks: list[Name] = Field(default_factory=list)
    zones: list[Name] | None = None
    """Where its replicas may run; anywhere where it is not given."""
    organization: Name = "service"
    project: Name | None = None
    price: tuple[Price, ...] = ()

    @field_validator("price", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict | Price) else value

    @field_validator("price", mode="after")
    @classmethod
    def _by_date(cls, value: tuple[Price, ...]) -> tuple[Price, ...]:
        return check_dates(value)

    @property
    def rank(self) -> WorkClass:
        """Its class, as the arbiter knows it."""
        return WorkClass[self.work_class.upper()]


class Caller(SettingsModel):
    """Somebody who asks, or several who are alike: `count` of them, each a project of its own."""

    name: Name
    count: Annotated[int, Field(ge=1, le=10_000)] = 1
    organization: Name
    project: Name
    """With `count` above 1 the projects are numbered: `team-1`, `team-2` and so on."""
    deployment: Name
    tier: Tier = Tier.DEFAULT
    arrivals: Arrivals
    """Of each of them."""
    prompt_tokens: Spread
    completion_tokens: Spread
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """What the requests say; `most` of `completion_tokens` where it is not given."""
    gives_up_s: Positive | None = None
    """Seconds after which a caller who waits for a replica leaves."""

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.max_tokens is not None and self.max_tokens < self.completion_tokens.most:
            raise ValueError("max_tokens must not be less than completion_tokens.most")
        return self


class Jobs(SettingsModel):
    """Jobs of one kind, such as the trainings of one group."""

    name: Name
    count: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Groups that are alike, each with a project of its own: `lab-1`, `lab-2` and so on."""
    organization: Name
    project: Name
    arrivals: Arrivals = Arrivals(per_hour=0)
    at_start: Annotated[int, Field(ge=0, le=100_000)] = 0
    """How many wait already when the simulation begins."""
    members: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Processes of one job; all are placed at once."""
    needs: Needs
    """Of each process."""
    hours: Spread
    """How long a job computes when nothing disturbs it."""
    checkpoint_every_s: Positive = 1800.0
    """Seconds of work between two checkpoints."""
    checkpoint_takes_s: NotNegative = 30.0
    """Seconds that it takes to write one when asked to."""
    checkpoint_s: NotNegative = 120.0
    """Seconds after which the devices are taken, written or not."""
    restart_s: NotNegative = 60.0
    """Seconds from a placement until it computes."""
    zones: list[Name] | None = None


class Outage(SettingsModel):
    """All nodes of a zone, gone at once."""

    zone: Name
    at_hour: NotNegative
    lasts_hours: Positive


class Scenario(SettingsModel):
    """Everything that a simulation begins with."""

    name: Name
    description: str = ""
    hours: Annotated[float, Field(gt=0, le=100_000)] = 1.0
    seed: int = 1
    starts_at: datetime = datetime(2026, 3, 2, tzinfo=UTC)
    """The beginning; without an offset, UTC."""
    node: Annotated[list[Nodes], Field(min_length=1)]
    deployment: list[Deployed] = Field(default_factory=list)
    caller: list[Caller] = Field(default_factory=list)
    job: list[Jobs] = Field(default_factory=list)
    share: list[ShareSettings] = Field(default_factory=list)
    limit: list[LimitSettings] = Field(default_factory=list)
    outage: list[Outage] = Field(default_factory=list)

    @field_validator("starts_at", mode="after")
    @classmethod
    def _in_utc(cls, value: datetime) -> datetime:
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        deployments = _unique("deployment", [each.name for each in self.deployment])
        _unique("node", [each.name for each in self.node])
        _unique("caller", [each.name for each in self.caller])
        _unique("job", [each.name for each in self.job])
        zones = {each.zone for each in self.node}
        for caller in self.caller:
            _known("caller", caller.name, "deployment", caller.deployment, deployments)
        for deployed in self.deployment:
            for fallback in deployed.fallbacks:
                _known("deployment", deployed.name, "fallbacks", fallback, deployments)
            if deployed.name in deployed.fallbacks:
                raise ValueError(f"deployment '{deployed.name}': fallbacks: it cannot fall back to itself")
        for outage in self.outage:
            if outage.zone not in zones:
                raise ValueError(f"outage: no nodes stand in the zone '{outage.zone}'")
        return self


def _unique(kind: str, names: list[str]) -> set[str]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{kind}: two are called '{name}'")
    return set(names)


def _known(kind: str, name: str, key: str, wanted: str, known: set[str]) -> None:
    if wanted not in known:
        there = ", ".join(sorted(known)) or "none"
        raise ValueError(f"{kind} '{name}': {key}: there is no deployment '{wanted}'; there are: {there}")


def built_in_text(name: str) -> str:
    """The TOML of a scenario that comes with the program."""
    return (resources.files("freehold.simulation") / "scenarios" / f"{name}.toml").read_text(encoding="utf-8")


def load_scenario(given: str) -> Scenario:
    """A scenario by the name of a built-in one, or from a TOML file.

    Raises:
        ConfigError: there is none, it cannot be read, or it has a wrong key or value.
    """
    if given in BUILT_IN:
        return parse_settings(tomllib.loads(built_in_text(given)), Scenario)
    path = Path(given)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ConfigError(
            f"'{given}' is neither a file nor a scenario that comes with the program ({', '.join(BUILT_IN)})"
        ) from exc
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: is not valid TOML: {exc}") from exc
    return parse_settings(raw, Scenario)
