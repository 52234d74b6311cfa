"""What is recorded of a request: `Admitted` before it runs, one `Receipt` when it has ended.

Neither holds a prompt or a completion: lengths, counts and keyed digests. What each field means to a reader is in
docs/reference/journal.md; a test holds that every one stands there. They are tuples with names, since those are made in
a fraction of the time of other frozen values, and each request makes two.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from itertools import compress
from operator import is_not
from typing import Any, Final, NamedTuple, TypeAlias

Scalar: TypeAlias = str | int | bool | None


class RecordBody(dict[str, Any]):
    """What a record says, or a part of it, made for that one record and given away with it.

    Its values are what JSON has, without fractions, and none is None: whoever makes one sees to that. Only what a whole
    record has under the names in `NESTED` may still be anything, if it is no such part.
    """

    __slots__ = ()


NESTED: Final = ("roles", "parameters", "decision", "filter")
"""The fields that are lists or objects."""


class Outcome(StrEnum):
    """How a request ended."""

    FINISHED = "finished"
    REFUSED = "refused"
    """Nothing was generated: wrong credential, wrong input, over a limit."""
    FILTERED = "filtered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """The caller went away."""
    INTERRUPTED = "interrupted"
    """The server stopped, was killed or lost its machine while the request ran."""


class Admitted(NamedTuple):
    """A request that is about to run, and the most that it may use. Times are RFC 3339, UTC, microseconds."""

    request_id: str
    started_at: str
    route: str
    dialect: str
    organization_id: str
    project_id: str
    key_id: str | None
    principal: str
    auth_method: str
    deployment: str | None
    """None for a listing or a call of an MCP server, which reserves nothing."""
    reserved_tokens: int
    reserved_micro: int
    prompt_tokens: int
    """An estimate, and `prompt_micro` what those tokens cost: what is charged if the server dies meanwhile."""
    prompt_micro: int
    price_version: str
    end_user: str | None = None
    service_tier: str | None = None
    parameters: Mapping[str, Scalar] | None = None
    """Which response it is for; where there is no deployment, what is called."""

    def body(self) -> RecordBody:
        """The record's body: what is None is left out."""
        return _body(self)


class Receipt(NamedTuple):
    """One finished request.

    Times are RFC 3339, UTC, microseconds; durations (`_us`) are microseconds; money is micro-units; digests are hex.
    """

    request_id: str
    started_at: str
    ended_at: str
    duration_us: int
    route: str
    dialect: str
    outcome: Outcome
    status: int
    """The HTTP status of the answer; 499 where the caller went before there was one."""
    attempt: int = 0
    """Which call of an engine gave the answer; 0 where none was made."""
    error_code: str | None = None
    finish_reason: str | None = None
    organization_id: str | None = None
    project_id: str | None = None
    principal: str | None = None
    roles: Sequence[str] | None = None
    """Those that the principal held, where it asked."""
    key_id: str | None = None
    auth_method: str | None = None
    end_user: str | None = None
    """A keyed digest of the name that the caller gave its user."""
    authorization: str | None = None
    """`allow` or `deny` of what the caller asked for, and why."""
    requested: str | None = None
    """The deployment that the caller's name or alias stood for."""
    deployment: str | None = None
    """The deployment that served; `spilled_from` is the one that could not."""
    spilled_from: str | None = None
    model: str | None = None
    weights_sha256: str | None = None
    engine: str | None = None
    replica: str | None = None
    service_tier: str | None = None
    parameters: Mapping[str, Scalar] | None = None
    template_sha256: str | None = None
    policy_sha256: str | None = None
    """Of all policies that were in force; `decision` is theirs."""
    decision: Mapping[str, Any] | None = None
    zone: str | None = None
    """Of the deployment that served, as is `content_filter`, for policies."""
    content_filter: str | None = None
    config_sha256: str | None = None
    prompt_digest: str | None = None
    prompt_bytes: int = 0
    completion_digest: str | None = None
    completion_bytes: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    images: int = 0
    estimated: bool = False
    """Whether the token counts are Freehold's own, because the engine gave none."""
    first_token_us: int | None = None
    per_token_us: int | None = None
    filter: Mapping[str, Any] | None = None
    price_version: str | None = None
    cost_micro: int = 0
    excess_micro: int = 0
    """What the usage would have cost beyond the reservation; it is not charged."""
    replay_of: str | None = None
    """The request whose kept answer was sent again, for an `Idempotency-Key` that came twice."""

    def body(self) -> RecordBody:
        """The record's body: what is None is left out."""
        return _body(self)


def _body(record: Admitted | Receipt) -> RecordBody:
    return RecordBody(compress(zip(record._fields, record, strict=True), map(_IS_THERE, record)))


_IS_THERE: Final = partial(is_not, None)
