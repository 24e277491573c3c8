"""Roles, databases and accounts of a private PostgreSQL."""

from pathlib import Path

import psycopg
import pytest

from cli.postgres import roles
from cli.postgres.account import Account, account_for
from cli.postgres.private import GivenPostgres
from cli.sandbox.failures import PostgresUnusable
from tests.databases import Databases

NEW = Path("/nonexistent")


def ask(dsn: str, query: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def test_roles_and_databases_are_made_once(postgres: Databases) -> None:
    for _ in range(2):
        postgres.create_role("roles_owner")
        postgres.create_database("roles_test", owner="roles_owner")
    dsn = postgres.role_dsn("roles_login", database="roles_test")
    assert ask(dsn, "SELECT current_user") == "roles_login"
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        psycopg.connect(dsn) as connection,
    ):
        connection.execute("CREATE TABLE public.mine ()")
    postgres.create_role("roles_stranger")
    stranger = roles.dsn_for(
        postgres.superuser_dsn("roles_test"),
        user="roles_stranger",
        password=postgres.create_role("roles_stranger"),
    )
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(stranger)


def test_dsns_keep_every_character() -> None:
    odd = {"user": "u@v", "password": "p:/?#&%+", "host": "/run/a b&c"}
    dsn = roles.libpq_uri(database="a/b c", **odd)
    assert roles.dsn_for(dsn) == dsn
    assert psycopg.conninfo.conninfo_to_dict(dsn) == {"dbname": "a/b c"} | odd


def test_an_account_runs_programs_without_a_shell() -> None:
    account = account_for(NEW)
    assert isinstance(account, Account)
    said = account.run(["/bin/echo", "$HOME; exit 1"])
    assert said.returncode == 0
    assert said.stdout == "$HOME; exit 1\n"


def test_a_given_dsn_has_to_be_a_superusers(postgres: Databases) -> None:
    password = postgres.create_role("nobody_special")
    dsn = roles.dsn_for(
        postgres.superuser_dsn(), user="nobody_special", password=password
    )
    with pytest.raises(PostgresUnusable, match="no superuser"):
        GivenPostgres(dsn).start()
