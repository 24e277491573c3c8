"""The PostgreSQL that tests run on: one server a pytest session, or the one given.

On a given server (RISTMIK_POSTGRES=DSN) several sessions may run at once, so there each
database bears a name of its session behind the scenes, and is dropped at the end.
"""

import hashlib
import secrets
from contextlib import closing

import psycopg
from psycopg import sql

from cli.postgres import roles as postgres_roles
from cli.postgres.private import GivenPostgres, PrivatePostgres


class Databases:
    def __init__(self, server: PrivatePostgres | GivenPostgres) -> None:
        self.server = server
        self._shared = isinstance(server, GivenPostgres)
        self._suffix = f"_{secrets.token_hex(4)}" if self._shared else ""
        self._created: list[str] = []

    def superuser_dsn(self, database: str = "postgres") -> str:
        name = database if database == "postgres" else database + self._suffix
        return self.server.superuser_dsn(name)

    def create_database(self, name: str, *, owner: str | None = None) -> None:
        postgres_roles.create_database(
            self.superuser_dsn(), name + self._suffix, owner=owner
        )
        self._created.append(name + self._suffix)

    def create_role(self, name: str) -> str:
        """Make a login role and give its password, which is always the same."""
        password = hashlib.sha256(f"test {name}".encode()).hexdigest()
        postgres_roles.create_role(self.superuser_dsn(), name, password=password)
        return password

    def let_connect(self, role: str, *, database: str) -> None:
        postgres_roles.let_connect(
            self.superuser_dsn(), role, database=database + self._suffix
        )

    def role_dsn(self, role: str, *, database: str) -> str:
        """Give the DSN of a role that create_role made, which is let in."""
        password = self.create_role(role)
        self.let_connect(role, database=database)
        return postgres_roles.dsn_for(
            self.superuser_dsn(database), user=role, password=password
        )

    def drop_created(self) -> None:
        if not self._shared:
            return
        with closing(psycopg.connect(self.superuser_dsn(), autocommit=True)) as server:
            for name in self._created:
                server.execute(
                    sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
                        sql.Identifier(name)
                    )
                )
