"""What PostgreSQL itself refuses: prevention, to whoever is no superuser at work."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg import errors

from ledger.sequencer import Sequencer
from ledger.store import migrate
from tests.ledger.world import ERASER, OWNER, READER, WRITER, LedgerWorld, request

GROWING = (
    *("entry", "opening", "subject_index", "subject_index_withheld"),
    *("round", "time_stamp", "evidence"),
)
PARTITIONS = tuple(f"{table}_000000" for table in GROWING[:4])
EVERYTHING = (*GROWING, *PARTITIONS)
_UPDATE = "UPDATE ledger.{} SET {} = {}"
_DELETE = "DELETE FROM ledger.{}"
_SELECT = "SELECT * FROM ledger.{}"
COLUMN = {
    "entry": "head",
    "opening": "value",
    "round": "size",
    "time_stamp": "token",
    "evidence": "der",
}


def column(table: str) -> str:
    kind = table.partition("_")[0]
    return COLUMN.get(table) or COLUMN.get(kind, "month")


def connect(world: LedgerWorld, role: str) -> "psycopg.Connection[Any]":
    return psycopg.connect(world.dsn(role), autocommit=True)


@pytest.fixture
async def filled(world: LedgerWorld, sequencer: Sequencer) -> LedgerWorld:
    await sequencer.append(request(1))
    closed = await sequencer.close_round()
    await sequencer.add_time_stamp(closed.round, b"a token")
    await sequencer.append(request(2))
    with closing(world.superuser()) as connection:
        connection.execute(
            "INSERT INTO ledger.subject_index_withheld"
            " SELECT * FROM ledger.subject_index"
        )
    return world


@pytest.fixture
def replica(filled: LedgerWorld) -> Iterator["psycopg.Connection[Any]"]:
    """A superuser's session that says it is a replica, where plain triggers sleep."""
    with closing(filled.superuser()) as connection:
        connection.execute("SET session_replication_role = replica")
        yield connection


def test_the_writer_only_appends(filled: LedgerWorld) -> None:
    with closing(connect(filled, WRITER)) as writer:
        for table in EVERYTHING:
            name = column(table)
            for statement in (
                _UPDATE.format(table, name, name),
                _DELETE.format(table),
                f"TRUNCATE ledger.{table}",
                f"ALTER TABLE ledger.{table} DISABLE TRIGGER ALL",
                f"DROP TABLE ledger.{table}",
            ):
                with pytest.raises(errors.InsufficientPrivilege):
                    writer.execute(statement.encode())
        for statement in (
            "DELETE FROM ledger.head",
            "TRUNCATE ledger.head",
            "INSERT INTO ledger.head SELECT * FROM ledger.head",
            "UPDATE ledger.head SET seq = 0",
            "UPDATE ledger.head SET epoch = epoch - 1",
            "CREATE TABLE ledger.more (seq bigint)",
            "INSERT INTO ledger.entry_000000 SELECT * FROM ledger.entry",
            "SET session_replication_role = replica",
            "SELECT ledger.protect('ledger.round', 'refuse_change', 'refuse_change')",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                writer.execute(statement.encode())


def test_triggers_refuse_also_a_superuser_who_says_replica(
    replica: "psycopg.Connection[Any]",
) -> None:
    for table in EVERYTHING:
        name = column(table)
        for statement in (
            _UPDATE.format(table, name, name),
            _DELETE.format(table),
            f"TRUNCATE ledger.{table} CASCADE",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                replica.execute(statement.encode())
    for statement in ("DELETE FROM ledger.head", "TRUNCATE ledger.head"):
        with pytest.raises(errors.InsufficientPrivilege):
            replica.execute(statement.encode())


def test_every_table_of_rows_bears_its_own_triggers(filled: LedgerWorld) -> None:
    with closing(filled.superuser()) as connection:
        rows = connection.execute(
            "SELECT relname, count(*) FILTER (WHERE tgenabled = 'A')"
            " FROM pg_class LEFT JOIN pg_trigger"
            " ON tgrelid = pg_class.oid AND NOT tgisinternal"
            " WHERE relnamespace = 'ledger'::regnamespace AND relkind = 'r'"
            " GROUP BY relname"
        ).fetchall()
    bare = {name for name, triggers in rows if triggers != 3}
    assert bare == {"revision_of_schema"}
    assert len(rows) == 4 * 2 + len(("round", "time_stamp", "evidence", "head")) + 1


def test_the_reader_only_reads(filled: LedgerWorld) -> None:
    with closing(connect(filled, READER)) as reader:
        for table in (*GROWING, "head"):
            assert reader.execute(_SELECT.format(table).encode()).fetchall()
        for statement in (
            "UPDATE ledger.head SET epoch = epoch + 1",
            "INSERT INTO ledger.evidence VALUES ('\\x00', '\\x00')",
            "DELETE FROM ledger.opening",
            "SELECT ledger.create_partitions(0)",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                reader.execute(statement.encode())


def test_the_eraser_only_deletes_openings(filled: LedgerWorld) -> None:
    with closing(connect(filled, ERASER)) as eraser:
        assert eraser.execute("DELETE FROM ledger.opening WHERE seq = 0").rowcount == 2
        for statement in (
            "UPDATE ledger.opening SET value = ''",
            "TRUNCATE ledger.opening",
            "DELETE FROM ledger.opening_000000",
            "DELETE FROM ledger.entry",
            "DELETE FROM ledger.subject_index",
            "INSERT INTO ledger.opening SELECT * FROM ledger.opening",
            "UPDATE ledger.head SET epoch = epoch + 1",
            "SELECT * FROM ledger.evidence",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                eraser.execute(statement.encode())


def test_nobody_else_gets_in(filled: LedgerWorld) -> None:
    filled.postgres.create_role("ledger_stranger")
    with closing(connect(filled, "ledger_stranger")) as stranger:
        for table in (*GROWING, "head", "revision_of_schema"):
            with pytest.raises(errors.InsufficientPrivilege):
                stranger.execute(_SELECT.format(table).encode())


def test_login_roles_own_nothing(filled: LedgerWorld) -> None:
    with closing(filled.superuser()) as connection:
        rows = connection.execute(
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class"
            " WHERE relnamespace = 'ledger'::regnamespace"
            " UNION SELECT pg_get_userbyid(proowner) FROM pg_proc"
            " WHERE pronamespace = 'ledger'::regnamespace"
        ).fetchall()
    assert rows == [(OWNER,)]


def test_partitions_are_made_as_they_are_needed(filled: LedgerWorld) -> None:
    with closing(connect(filled, WRITER)) as writer:
        again = "SELECT * FROM ledger.create_partitions(%s)"
        assert writer.execute(again, (0,)).fetchone() == (1_000, 2_000)
        assert writer.execute(again, (1_000,)).fetchone() == (2_000, 3_000)
        assert writer.execute(again, (0,)).fetchone() == (2_000, 3_000)
        with pytest.raises(errors.RaiseException, match="not needed yet"):
            writer.execute(again, (1 << 40,))
        with pytest.raises(errors.InsufficientPrivilege):
            writer.execute("DELETE FROM ledger.entry_000002")


def test_migrating_again_changes_nothing(filled: LedgerWorld) -> None:
    migrate(filled.dsn(OWNER), writer=WRITER, reader=READER, eraser=ERASER)
    filled.superuser().close()
    with pytest.raises(ValueError, match="three roles"):
        migrate(filled.dsn(OWNER), writer=WRITER, reader=READER, eraser=WRITER)
    with pytest.raises(ValueError, match="partitions of 0"):
        migrate(
            filled.dsn(OWNER),
            writer=WRITER,
            reader=READER,
            eraser=ERASER,
            partition_size=0,
        )


def test_roles_may_have_any_name(world: LedgerWorld) -> None:
    odd = 'odd "role" % \'s'
    world.postgres.create_role(odd)
    name = f"{world.name}_odd"
    world.postgres.create_database(name, owner=OWNER)
    dsn = world.postgres.role_dsn(OWNER, database=name)
    migrate(dsn, writer=WRITER, reader=READER, eraser=odd)
    with closing(psycopg.connect(world.postgres.superuser_dsn(name))) as connection:
        (granted,) = connection.execute(
            "SELECT has_table_privilege(%s, 'ledger.opening', 'DELETE')", (odd,)
        ).fetchone() or (False,)
    assert granted
