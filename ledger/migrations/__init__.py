"""What alembic runs to bring schema "ledger" up to date."""
