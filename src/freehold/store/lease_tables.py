"""The tables of leases: which limits gateways share, and what each of them holds. They are used on PostgreSQL only.

They are written without the lock that other writers of the database take, each account under the lock of its row, and
not through `Database`: no gateway has a copy of them.
"""

from sqlalchemy import BigInteger, Column, Index, Numeric, String, Table

from freehold.store.tables import metadata

lease_holders = Table(
    "lease_holders",
    metadata,
    Column("holder", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
)
"""The gateways that hold something; `holder` is the digest of the key that signs its journal, so that the slices belong
to whoever knows what was spent of them. `epoch` counts its starts: a process of an earlier one gets nothing more."""

lease_accounts = Table(
    "lease_accounts",
    metadata,
    Column("measure", String(16), primary_key=True),
    Column("subject", String(512), primary_key=True),
    Column("most", Numeric(40, 0), nullable=False),
    Column("used", Numeric(40, 0), nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("former", String, nullable=False, server_default=""),
)
"""One limit of one subject, as in `types.leases.Account`; whoever deals it out locks its row. `former` is JSON: of
units, the limits that held before and until when, as in `types.leases.Pool`."""

lease_slices = Table(
    "lease_slices",
    metadata,
    Column("measure", String(16), primary_key=True),
    Column("subject", String(512), primary_key=True),
    Column("holder", String(64), primary_key=True),
    Column("amount", Numeric(40, 0), nullable=False),
    Column("used", Numeric(40, 0), nullable=False),
    Column("spent", Numeric(40, 0), nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    Column("short_us", BigInteger, nullable=False),
    Column("oldest_us", BigInteger, nullable=False, server_default="0"),
    Column("taken", String, nullable=False, server_default=""),
    Index("ix_lease_slices_holder", "holder"),
)
"""What each gateway holds of each account, as in `types.leases.Slice`. Of money there is a row also where nothing is
limited, with what was spent, so that a budget that is set later counts it. Of units `taken` is JSON: what was taken at
which moments, and the row without a holder has what those took that hold nothing any more."""
