"""The tables of conversations, responses and stored completions. What callers wrote or were answered is ciphertext.

Each of the three has a row for the thing itself and one for each of its items, so that a long one is read by pages and
grows by what is added. `private` says that it is its owner's alone; else it is its project's.
"""

from typing import Final

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, String, Table, UniqueConstraint, false
from sqlalchemy.schema import SchemaItem

from freehold.store.tables import metadata


def _kept(name: str, *columns: SchemaItem, order: tuple[str, ...] = ()) -> Table:
    """A table of kept content: its columns, whose each row is, and until when it stays.

    Those of a project are found, and where there is an `order` also walked in it, by an index.
    """
    return Table(
        name,
        metadata,
        *columns,
        Column("organization_id", String(64), nullable=False),
        Column("project_id", String(64), nullable=False),
        Column("owner_id", String(64), nullable=False),
        Column("created_at", Integer, nullable=False),
        Column("expires_at", Integer, nullable=False, index=True),
        Index(f"ix_{name}_project_id", "project_id", *order),
    )


def _holder(name: str, *columns: SchemaItem) -> Table:
    """A table of things that have items; `header` is what there is to say of one beside them, encrypted."""
    table = _kept(
        name,
        Column("id", String(64), primary_key=True),
        *columns,
        Column("private", Boolean, nullable=False),
        Column("header", LargeBinary, nullable=False),
        order=("id",),
    )
    Index(f"ix_{name}_owner_id", table.c.project_id, table.c.owner_id, table.c.id)
    return table


def _items(name: str) -> Table:
    """A table of items, by holder and place in it, from 0. `side` is `input`, `output`, or empty."""
    return _kept(
        name,
        Column("holder_id", String(64), primary_key=True),
        Column("place", Integer, primary_key=True),
        Column("id", String(64), nullable=False, index=True),
        Column("side", String(8), nullable=False),
        Column("content", LargeBinary, nullable=False),
        UniqueConstraint("holder_id", "id"),
    )


kept_conversations: Final = _holder(
    "kept_conversations", Column("shared", Boolean, nullable=False, default=False, server_default=false())
)
Index(
    "ix_kept_conversations_shared",
    kept_conversations.c.project_id,
    kept_conversations.c.id,
    sqlite_where=kept_conversations.c.shared.is_(True),
    postgresql_where=kept_conversations.c.shared.is_(True),
)
"""`shared` says of a private one that whoever may read in its project reads it, too. Few are."""

kept_conversation_items: Final = _items("kept_conversation_items")

kept_responses: Final = _holder(
    "kept_responses",
    Column("status", String(16), nullable=False),
    Column("background", Boolean, nullable=False),
    Column("gateway", String(64), nullable=False, server_default=""),
    Column("cancelling", Boolean, nullable=False, default=False, server_default=false()),
)
_IS_OPEN: Final = kept_responses.c.status.in_(["queued", "in_progress"])
Index("ix_kept_responses_open", kept_responses.c.gateway, sqlite_where=_IS_OPEN, postgresql_where=_IS_OPEN)
"""`gateway` names the one that makes it, where there are several; `cancelling` says that another one was asked to have
it stopped; `status` is the truth about a response; what `header` says is how it was when it was last written."""

kept_response_items: Final = _items("kept_response_items")

kept_response_events: Final = _kept(
    "kept_response_events",
    Column("holder_id", String(64), primary_key=True),
    Column("first", Integer, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
"""The events of streams of background responses, several in a row: `first` is the sequence number of the first."""

kept_completions: Final = _holder("kept_completions", Column("model", String(128), nullable=False))
kept_completion_messages: Final = _items("kept_completion_messages")

kept_completion_labels: Final = _kept(
    "kept_completion_labels",
    Column("holder_id", String(64), primary_key=True),
    Column("digest", LargeBinary(32), primary_key=True, index=True),
)
"""What stored completions are found by: keyed digests of the pairs in their metadata."""
