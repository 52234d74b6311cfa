"""Limits: what a caller may use, on what it is set, and what a request asks for. Times are seconds."""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from freehold.types.base import SettingsModel
from freehold.types.capacity import Work
from freehold.types.money import decimal_from_micro, micro_from_decimal
from freehold.types.values import value_class

EVERY = "*"
"""The id that stands for each one of a scope by itself."""
MOST = 2**53 - 1
"""The largest limit: the largest integer that every JSON parser reads exactly."""


class Scope(StrEnum):
    """On what a limit is set."""

    ORGANIZATION = "organization"
    PROJECT = "project"
    KEY = "key"
    END_USER = "end_user"
    DEPLOYMENT = "deployment"
    PROJECT_DEPLOYMENT = "project_deployment"
    """What one project uses of one deployment; its id is `<project>/<deployment>`."""


@value_class
class Subject:
    """One thing that limits are counted on; as text `scope:id`. An end user's id is the digest that receipts hold."""

    scope: Scope
    id: str

    def __str__(self) -> str:
        return f"{self.scope}:{self.id}"


class LimitSettings(SettingsModel):
    """The limits of one subject, as written in `[[limit]]` or sent to the admin API; None is no limit.

    With the id `*` they hold for each subject of the scope by itself, unless one has its own: each value of its
    own goes before that of `*`. Budgets are micro-units here and whole units (`"12.50"`) in files; a day and a
    month are those of UTC.
    """

    scope: Scope
    id: Annotated[str, Field(min_length=1, max_length=256)]
    requests_per_minute: Annotated[int, Field(ge=0, le=MOST)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=0, le=MOST)] | None = None
    concurrent_requests: Annotated[int, Field(ge=0, le=MOST)] | None = None
    budget_per_day: int | None = None
    budget_per_month: int | None = None

    @field_validator("budget_per_day", "budget_per_month", mode="before")
    @classmethod
    def _micro(cls, value: Any) -> Any:
        return None if value is None else micro_from_decimal(value)

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if all(getattr(self, name) is None for name in LIMITED):
            raise ValueError(f"give at least one of {', '.join(LIMITED)}")
        return self

    @model_validator(mode="after")
    def _limits_a_pair_by_rates(self) -> Self:
        if self.scope is not Scope.PROJECT_DEPLOYMENT:
            return self
        project, _, deployment = self.id.partition("/")
        if self.id != EVERY and not (project and deployment):
            raise ValueError("the id of a project_deployment is '<project>/<deployment>', or '*' for each pair")
        others = [name for name in LIMITED if name not in RATES and getattr(self, name) is not None]
        if others:
            raise ValueError(f"a project_deployment has {' and '.join(RATES)} only, not {others[0]}")
        return self

    def wire(self) -> dict[str, Any]:
        """The settings as JSON values that `LimitSettings` reads back to the same settings."""
        body = self.model_dump(mode="json", exclude_none=True)
        for name in ("budget_per_day", "budget_per_month"):
            if name in body:
                body[name] = decimal_from_micro(body[name])
        return body


LIMITED = (
    "requests_per_minute",
    "tokens_per_minute",
    "concurrent_requests",
    "budget_per_day",
    "budget_per_month",
)
"""What can be limited."""
RATES = ("requests_per_minute", "tokens_per_minute")
"""What can be limited of what one project uses of one deployment."""


def pair_id(project_id: str, deployment: str) -> str:
    """The id of a `PROJECT_DEPLOYMENT`."""
    return f"{project_id}/{deployment}"


@value_class
class Claim:
    """What one request asks for before it runs.

    Args:
        subjects: all that it counts on: organization, project, key, end user where there is one, deployment, and the
            project's part of the deployment where that is limited.
        tokens: an estimate of prompt and completion, for the limit per minute.
        cost_micro: an upper bound of its cost in micro-units, for the budgets.
        at: when the request began, seconds since the epoch, UTC: it counts in that day and that month.
        work: an estimate of what it needs, where the deployment has provisioned units.
    """

    subjects: tuple[Subject, ...]
    tokens: int
    cost_micro: int
    at: float
    work: Work | None = None
