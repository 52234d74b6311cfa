"""Calibrations that all gateways read, and how fast provisioned units ran out before they were changed."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_MOST = 200


def upgrade() -> None:
    """Create the table with what each gateway had measured for itself, and add the column.

    The facts of before stay where they are: an older gateway that runs beside reads them at its start.
    """
    table = op.create_table(
        "calibrations",
        sa.Column("deployment", sa.String(256), primary_key=True),
        sa.Column("machine", sa.String(512), primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
    )
    found = _known()
    if found:
        op.bulk_insert(table, found)
    op.add_column("lease_accounts", sa.Column("former", sa.String, nullable=False, server_default=""))


def _known() -> list[dict[str, Any]]:
    """The last calibration of each deployment on each machine, by the times that gateways have told."""
    home = sa.table("home", sa.column("name", sa.String), sa.column("value", sa.JSON))
    wanted = sa.or_(home.c.name == "calibrations", home.c.name.like("calibrations@%"))
    facts = op.get_bind().execute(sa.select(home.c.value).where(wanted).order_by(home.c.name)).scalars()
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for body in sorted((body for fact in facts for body in fact), key=lambda each: each["measured_at"]):
        named = body["deployment"], body["machine"]
        newest.pop(named, None)
        newest[named] = body
    return [
        {"deployment": deployment, "machine": machine, "number": number, "body": body}
        for number, ((deployment, machine), body) in enumerate(list(newest.items())[-_MOST:], 1)
    ]
