"""Policies: which requests are allowed, in the words of `[[policy]]` and `[[case]]`.

What each key means, and how several policies work together, is in docs/reference/policy.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from freehold.types.base import SettingsModel
from freehold.types.deployment import NAME_PATTERN
from freehold.types.images import size_pixels
from freehold.types.limits import LimitSettings
from freehold.types.receipt import Scalar

PolicyName = Annotated[str, Field(pattern=NAME_PATTERN)]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Names = Annotated[tuple[Name, ...], Field(min_length=1, max_length=1000)]
"""Names or patterns: `*`, `?` and `[…]` as in file names, capitals matter. Never empty: whoever means all leaves the
key out, and a list that a program left empty by mistake is an error instead of one of two guesses."""

Number: TypeAlias = int | float
Count = Annotated[int, Field(ge=1, strict=True)]


def _checked_size(value: str) -> str:
    width, height = size_pixels(value)
    if not width * height:
        raise ValueError("must be a size such as '1024x1024'")
    return value


PictureSize = Annotated[str, Field(pattern=r"^[0-9]{1,5}x[0-9]{1,5}$"), AfterValidator(_checked_size)]


class AppliesTo(SettingsModel):
    """Whose requests a policy is for: of each key that is given, one name must fit. Without keys, everybody's."""

    organizations: Names | None = None
    projects: Names | None = None
    roles: Names | None = None
    members: Names | None = None
    """Ids of users and service accounts."""
    keys: Names | None = None
    """Ids of API keys; who signs in without one is not meant."""
    deployments: Names | None = None


class AllowDeny(SettingsModel):
    """Names that are allowed, less those that are denied."""

    allow: Names | None = None
    deny: Names | None = None


class Quantities(SettingsModel):
    """Numbers of a request by the names under which receipts have them, and a few that follow from those."""

    max_tokens: Count | None = None
    """Of a completion, under whichever of its names it is asked for."""
    n: Count | None = None
    images: Count | None = None
    size: PictureSize | None = None
    partial_images: Annotated[int, Field(ge=0, strict=True)] | None = None
    best_of: Count | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, strict=True)] | None = None
    messages: Count | None = None
    tools: Annotated[int, Field(ge=0, strict=True)] | None = None
    prompts: Count | None = None
    inputs: Count | None = None
    dimensions: Count | None = None
    prompt_bytes: Count | None = None

    def given(self) -> dict[str, Any]:
        """Those that have a value."""
        return self.model_dump(exclude_none=True)


class OnExceed(StrEnum):
    """What becomes of a request that asks for more than a ceiling."""

    REFUSE = "refuse"
    CLAMP = "clamp"


CLAMPABLE = frozenset({"max_tokens", "n", "images", "temperature", "top_p"})
"""What can be made less without making the request another one."""


class PolicySettings(SettingsModel):
    """One policy, as it is written in `[[policy]]` or sent to the admin API."""

    name: PolicyName
    description: Annotated[str, Field(max_length=1000)] = ""
    applies_to: AppliesTo = AppliesTo()
    deployments: AllowDeny = AllowDeny()
    models: AllowDeny = AllowDeny()
    ceilings: Quantities = Quantities()
    on_exceed: OnExceed = OnExceed.REFUSE
    require_filter: Names | None = None
    """Names of content-filter policies, one of which the deployment must have."""
    zones: Names | None = None
    """One of which the deployment must be in."""
    require_origin: bool = False
    """Whether the deployment's weights must have a recorded origin."""

    @model_validator(mode="after")
    def _rules_something(self) -> Self:
        rules = (
            *self._lists(),
            self.require_filter,
            self.zones,
            self.ceilings.given() or None,
            self.require_origin or None,
        )
        if all(rule is None for rule in rules):
            raise ValueError(
                "give at least one of deployments, models, ceilings, require_filter, zones, require_origin"
            )
        return self

    def _lists(self) -> tuple[Names | None, ...]:
        return self.deployments.allow, self.deployments.deny, self.models.allow, self.models.deny

    def wire(self) -> dict[str, Any]:
        """The settings as JSON values that `PolicySettings` reads back to the same settings."""
        return self.model_dump(mode="json", exclude_defaults=True, exclude_none=True)


class CaseParameters(Quantities):
    """What a case asks for."""

    max_completion_tokens: Count | None = None


class CaseRequest(SettingsModel):
    """The request of a case: who asks, for what."""

    organization: Name = "org-default"
    project: Name = "proj-default"
    roles: list[Name] = Field(default_factory=lambda: ["user"])
    member: Name | None = None
    key: Name | None = None
    deployment: Name
    model: Name | None = None
    """Of the deployment; without it that of the deployment of this name, as are the next two."""
    zone: Name | None = None
    content_filter: Name | None = None
    origin: Literal["recorded", "unrecorded"] | None = None
    """Whether the weights have a recorded origin; without it that is not known."""
    parameters: CaseParameters = CaseParameters()


class CaseSettings(SettingsModel):
    """One `[[case]]`: a request, and what the policies must decide."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    request: CaseRequest
    expect: Literal["allow", "deny"]
    reason: Annotated[str, Field(max_length=1000)] = ""
    """A part of the reason, such as the policy's name."""


class PolicyFile(SettingsModel):
    """A file of policies that the configuration takes in: policies, their cases, and limits."""

    policy: list[PolicySettings] = Field(default_factory=list)
    case: list[CaseSettings] = Field(default_factory=list)
    limit: list[LimitSettings] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """Who asks for which deployment. None is what is not known; an empty text is what there is none of."""

    organization: str | None
    project: str | None
    roles: frozenset[str] | None
    member: str | None
    key: str | None
    deployment: str
    model: str | None
    zone: str | None
    content_filter: str | None
    origin: bool | None = None
    """Whether its weights have a recorded origin."""


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    """Allow or deny, and why.

    Args:
        allowed: whether the request may go on. What depends on something unknown is denied.
        policies: those that apply; of a denial the one that denies.
        rule: of a denial, such as `deployments.deny` or `ceilings.n`.
        reason: one sentence without its end.
        param: the request's parameter at fault.
        known: false where the denial rests on something that is not known.
        ceilings: the lowest of all policies that apply, by name.
        clamped: what the request asked too much of, and what it gets.
    """

    allowed: bool
    policies: tuple[str, ...] = ()
    rule: str = ""
    reason: str = ""
    param: str | None = None
    known: bool = True
    ceilings: dict[str, Any] = field(default_factory=dict)
    clamped: dict[str, Number] = field(default_factory=dict)

    def record(self, clamped: Mapping[str, Number]) -> dict[str, Any]:
        """The decision as receipts have it: decimals are text.

        Args:
            clamped: what was cut in the end, and to what; `self.clamped` is only what was asked too much of.
        """
        found: dict[str, Any] = {"allowed": self.allowed, "policies": self.policies}
        if not self.allowed:
            found |= {"rule": self.rule, "reason": self.reason}
        if clamped:
            found["clamped"] = {name: scalar(value) for name, value in clamped.items()}
        return found


def scalar(value: Number) -> Scalar:
    """A number as receipts have it."""
    return value if isinstance(value, int) else repr(float(value))
