"""A security server's database: owned by one role, used by another."""

from contextlib import closing

import psycopg

from security_server.registration.store import migrate

OWNER, LOGIN = "local_owner", "local_login"


def migrated(postgres, name):
    """Give the owner's and the login's DSN of a database with schema "server"."""
    postgres.create_role(OWNER)
    postgres.create_database(name, owner=OWNER)
    owner = postgres.role_dsn(OWNER, database=name)
    login = postgres.role_dsn(LOGIN, database=name)
    migrate(owner, login=LOGIN)
    return owner, login


def emptied(owner):
    with closing(psycopg.connect(owner, autocommit=True)) as connection:
        connection.execute(
            "TRUNCATE server.access_right, server.service, server.client"
        )
        connection.execute("UPDATE server.change SET number = number + 1")
