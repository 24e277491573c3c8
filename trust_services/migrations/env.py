"""What alembic runs: the migrations, on the connection that the store gives it."""

from alembic import context

from trust_services.store import METADATA, SCHEMA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table_schema=SCHEMA,
    include_schemas=True,
)
context.run_migrations()
