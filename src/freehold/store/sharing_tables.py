"""The tables by which gateways share the replicas of a cluster: who leads, what there is, and what each has to do.

They are used on PostgreSQL only, without the lock that other writers take and not through `Database`: no gateway has a
copy of them by the numbers of `store.changes`; who leads counts its publications itself (`number`).
"""

from sqlalchemy import BigInteger, Column, String, Table

from freehold.store.tables import metadata

cluster_leads = Table(
    "cluster_leads",
    metadata,
    Column("cluster", String(255), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
)
"""As in `types.lead.Lead`, by the name that the cluster has itself."""

cluster_replicas = Table(
    "cluster_replicas",
    metadata,
    Column("cluster", String(255), primary_key=True),
    Column("replica", String(255), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("body", String, nullable=False),
)
"""What there is, as JSON (`serving.offers.Offer`); `epoch` is of whoever has published it."""

cluster_wants = Table(
    "cluster_wants",
    metadata,
    Column("cluster", String(255), primary_key=True),
    Column("gateway", String(64), primary_key=True),
    Column("known", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    Column("body", String, nullable=False),
)
"""What each gateway has to do, as JSON; `known` is the last publication that it has in force."""
