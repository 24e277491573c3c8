"""Roles and databases of an instance; making one that is there changes nothing else."""

from contextlib import closing, suppress
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict


def libpq_uri(
    *, database: str, user: str, password: str | None = None, **options: str
) -> str:
    """Spell a DSN as `postgresql://USER:PASSWORD@/DATABASE?host=…`."""
    secret = "" if password is None else f":{quote(password, safe='')}"
    query = "&".join(f"{key}={quote(value)}" for key, value in options.items())
    login = f"{quote(user, safe='')}{secret}"
    return f"postgresql://{login}@/{quote(database, safe='')}?{query}".rstrip("?")


def dsn_for(
    dsn: str,
    *,
    database: str | None = None,
    user: str | None = None,
    password: str | None = None,
) -> str:
    """Give a DSN of the same server for another database, or for another role."""
    parts = {key: str(value) for key, value in conninfo_to_dict(dsn).items()}
    own_database = parts.pop("dbname", "postgres")
    own_user, own_password = parts.pop("user", "postgres"), parts.pop("password", None)
    return libpq_uri(
        database=own_database if database is None else database,
        user=own_user if user is None else user,
        password=own_password if user is None else password,
        **parts,
    )


def create_role(superuser_dsn: str, name: str, *, password: str) -> None:
    """Make a login role without any privilege; one that is there gets the password."""
    with closing(psycopg.connect(superuser_dsn, autocommit=True)) as connection:
        # Encrypted on this side: a statement that fails is written to the server's log.
        verifier = connection.pgconn.encrypt_password(
            password.encode(), name.encode(), b"scram-sha-256"
        ).decode()
        login = sql.SQL(
            "ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
            " NOBYPASSRLS PASSWORD {}"
        ).format(sql.Identifier(name), sql.Literal(verifier))
        with suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            connection.execute(sql.SQL("CREATE {}").format(login))
            return
        connection.execute(sql.SQL("ALTER {}").format(login))


def create_database(superuser_dsn: str, name: str, *, owner: str | None = None) -> None:
    """Make a database that only its owner, and whom it lets in, can connect to."""
    owning = sql.Identifier(owner) if owner else sql.SQL("CURRENT_USER")
    database = sql.Identifier(name)
    with closing(psycopg.connect(superuser_dsn, autocommit=True)) as connection:
        with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            # From template0, whose contents nobody has changed.
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(database)
            )
        for statement in (
            "ALTER DATABASE {} OWNER TO {}",
            "REVOKE ALL ON DATABASE {} FROM PUBLIC",
        ):
            connection.execute(sql.SQL(statement).format(database, owning))


def let_connect(superuser_dsn: str, role: str, *, database: str) -> None:
    with closing(psycopg.connect(superuser_dsn, autocommit=True)) as connection:
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                sql.Identifier(database), sql.Identifier(role)
            )
        )
