"""The sandbox's databases: who owns them, who logs in, and their newest form.

Each service has a database of its own, an owner that migrates it, and a login role that
owns nothing. A security server's ledger is also read, and erased from, by roles that
can do nothing else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import psycopg

from cli.postgres import roles as postgres_roles
from cli.postgres.private import PostgresServer
from cli.sandbox.agencies import AGENCIES, Agency
from cli.sandbox.directory import Choices
from cli.sandbox.failures import PostgresUnusable

TRUST: Final = "trust"
REGISTRY: Final = "registry"
_PLAIN = ("owner", "login")
_LEDGER = (*_PLAIN, "reader", "eraser")


def server_database(agency: Agency) -> str:
    return f"server_{agency.code}"


def database_roles() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name each database and the roles on it."""
    yield TRUST, _PLAIN
    yield REGISTRY, _PLAIN
    for agency in AGENCIES:
        yield server_database(agency), _LEDGER


def role_names() -> Iterator[str]:
    for database, roles in database_roles():
        yield from (f"{database}_{role}" for role in roles)


@dataclass(frozen=True, slots=True)
class Database:
    """One database, and DSNs of those who may do something in it."""

    superuser_dsn: str
    # By role: owner, login, and on a security server reader and eraser.
    dsns: dict[str, str]
    # Their names in PostgreSQL.
    roles: dict[str, str]


class SandboxDatabases:
    """Makes roles and databases on a server, and brings them to their newest form."""

    def __init__(self, server: PostgresServer, choices: Choices) -> None:
        self._server = server
        self._choices = choices

    def _create(self, database: str) -> Database:
        """Make what is not there of a database and its roles."""
        superuser = self._server.superuser_dsn()
        made = self.database(database)
        full_name = self._choices.prefix + database
        for role, name in made.roles.items():
            password = self._choices.passwords[f"{database}_{role}"]
            postgres_roles.create_role(superuser, name, password=password)
        postgres_roles.create_database(superuser, full_name, owner=made.roles["owner"])
        for name in made.roles.values():
            postgres_roles.let_connect(superuser, name, database=full_name)
        return made

    def database(self, name: str) -> Database:
        superuser = self._server.superuser_dsn(self._choices.prefix + name)
        roles = dict(database_roles())[name]
        names = {role: f"{self._choices.prefix}{name}_{role}" for role in roles}
        dsns = {
            role: postgres_roles.dsn_for(
                superuser,
                user=names[role],
                password=self._choices.passwords[f"{name}_{role}"],
            )
            for role in roles
        }
        return Database(superuser, dsns, names)

    def prepare_trust(self) -> Database:
        """Make the database and its roles, and bring it to its newest form."""
        # Imported where it is used: it takes a moment, in which PostgreSQL starts.
        from trust_services import store  # noqa: PLC0415 - see above

        database = self._create(TRUST)
        store.migrate(database.dsns["owner"], login=database.roles["login"])
        return database

    def prepare_registry(self) -> Database:
        from central_registry import store  # noqa: PLC0415 - see prepare_trust

        database = self._create(REGISTRY)
        store.migrate(database.dsns["owner"], login=database.roles["login"])
        return database

    def prepare_server(self, agency: Agency) -> Database:
        from ledger import store as ledger  # noqa: PLC0415 - see prepare_trust
        from security_server.registration import store  # noqa: PLC0415 - see prepare_trust

        database = self._create(server_database(agency))
        owner, roles = database.dsns["owner"], database.roles
        ledger.migrate(
            owner,
            writer=roles["login"],
            reader=roles["reader"],
            eraser=roles["eraser"],
        )
        store.migrate(owner, login=roles["login"])
        return database


def require_cluster(server: PostgresServer, expected: str) -> str:
    """Give the system identifier of a server; raise unless it is the one expected.

    The databases of an instance are on one server: on another it would start empty,
    against keys and a configuration that are not.
    """
    with psycopg.connect(server.superuser_dsn()) as connection:
        row = connection.execute(
            "SELECT system_identifier::text FROM pg_control_system()"
        ).fetchone()
    found = "" if row is None else str(row[0])
    if expected and found != expected:
        raise PostgresUnusable(
            "this instance was made on another PostgreSQL: set RISTMIK_POSTGRES as it "
            "was then (unset for a private server), or start anew in another directory"
        )
    return found
