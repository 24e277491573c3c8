import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from central_registry import publications
from central_registry.publications import Publication
from central_registry.store import UNAVAILABLE, Store, migrate
from central_registry.tables import METADATA, SCHEMA
from tests.central_registry.conftest import make_database
from tests.central_registry.simulator import NOW
from vocabulary.dsn import sqlalchemy_url


@pytest.fixture
def store(database):
    store = Store(database.login_dsn)
    yield store
    store.close()


def publication(version=1, content=b"content"):
    return Publication(
        version=version,
        issued_at=NOW,
        expires_at=NOW,
        directory=f"directory {version}".encode(),
        signature=b"signature",
        signer=b"signer",
        parts={"shared": content},
    )


def _is_ours(name, kind, _parents):
    return kind != "schema" or name == SCHEMA


def test_migrations_make_the_tables_that_the_code_knows(database):
    engine = create_engine(sqlalchemy_url(database.owner_dsn))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "version_table_schema": SCHEMA,
                "include_name": lambda name, kind, _: (
                    kind != "schema" or name == SCHEMA
                ),
                "compare_type": True,
            },
        )
        different = compare_metadata(context, METADATA)
    engine.dispose()
    # An index with a condition is the migration's alone.
    assert [
        each for each in different if "registration_request_waiting" not in str(each)
    ] == []


def test_migrating_again_changes_nothing(database, store):
    with store.writing() as connection:
        publications.append(connection, publication())
    migrate(database.owner_dsn, login="registry_login")
    with store.reading() as connection:
        assert publications.newest(connection) == publication()


def test_what_was_published_comes_back(store):
    with store.reading() as connection:
        assert publications.newest(connection) is None
        assert publications.head(connection) is None
    with store.writing() as connection:
        publications.append(connection, publication(1))
        publications.append(connection, publication(2))
    with store.reading() as connection:
        assert publications.newest(connection) == publication(2)
        assert publications.head(connection).version == 2
        parts = connection.execute(text("SELECT count(*) FROM registry.published_part"))
        assert parts.scalar_one() == 1


def test_a_version_is_published_once(store):
    with store.writing() as connection:
        publications.append(connection, publication())
    with (
        pytest.raises(DBAPIError, match="published_configuration_pkey"),
        store.writing() as connection,
    ):
        publications.append(connection, publication())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE registry.published_configuration SET version = 7",
        "DELETE FROM registry.published_content",
        "DELETE FROM registry.published_part",
        "TRUNCATE registry.published_part CASCADE",
        "TRUNCATE registry.published_configuration CASCADE",
    ],
)
def test_what_was_published_cannot_be_changed(database, store, postgres, statement):
    with store.writing() as connection:
        publications.append(connection, publication())
    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        store.writing() as connection,
    ):
        connection.execute(text(statement))
    # Not even by a superuser, as long as the triggers are there.
    superuser = Store(postgres.superuser_dsn(database.name))
    with (
        pytest.raises(DBAPIError, match="never changed once published"),
        superuser.writing() as connection,
    ):
        connection.execute(text(f"SET session_replication_role = replica; {statement}"))
    superuser.close()


def test_the_login_role_owns_nothing(database, store):
    with store.reading() as connection:
        owned = connection.execute(
            text("SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole")
        )
        assert owned.scalar_one() == 0
    for statement in (
        "DELETE FROM registry.member",
        "DROP TABLE registry.member",
        "UPDATE registry.checkpoint_key SET key = ''",
        "CREATE TABLE registry.mine ()",
    ):
        with (
            pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
            store.writing() as connection,
        ):
            connection.execute(text(statement))


def test_writers_queue(store):
    order = []
    with store.writing():
        entered = threading.Event()

        def write():
            entered.set()
            with store.writing():
                order.append("second")

        thread = threading.Thread(target=write)
        thread.start()
        entered.wait()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_database_that_was_not_migrated_is_unavailable(postgres):
    store = Store(make_database(postgres).login_dsn)
    with pytest.raises(UNAVAILABLE), store.reading() as connection:
        publications.head(connection)
    store.close()


def test_a_database_that_is_away_is_unavailable(tmp_path):
    store = Store(f"postgresql://nobody@/nothing?host={tmp_path}")
    with pytest.raises(OperationalError), store.reading():
        pass
    store.close()


def test_connections_that_the_server_ended_are_replaced(database, store, postgres):
    with store.reading() as connection:
        publications.head(connection)
    superuser = Store(postgres.superuser_dsn(database.name))
    with superuser.writing() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'registry_login'"
            )
        )
    superuser.close()
    with store.reading() as connection:
        assert publications.head(connection) is None
