"""What the authority has issued and revoked, in PostgreSQL.

Blocking: an event loop asks it in threads. The role that the service logs in with owns
nothing; it can add certificates and revoke them, and neither change nor remove one.
"""

from datetime import datetime
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import (
    Column,
    DateTime,
    Identity,
    LargeBinary,
    MetaData,
    NullPool,
    Row,
    Select,
    Table,
    Text,
    create_engine,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.types import BigInteger

from trust_services.authority import IssuedCertificate, Usage
from vocabulary.dsn import sqlalchemy_url
from vocabulary.faults import CertificateUnknown

SCHEMA: Final = "authority"
METADATA: Final = MetaData(schema=SCHEMA)
CONNECT_TIMEOUT_S: Final = 5
# A query that takes longer is stuck behind something.
STATEMENT_TIMEOUT_MS: Final = 5000
# What a statement raises when the database is away, stopping, or not migrated.
UNAVAILABLE: Final = (
    OperationalError,
    InterfaceError,
    ProgrammingError,
    PoolTimeoutError,
)

_CERTIFICATE = Table(
    "certificate",
    METADATA,
    Column("serial", Text, primary_key=True),
    Column("position", BigInteger, Identity(always=True), nullable=False),
    Column("usage", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("not_after", DateTime(timezone=True), nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("revoked_at", DateTime(timezone=True)),
)
_COLUMNS = ("serial", "usage", "holder", "not_after", "der", "revoked_at")


class Store:
    """The authority's memory; for several threads."""

    def __init__(self, dsn: str) -> None:
        self._engine = create_engine(
            sqlalchemy_url(dsn),
            max_overflow=0,
            pool_timeout=CONNECT_TIMEOUT_S,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
            },
        )

    def add(self, issued: IssuedCertificate) -> None:
        """Keep a certificate; durable when it returns."""
        row = {
            "serial": serial_text(issued.serial),
            "usage": issued.usage,
            "holder": issued.holder,
            "not_after": issued.not_after,
            "der": issued.der,
        }
        with self._engine.begin() as connection:
            connection.execute(insert(_CERTIFICATE).values(row))

    def find(self, serial: int) -> IssuedCertificate | None:
        with self._engine.connect() as connection:
            row = connection.execute(_by_serial(serial_text(serial))).one_or_none()
        return None if row is None else _issued(row)

    def all(self) -> list[IssuedCertificate]:
        """Give every certificate in the order of issue."""
        with self._engine.connect() as connection:
            rows = connection.execute(_selected().order_by(_CERTIFICATE.c.position))
            return [_issued(row) for row in rows]

    def revoke(self, serial: str, at: datetime) -> IssuedCertificate:
        """Revoke once, for good: again changes nothing. Raises CertificateUnknown."""
        revocation = (
            update(_CERTIFICATE)
            .where(_CERTIFICATE.c.serial == serial, _CERTIFICATE.c.revoked_at.is_(None))
            .values(revoked_at=at)
        )
        with self._engine.begin() as connection:
            connection.execute(revocation)
            row = connection.execute(_by_serial(serial)).one_or_none()
        if row is None:
            raise CertificateUnknown(
                f"no certificate of serial number {serial[:40]!r} was issued here; "
                "see the list of certificates"
            )
        return _issued(row)

    def ping(self) -> None:
        with self._engine.connect() as connection:
            connection.execute(text(f"SELECT FROM {SCHEMA}.certificate LIMIT 0"))

    def close(self) -> None:
        self._engine.dispose()


def migrate(owner_dsn: str, *, login: str) -> None:
    """Bring the database to this version's form, and let `login` use it."""
    engine = create_engine(sqlalchemy_url(owner_dsn), poolclass=NullPool)
    with engine.begin() as connection:
        # Two that migrate at once would both find nothing there.
        connection.execute(text("SELECT pg_advisory_xact_lock(7239004)"))
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        config = Config()
        config.set_main_option("script_location", "trust_services:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        role = connection.dialect.identifier_preparer.quote_identifier(login)
        for grant in (
            f"GRANT USAGE ON SCHEMA {SCHEMA} TO {role}",
            f"GRANT SELECT, INSERT ON {SCHEMA}.certificate TO {role}",
            f"GRANT UPDATE (revoked_at) ON {SCHEMA}.certificate TO {role}",
        ):
            connection.exec_driver_sql(grant)


def serial_text(serial: int) -> str:
    """Spell a serial number as the service's users see it."""
    return f"{serial:x}"


def _selected() -> Select[tuple[object, ...]]:
    return select(*(_CERTIFICATE.c[name] for name in _COLUMNS))


def _by_serial(serial: str) -> Select[tuple[object, ...]]:
    return _selected().where(_CERTIFICATE.c.serial == serial)


def _issued(row: Row[tuple[object, ...]]) -> IssuedCertificate:
    return IssuedCertificate(
        int(row.serial, 16),
        Usage(row.usage),
        row.holder,
        row.not_after,
        row.der,
        row.revoked_at,
    )
