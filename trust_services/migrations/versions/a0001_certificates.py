"""The certificates an authority has issued, and which of them it has revoked."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE authority.certificate (
            serial text PRIMARY KEY CHECK (serial ~ '^[0-9a-f]{1,40}$'),
            position bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
            usage text NOT NULL,
            holder text NOT NULL,
            not_after timestamptz NOT NULL,
            der bytea NOT NULL,
            revoked_at timestamptz
        )
        """
    )
