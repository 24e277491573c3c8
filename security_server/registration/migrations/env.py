"""Runs the revisions on the connection that `registration.store` gives."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=None,
    version_table="revision_of_schema",
    version_table_schema="server",
)
with context.begin_transaction():
    context.run_migrations()
