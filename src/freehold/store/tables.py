"""The tables, one block a family. A change here comes with a migration in migrations/versions/.

Times are seconds since the epoch, UTC; `json` columns hold what the layer above calls `wire()`.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(256), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("last4", String(4), nullable=False),
    Column("organization_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("owner_id", String(64), nullable=False, server_default=""),
    Column("scope", JSON, nullable=False, server_default="{}"),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=True),
    Column("last_used_at", Integer, nullable=True),
    Column("revoked_at", Integer, nullable=True),
)
"""`owner_id` is the member whose key it is; an empty `project_id` makes it a key of the organization."""

organizations = Table(
    "organizations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(256), nullable=False),
    Column("created_at", Integer, nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("name", String(256), nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("archived_at", Integer, nullable=True),
)

members = Table(
    "members",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("project_id", String(64), nullable=True),
    Column("name", String(256), nullable=False),
    Column("email", String(320), nullable=True, unique=True),
    Column("created_at", Integer, nullable=False),
    Column("disabled_at", Integer, nullable=True),
)
"""Users, who have an e-mail address, and service accounts, most of which belong to a project."""

role_assignments = Table(
    "role_assignments",
    metadata,
    Column("member_id", String(64), primary_key=True),
    Column("project_id", String(64), primary_key=True),
    Column("role", String(64), primary_key=True),
    Column("source", String(128), primary_key=True),
    Column("created_at", Integer, nullable=False),
)
"""Who holds which role where; an empty `project_id` is the whole organization. `source` is `api`, or the identity
provider whose groups gave it."""

invites = Table(
    "invites",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("email", String(320), nullable=False),
    Column("role", String(64), nullable=False),
    Column("projects", JSON, nullable=False),
    Column("token_digest", LargeBinary(32), nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("accepted_at", Integer, nullable=True),
)
"""`projects`: a list of objects with `id` and `role`; `token_digest` is the keyed digest of the link's secret."""

deployments = Table(
    "deployments",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("origin", String(16), nullable=False),
    Column("settings", JSON, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("updated_at", Integer, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("source", String(2048), nullable=False),
    Column("source_sha256", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("format", String(16), nullable=False),
    Column("details", JSON, nullable=False),
    Column("created_at", Integer, nullable=False),
)
"""`sha256` names the file that is served; `source_sha256` the file that was fetched, where they differ
because it was converted. `details`: licence, architecture, parameters, context length."""

limits = Table(
    "limits",
    metadata,
    Column("scope", String(16), primary_key=True),
    Column("id", String(256), primary_key=True),
    Column("settings", JSON, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("updated_at", Integer, nullable=False),
)
"""Limits that were set through the API; `settings` is what `LimitSettings.wire()` gives."""

policies = Table(
    "policies",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("settings", JSON, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("updated_at", Integer, nullable=False),
)
"""Policies that were set through the API; `settings` is what `PolicySettings.wire()` gives."""

content_filters = Table(
    "content_filters",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("settings", JSON, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("updated_at", Integer, nullable=False),
)
"""Content-filter policies that were set through the API; `settings` is what `FilterSettings.wire()` gives."""

blocklists = Table(
    "blocklists",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("settings", JSON, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("updated_at", Integer, nullable=False),
)
"""Blocklists that were set through the API, with their items; `settings` is what `BlocklistSettings.wire()` gives."""

content_keys = Table(
    "content_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("owner_id", String(64), nullable=False),
    Column("master", String(256), nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("revoked_at", Integer, nullable=True),
    Column("destroyed_at", Integer, nullable=True),
    UniqueConstraint("organization_id", "project_id", "owner_id"),
)
"""The keys of kept content, each encrypted under the master key that `master` names. An empty `owner_id` is the
project's own key, whose state is the project's; a row with an empty `project_id` says that its owner was erased. A
destroyed key has nothing in `wrapped`, and its row stays."""

retention = Table(
    "retention",
    metadata,
    Column("organization_id", String(64), primary_key=True),
    Column("project_id", String(64), primary_key=True),
    Column("settings", JSON, nullable=False),
    Column("updated_at", Integer, nullable=False),
)
"""What was set through the API on how long content is kept; an empty `project_id` is the whole organization."""

erasures = Table(
    "erasures",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("certificate", JSON, nullable=False),
    Column("created_at", Integer, nullable=False),
)
"""The certificates of erasures, as they were given."""

kept_answers = Table(
    "kept_answers",
    metadata,
    Column("project_id", String(64), primary_key=True),
    Column("key_digest", LargeBinary(32), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("owner_id", String(64), nullable=False),
    Column("body_digest", LargeBinary(32), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False, index=True),
)
"""Answers of requests with an `Idempotency-Key`. The digests are keyed; `answer` is encrypted under the owner's key:
status, headers and body."""

kept_pictures = Table(
    "kept_pictures",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False, index=True),
    Column("owner_id", String(64), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("media_type", String(64), nullable=False),
    Column("picture", LargeBinary, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False, index=True),
)
"""Pictures that were answered as an address; `picture` is encrypted under the owner's key."""

kept_files = Table(
    "kept_files",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False, index=True),
    Column("owner_id", String(64), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("ready", Boolean, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False, index=True),
)
"""Uploaded files; `header` is encrypted under the owner's key: the name, the digest, and which parts make it up."""

kept_file_pieces = Table(
    "kept_file_pieces",
    metadata,
    Column("part_id", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("file_id", String(64), nullable=False, index=True),
    Column("organization_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False, index=True),
    Column("owner_id", String(64), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False, index=True),
)
"""What files hold, piece by piece, each encrypted under the owner's key. They expire with their file."""

kept_flagged = Table(
    "kept_flagged",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False, index=True),
    Column("owner_id", String(64), nullable=False),
    Column("end_user", String(64), nullable=False),
    Column("deployment", String(64), nullable=False),
    Column("found", JSON, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False, index=True),
)
"""Requests that the content filter blocked. `found` is what the receipt's `filter` says, names and severities;
`content` is the prompt and the completion, encrypted under the owner's key; `end_user` is a digest, or empty."""

suspensions = Table(
    "suspensions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("subject_id", String(64), nullable=False),
    Column("reason", String(1000), nullable=False),
    Column("tell", Boolean, nullable=False),
    Column("until", Integer, nullable=True),
    Column("created_by", String(64), nullable=False),
    Column("created_at", Integer, nullable=False),
    UniqueConstraint("organization_id", "project_id", "kind", "subject_id"),
)
"""Who may use nothing: `kind` is `end_user`, whose `subject_id` is a digest, or `principal`. An empty `project_id` is
every project of the organization; `tell` says whether the caller is told the reason."""

sessions = Table(
    "sessions",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("member_id", String(64), nullable=False, index=True),
    Column("project_id", String(64), nullable=True),
    Column("method", String(64), nullable=False),
    Column("user_agent", String(200), nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("seen_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
)
"""Browsers that are signed in; `digest` is SHA-256 of the cookie's 256 random bits. `project_id` is the one that the
person chose; `method` is `password` or the name of the identity provider."""

passwords = Table(
    "passwords",
    metadata,
    Column("member_id", String(64), primary_key=True),
    Column("hash", String(255), nullable=False),
    Column("changed_at", Integer, nullable=False),
)
"""Argon2id hashes, with their salt and their parameters."""

identities = Table(
    "identities",
    metadata,
    Column("issuer", String(512), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("member_id", String(64), nullable=False, index=True),
    Column("stated_at", Integer, nullable=False),
)
"""Who is who at an identity provider; `stated_at` is when the newest token that was seen was issued."""

signins = Table(
    "signins",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("browser_digest", LargeBinary(32), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("return_to", String(2048), nullable=False),
    Column("expires_at", Integer, nullable=False, index=True),
)
"""Sign-ins begun at a provider; `digest` is SHA-256 of the state, `browser_digest` of the browser's cookie."""

password_links = Table(
    "password_links",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("member_id", String(64), nullable=False, index=True),
    Column("expires_at", Integer, nullable=False),
)
"""Links with which a person may set a password once; `digest` is SHA-256 of the link's secret."""

home = Table(
    "home",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", JSON, nullable=False),
)
"""Facts about this home, such as that the starter deployments were laid."""
