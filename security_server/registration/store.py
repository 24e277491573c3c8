"""What the administrator has registered: schema "server" of the server's database.

The newest of it is kept in memory, as one snapshot that each change replaces: at once
on the server that made it, within a second on the others of a cluster. While the
database is away the last snapshot stays in use, and changes are refused as
LEDGER_UNAVAILABLE: registrations live in the ledger's database and come back with it.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, TypeVar

import sqlalchemy as sa
import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from security_server.registration.registrations import (
    AccessRight,
    LocalClient,
    Registrations,
)
from security_server.registration.services import RegisteredService, ServiceDescription
from security_server.registration.subjects import country_of
from vocabulary.clock import Clock
from vocabulary.dsn import sqlalchemy_url
from vocabulary.faults import LedgerUnavailable, RightUnknown, ServiceUnknown
from vocabulary.identifiers import ServiceId, SubsystemId

log = structlog.get_logger()

T = TypeVar("T")

SCHEMA: Final = "server"
REFRESH_INTERVAL_S: Final = 1.0
# No change waits longer than its caller would.
_IMPATIENT: Final = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "options": "-c statement_timeout=10000",
}
# Taken while migrating, so that two servers of a cluster can start at once.
_MIGRATION_LOCK: Final = 0x7269_7374_6D69_6B01

_metadata = sa.MetaData(schema=SCHEMA)
_client = sa.Table(
    "client",
    _metadata,
    sa.Column("subsystem", sa.Text, primary_key=True),
    sa.Column("plaintext_loopback", sa.Boolean),
)
_service = sa.Table(
    "service",
    _metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("address", sa.Text),
    sa.Column("descriptors", sa.LargeBinary),
    sa.Column("grpc_services", sa.ARRAY(sa.Text)),
    sa.Column("personal", sa.Boolean),
    sa.Column("request_subjects", sa.ARRAY(sa.Text)),
    sa.Column("response_subjects", sa.ARRAY(sa.Text)),
    sa.Column("added_at", sa.TIMESTAMP(timezone=True)),
)
_access_right = sa.Table(
    "access_right",
    _metadata,
    sa.Column("service", sa.Text),
    sa.Column("client", sa.Text),
    sa.Column("method", sa.Text),
)
_change = sa.Table("change", _metadata, sa.Column("number", sa.BigInteger))


def migrate(owner_dsn: str, *, login: str) -> None:
    """Bring schema "server" up to date as its owner, and let role `login` use it."""
    engine = sa.create_engine(sqlalchemy_url(owner_dsn), poolclass=sa.NullPool)
    role = engine.dialect.identifier_preparer.quote(login)
    with engine.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        connection.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
        config = Config()
        config.set_main_option(
            "script_location", "security_server.registration:migrations"
        )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        for grant in (
            f"USAGE ON SCHEMA {SCHEMA}",
            f"SELECT, INSERT, UPDATE, DELETE ON {SCHEMA}.client",
            f"SELECT, INSERT, UPDATE, DELETE ON {SCHEMA}.service",
            f"SELECT, INSERT, DELETE ON {SCHEMA}.access_right",
            f"SELECT, UPDATE ON {SCHEMA}.change",
        ):
            connection.exec_driver_sql(f"GRANT {grant} TO {role}")


class RegistrationStore:
    """Keeps registrations, and is what they are asked of (`registrations.Registered`).

    A change is in force when its method returns. Its database calls run in threads.
    """

    def __init__(self, dsn: str, clock: Clock) -> None:
        self._engine = sa.create_engine(
            sqlalchemy_url(dsn),
            poolclass=QueuePool,
            pool_size=1,
            max_overflow=2,
            pool_pre_ping=True,
            connect_args=_IMPATIENT,
        )
        self._snapshots = self._engine.execution_options(
            isolation_level="REPEATABLE READ"
        )
        self._clock = clock
        self._current = Registrations.of()
        self._number = -1
        self._reading = asyncio.Lock()

    def current(self) -> Registrations:
        return self._current

    def service(self, service: ServiceId) -> RegisteredService:
        return self._current.service(service)

    def require_right(
        self, client: SubsystemId, service: ServiceId, method: str
    ) -> None:
        self._current.require_right(client, service, method)

    def require_client(self, client: SubsystemId, *, plaintext: bool) -> None:
        self._current.require_client(client, plaintext=plaintext)

    async def load(self) -> None:
        """Take the newest registrations into use; LedgerUnavailable."""
        async with self._reading:
            newer = await self._in_thread(self._read_newer, self._number)
            if newer is not None:
                self._number, self._current = newer

    async def run(self) -> None:
        """Follow what other servers of a cluster change, until cancelled."""
        reachable = True
        while True:
            try:
                await self.load()
            except LedgerUnavailable as fault:
                if reachable:
                    log.warning("registrations cannot be read", detail=fault.detail)
                reachable = False
            else:
                reachable = True
            await asyncio.sleep(REFRESH_INTERVAL_S)

    async def close(self) -> None:
        await asyncio.to_thread(self._engine.dispose)

    async def add_service(self, service: RegisteredService) -> None:
        """Register or replace; rights to methods that are gone go with them."""
        await self._change(lambda to: _add_service(to, service, self._clock()))

    async def remove_service(self, service: ServiceId) -> None:
        """Remove it and all rights to it; ServiceUnknown."""
        await self._change(lambda to: _remove_service(to, service))

    async def grant(self, right: AccessRight) -> None:
        """Grant; granting again changes nothing. ServiceUnknown, MethodUnknown."""
        await self._change(lambda to: _grant(to, right))

    async def revoke(self, right: AccessRight) -> None:
        """Revoke just this right; RightUnknown."""
        await self._change(lambda to: _revoke(to, right))

    async def set_client(self, client: LocalClient) -> None:
        await self._change(lambda to: _set_client(to, client))

    async def _change(self, change: Callable[[sa.Connection], None]) -> None:
        # A caller that gives up leaves no change that is made but not in force.
        await asyncio.shield(asyncio.ensure_future(self._change_and_load(change)))

    async def _change_and_load(self, change: Callable[[sa.Connection], None]) -> None:
        await self._in_thread(self._commit, change)
        await self.load()

    async def _in_thread(self, step: Callable[..., T], argument: object) -> T:
        with _database_errors_are_faults():
            return await asyncio.to_thread(step, argument)

    def _commit(self, change: Callable[[sa.Connection], None]) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.update(_change).values(number=_change.c.number + 1))
            change(connection)

    def _read_newer(self, number: int) -> tuple[int, Registrations] | None:
        with self._snapshots.connect() as connection:
            newest = connection.execute(sa.select(_change.c.number)).scalar_one()
            if newest == number:
                return None
            return newest, _read(connection)


def _read(connection: sa.Connection) -> Registrations:
    return Registrations.of(
        (
            LocalClient(SubsystemId.parse(row.subsystem), row.plaintext_loopback)
            for row in connection.execute(sa.select(_client))
        ),
        (_service_of(row) for row in connection.execute(sa.select(_service))),
        (
            AccessRight(
                ServiceId.parse(row.service),
                SubsystemId.parse(row.client),
                row.method or "",
            )
            for row in connection.execute(sa.select(_access_right))
        ),
    )


def _service_of(row: sa.Row[Any]) -> RegisteredService:
    service = ServiceId.parse(row.id)
    description = ServiceDescription(
        row.descriptors,
        row.grpc_services,
        request_subjects=row.request_subjects,
        response_subjects=row.response_subjects,
        country=country_of(service.provider.member.instance),
    )
    return RegisteredService(service, row.address, description, row.personal)


def _registered(connection: sa.Connection, service: ServiceId) -> RegisteredService:
    query = sa.select(_service).where(_service.c.id == str(service))
    row = connection.execute(query).one_or_none()
    if row is None:
        raise ServiceUnknown(f"{service} is not registered here: add it first")
    return _service_of(row)


def _add_service(
    to: sa.Connection, service: RegisteredService, added_at: datetime
) -> None:
    described = service.description
    columns = {
        "address": service.address,
        "descriptors": described.descriptors,
        "grpc_services": list(described.grpc_services),
        "personal": service.personal,
        "request_subjects": list(described.request_selectors),
        "response_subjects": list(described.response_selectors),
        "added_at": added_at,
    }
    insert = postgresql.insert(_service).values(id=str(service.id), **columns)
    to.execute(insert.on_conflict_do_update(index_elements=["id"], set_=columns))
    to.execute(
        sa.delete(_access_right).where(
            _access_right.c.service == str(service.id),
            _access_right.c.method.not_in(described.methods),
        )
    )


def _remove_service(to: sa.Connection, service: ServiceId) -> None:
    removed = to.execute(sa.delete(_service).where(_service.c.id == str(service)))
    if not removed.rowcount:
        raise ServiceUnknown(f"{service} is not registered here: list what is")


def _grant(to: sa.Connection, right: AccessRight) -> None:
    service = _registered(to, right.service)
    if right.method:
        service.description.method(right.method)
    insert = postgresql.insert(_access_right).values(
        service=str(right.service),
        client=str(right.client),
        method=right.method or None,
    )
    to.execute(insert.on_conflict_do_nothing())


def _revoke(to: sa.Connection, right: AccessRight) -> None:
    revoked = to.execute(
        sa.delete(_access_right).where(
            _access_right.c.service == str(right.service),
            _access_right.c.client == str(right.client),
            sa.func.coalesce(_access_right.c.method, "") == right.method,
        )
    )
    if not revoked.rowcount:
        raise RightUnknown(
            f"{right.client} was not granted {right.method or 'all'} of "
            f"{right.service}: list the rights there are"
        )


def _set_client(to: sa.Connection, client: LocalClient) -> None:
    columns = {"plaintext_loopback": client.plaintext_loopback}
    insert = postgresql.insert(_client).values(
        subsystem=str(client.subsystem), **columns
    )
    to.execute(insert.on_conflict_do_update(index_elements=["subsystem"], set_=columns))


@contextmanager
def _database_errors_are_faults() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        # What the driver says may hold the address and the account: it is for the log.
        log.warning("the server's database failed", error=str(error))
        raise LedgerUnavailable(
            "the database of this security server does not answer: start it, look at "
            "what is registered, and repeat the change if it is not there"
        ) from error
