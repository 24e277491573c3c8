"""Databases of a registry, as its owner has migrated them."""

import itertools
from dataclasses import dataclass

import pytest

from central_registry.store import Store, migrate

_numbers = itertools.count()


@dataclass(frozen=True)
class Database:
    name: str
    owner_dsn: str
    # Of the role that the service logs in with.
    login_dsn: str


def make_database(postgres):
    name = f"registry_{next(_numbers)}"
    postgres.create_role("registry_owner")
    postgres.create_database(name, owner="registry_owner")
    return Database(
        name,
        postgres.role_dsn("registry_owner", database=name),
        postgres.role_dsn("registry_login", database=name),
    )


@pytest.fixture
def database(postgres):
    made = make_database(postgres)
    migrate(made.owner_dsn, login="registry_login")
    return made


@pytest.fixture(scope="module")
def shared_store(postgres):
    """A store whose tests roll back what they write."""
    made = make_database(postgres)
    migrate(made.owner_dsn, login="registry_login")
    store = Store(made.login_dsn)
    yield store
    store.close()


@pytest.fixture
def connection(shared_store):
    with shared_store._engine.connect() as connection:
        yield connection
