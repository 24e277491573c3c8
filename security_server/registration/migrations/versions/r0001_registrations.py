"""Clients, services and access rights.

The one row of `change` counts administrative changes: each takes its lock, so that they
come one after the other, and every server of a cluster sees that there was one.
"""

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None

_SCHEMA = "server"


def upgrade() -> None:
    op.create_table(
        "client",
        sa.Column("subsystem", sa.Text, primary_key=True),
        sa.Column("plaintext_loopback", sa.Boolean, nullable=False),
        schema=_SCHEMA,
    )
    op.create_table(
        "service",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("descriptors", sa.LargeBinary, nullable=False),
        sa.Column("grpc_services", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("personal", sa.Boolean, nullable=False),
        sa.Column("request_subjects", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("response_subjects", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("added_at", sa.TIMESTAMP(timezone=True), nullable=False),
        schema=_SCHEMA,
    )
    op.create_table(
        "access_right",
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("method", sa.Text, comment="full name; null for all methods"),
        sa.ForeignKeyConstraint(
            ["service"], [f"{_SCHEMA}.service.id"], ondelete="CASCADE"
        ),
        schema=_SCHEMA,
    )
    op.create_index(
        "access_right_once",
        "access_right",
        ["service", "client", sa.text("coalesce(method, '')")],
        unique=True,
        schema=_SCHEMA,
    )
    change = op.create_table(
        "change",
        sa.Column("single", sa.Boolean, sa.CheckConstraint("single"), primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        schema=_SCHEMA,
    )
    op.bulk_insert(change, [{"single": True, "number": 0}])
