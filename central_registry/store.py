"""The registry's PostgreSQL database: its form, who may do what, and transactions.

The role that owns the tables makes them; the role that the service logs in with owns
nothing, and of what was published it can change nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import (
    InterfaceError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from central_registry.tables import METADATA, SCHEMA
from vocabulary.dsn import sqlalchemy_url

# Any constant: what the registry's writers and migrations queue for.
WRITERS: Final = 0x7269_7374_6D69_6B01
CONNECT_TIMEOUT_S: Final = 5
# A query that takes longer is stuck behind something.
STATEMENT_TIMEOUT: Final = "10s"
POOL_SIZE: Final = 4

# What a statement raises when the database is away, full, stopping, or not migrated.
UNAVAILABLE: Final = (
    OperationalError,
    InterfaceError,
    ProgrammingError,
    PoolTimeoutError,
)

UPDATABLE: Final = {
    "security_server": "address",
    "authentication_certificate": "state, withdrawn_at",
    "approved_authority": "name, url",
    "listed_code": "name",
    "registration_request": "state, decided_at, reason",
}


class Store:
    """Transactions on the database that a DSN names; for several threads."""

    def __init__(self, dsn: str) -> None:
        self._engine = create_engine(
            sqlalchemy_url(dsn),
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_timeout=CONNECT_TIMEOUT_S,
            pool_pre_ping=True,
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
        )

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Commit at the end, and be the only writer until then, on all machines."""
        with self._engine.begin() as connection:
            _bound(connection)
            _queue(connection)
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give one consistent view."""
        with self._engine.connect().execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        ) as connection:
            _bound(connection)
            yield connection

    def close(self) -> None:
        self._engine.dispose()


def migrate(owner_dsn: str, *, login: str) -> None:
    """Bring the database to this version's form, and let `login` use it."""
    engine = create_engine(sqlalchemy_url(owner_dsn), poolclass=NullPool)
    with engine.begin() as connection:
        _queue(connection)
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        config = Config()
        config.set_main_option("script_location", "central_registry:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _grant(connection, login)


def _grant(connection: Connection, login: str) -> None:
    role = connection.dialect.identifier_preparer.quote_identifier(login)
    tables = ", ".join(str(table) for table in METADATA.tables.values())
    statements = [
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO {role}",
        f"GRANT SELECT, INSERT ON {tables} TO {role}",
        *(
            f"GRANT UPDATE ({columns}) ON {SCHEMA}.{table} TO {role}"
            for table, columns in UPDATABLE.items()
        ),
    ]
    for statement in statements:
        connection.exec_driver_sql(statement)


def _bound(connection: Connection) -> None:
    connection.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'"))


def _queue(connection: Connection) -> None:
    connection.execute(text(f"SELECT pg_advisory_xact_lock({WRITERS})"))
