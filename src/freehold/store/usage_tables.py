"""The tables of the usage database. A change here comes with a migration in usage_migrations/.

`started_at` and `ended_at` are microseconds since the epoch, UTC; durations are microseconds, money micro-units. What
people group and filter by is never NULL: a missing value is the empty text there, since NULLs are all different to a
unique index.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, MetaData, PrimaryKeyConstraint, Table, Text

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US

usage_metadata = MetaData()

KEYS = (
    "organization_id",
    "project_id",
    "key_id",
    "principal",
    "deployment",
    "model",
    "route_kind",
    "service_tier",
    "outcome",
    "image_source",
    "image_size",
)
"""What the rollups keep apart. `deployment` is the one that served; `route_kind` one of `completions`, `embeddings`,
`images`, `moderations`, `other`; `image_source` and `image_size` are as in OpenAI's usage of images."""

SUMS = (
    "requests",
    "model_requests",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "images",
    "cost_micro",
    "duration_us",
)
"""What the rollups add up. `model_requests` are those for which an engine was called: neither what was refused nor an
answer that was kept and sent again."""


def _keys() -> list[Column[str]]:
    return [Column(name, Text, nullable=False) for name in KEYS]


requests = Table(
    "requests",
    usage_metadata,
    Column("writer", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("segment", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    *_keys(),
    Column("requests", BigInteger, nullable=False),
    Column("model_requests", BigInteger, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in SUMS[2:]),
    Column("end_user", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("status", BigInteger, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("error_code", Text),
    Column("finish_reason", Text),
    Column("auth_method", Text),
    Column("requested", Text),
    Column("spilled_from", Text),
    Column("engine", Text),
    Column("replica", Text),
    Column("estimated", Boolean, nullable=False),
    Column("first_token_us", BigInteger),
    Column("per_token_us", BigInteger),
    Column("price_version", Text),
    Column("excess_micro", BigInteger, nullable=False),
    Column("replay_of", Text),
    PrimaryKeyConstraint("writer", "seq", name="pk_requests"),
    Index("uq_requests_request_id", "request_id", unique=True),
    Index("ix_requests_started_at", "started_at"),
    *(
        Index(f"ix_requests_{name}", name, "started_at")
        for name in ("project_id", "key_id", "end_user", "deployment", "outcome")
    ),
)
"""A row for each receipt; `writer`, `seq`, `segment` and `offset` say where it stands in the journal. `requests` is 1:
so the sums of rows and of rollups are written alike."""


def _rollup(name: str) -> Table:
    """Sums by `started_at` (the beginning of an hour or a day) and `KEYS`."""
    return Table(
        name,
        usage_metadata,
        Column("started_at", BigInteger, nullable=False),
        *_keys(),
        *(Column(each, BigInteger, nullable=False) for each in SUMS),
        PrimaryKeyConstraint("started_at", *KEYS, name=f"pk_{name}"),
        Index(f"ix_{name}_project_id", "project_id", "started_at"),
        Index(f"ix_{name}_deployment", "deployment", "started_at"),
    )


usage_hourly = _rollup("usage_hourly")
usage_daily = _rollup("usage_daily")

admin_actions = Table(
    "admin_actions",
    usage_metadata,
    Column("writer", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("segment", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("organization_id", Text, nullable=False),
    Column("project_id", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("resource_id", Text, nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("writer", "seq", name="pk_admin_actions"),
    Index("ix_admin_actions_organization_id", "organization_id", "recorded_at"),
)
"""A row for each administrative record. `project_id` is the project of what was changed, `event` is empty where nothing
was, and `body` is the record's body, as JSON."""

filter_flags = Table(
    "filter_flags",
    usage_metadata,
    Column("writer", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("side", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("severity", BigInteger, nullable=False),
    Column("blocked", BigInteger, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    *(
        Column(name, Text, nullable=False)
        for name in ("organization_id", "project_id", "principal", "key_id", "end_user", "deployment")
    ),
    PrimaryKeyConstraint("writer", "seq", "side", "name", name="pk_filter_flags"),
    Index("ix_filter_flags_organization_id", "organization_id", "started_at"),
    Index("ix_filter_flags_project_id", "project_id", "started_at"),
    Index("ix_filter_flags_principal", "principal", "started_at"),
    Index("ix_filter_flags_end_user", "end_user", "started_at"),
)
"""A row for each thing that the content filter found in one half of a request: `side` is `prompt` or `completion`,
`name` as in the receipt's `filter`, such as `hate` or `blocklist:NAME`, `severity` 1 to 3, and `blocked` 1 where it was
why the text did not pass, else 0."""

training_stretches = Table(
    "training_stretches",
    usage_metadata,
    Column("writer", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("segment", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("stretch_id", Text, nullable=False),
    Column("training", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    *(
        Column(name, Text, nullable=False)
        for name in ("organization_id", "project_id", "principal", "key_id", "name", "outcome", "device_kind")
    ),
    *(
        Column(name, BigInteger, nullable=False)
        for name in ("processes", "devices", "core_milli", "memory_bytes", "step_from", "step_to")
    ),
    *(
        Column(name, BigInteger, nullable=False)
        for name in ("duration_us", "device_us", "core_us", "tokens", "cost_micro")
    ),
    PrimaryKeyConstraint("writer", "seq", name="pk_training_stretches"),
    Index("uq_training_stretches_stretch_id", "stretch_id", unique=True),
    Index("ix_training_stretches_started_at", "started_at"),
)
"""A row for each stretch of a training's running; `device_us` and `core_us` are what it had times how long. One that
was recorded twice, since the server died in between, counts once."""

projection = Table(
    "projection",
    usage_metadata,
    Column("writer", Text, primary_key=True),
    Column("segment", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("last_segment", BigInteger, nullable=False),
    Column("last_offset", BigInteger, nullable=False),
    Column("head", Text, nullable=False),
)
"""How far each writer's journal is read: the place behind the last record, the place and the SHA-256 of that record."""
