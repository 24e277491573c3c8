"""Schema "ledger" of a security server's database: making it, and looking things up.

Four roles share it. The owner migrates and does nothing else; the writer inserts, and
updates the one row of `head`; the eraser deletes openings; the reader reads. None but
the owner owns anything, since who owns a table can switch its triggers off.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import as_file, files
from typing import Any, Final, Self

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from psycopg.rows import class_row

from ledger.entry import LinkedEntry, QueryColumns
from vocabulary.dsn import sqlalchemy_url

PARTITION_SIZE: Final = 1_000_000
# Taken while migrating or making partitions, so that two servers can start at once.
_LOCK: Final = 0x7269_7374_6D69_6B02

_LINKED = "seq round local_header part_type head commitments fields_root prev row_hash"
ENTRY_COLUMNS: Final = (*_LINKED.split(), *QueryColumns._fields)
ENTRY_TYPES: Final = (
    *("int8", "int8", "bytea", "text", *("bytea",) * 5),
    *("int2", "timestamptz", "int4", "int2", "uuid", "int4", "int8"),
    *(*("text",) * 5, "int8"),
)
OPENING_COLUMNS: Final = ("seq", "position", "tag", "salt", "value")
OPENING_TYPES: Final = ("int8", "int4", "int4", "bytea", "bytea")
INDEX_COLUMNS: Final = ("tag", "month", "seq")
INDEX_TYPES: Final = ("bytea", "int4", "int8")

_ALL_TABLES = (
    "ledger.entry, ledger.opening, ledger.subject_index, "
    "ledger.subject_index_withheld, ledger.round, ledger.time_stamp, ledger.evidence, "
    "ledger.head"
)
_GROWING = _ALL_TABLES.removesuffix(", ledger.head")


def migrate(
    owner_dsn: str,
    *,
    writer: str,
    reader: str,
    eraser: str,
    partition_size: int = PARTITION_SIZE,
) -> None:
    """Bring schema "ledger" up to date as its owner, and let the three roles use it.

    `partition_size` counts when the schema is made and is kept from then on.
    """
    if len({writer, reader, eraser}) < len((writer, reader, eraser)):
        raise ValueError("writer, reader and eraser are three roles, not fewer")
    if partition_size < 1:
        raise ValueError(f"partitions of {partition_size} entries")
    engine = sa.create_engine(sqlalchemy_url(owner_dsn), poolclass=sa.NullPool)
    quote = engine.dialect.identifier_preparer.quote_identifier
    with (
        as_file(files("ledger") / "migrations") as scripts,
        engine.begin() as connection,
    ):
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        connection.execute(sa.schema.CreateSchema("ledger", if_not_exists=True))
        config = Config()
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        config.attributes |= {
            "connection": connection,
            "eraser_literal": "'{}'".format(eraser.replace("'", "''")),
            "partition_size": partition_size,
            "lock": _LOCK,
        }
        command.upgrade(config, "head")
        for grant in _grants(quote(writer), quote(reader), quote(eraser)):
            connection.exec_driver_sql(grant)


def _grants(writer: str, reader: str, eraser: str) -> Iterable[str]:
    yield f"GRANT USAGE ON SCHEMA ledger TO {writer}, {reader}, {eraser}"
    yield f"GRANT SELECT ON {_ALL_TABLES} TO {writer}, {reader}"
    yield f"GRANT INSERT ON {_GROWING} TO {writer}"
    yield f"GRANT UPDATE ON ledger.head TO {writer}"
    yield f"GRANT EXECUTE ON FUNCTION ledger.create_partitions(bigint) TO {writer}"
    # Which entries an erasure names, and whether anything of them is left.
    yield f"GRANT SELECT ON ledger.entry, ledger.opening TO {eraser}"
    yield f"GRANT DELETE ON ledger.opening TO {eraser}"


@dataclass(frozen=True, slots=True)
class StoredOpening:
    seq: int
    position: int
    tag: int
    salt: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class StoredRound:
    round: int
    size: int
    root: bytes
    note: bytes
    closed_at: datetime


def entry_of(row: Iterable[Any]) -> LinkedEntry:
    """Give a row of ENTRY_COLUMNS its names."""
    seq, number, header, type_, head, commitments, root, prev, row_hash, *rest = row
    columns = QueryColumns(*rest)
    return LinkedEntry(
        seq, number, header, type_, head, commitments, root, prev, row_hash, columns
    )


class LedgerReader:
    """Looks things up, as any role that may read; nothing it returns is verified."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection

    @classmethod
    def connect(cls, dsn: str) -> Self:
        connection = psycopg.connect(dsn, autocommit=True)
        connection.read_only = True
        return cls(connection)

    def close(self) -> None:
        self._connection.close()

    def size(self) -> int:
        """How many entries there are; the newest has one less for its number."""
        row = self._connection.execute("SELECT seq FROM ledger.head").fetchone()
        return 0 if row is None else int(row[0])

    def entries(self, first: int, stop: int) -> list[LinkedEntry]:
        """Entries from number `first` up to and without `stop`."""
        rows = self._connection.execute(
            f"SELECT {', '.join(ENTRY_COLUMNS)} FROM ledger.entry"  # noqa: S608 - ours
            " WHERE seq >= %s AND seq < %s ORDER BY seq",
            (first, stop),
        )
        return [entry_of(row) for row in rows]

    def of_message(self, message_id: str) -> list[LinkedEntry]:
        """Entries of one exchange, in their order."""
        rows = self._connection.execute(
            f"SELECT {', '.join(ENTRY_COLUMNS)} FROM ledger.entry"  # noqa: S608 - ours
            " WHERE message_id = %s::uuid ORDER BY seq",
            (message_id,),
        )
        return [entry_of(row) for row in rows]

    def openings(self, seq: int) -> list[StoredOpening]:
        with self._connection.cursor(row_factory=class_row(StoredOpening)) as cursor:
            return cursor.execute(
                "SELECT seq, position, tag, salt, value FROM ledger.opening"
                " WHERE seq = %s ORDER BY position",
                (seq,),
            ).fetchall()

    def newest_round(self) -> StoredRound | None:
        with self._connection.cursor(row_factory=class_row(StoredRound)) as cursor:
            return cursor.execute(
                "SELECT round, size, root, note, closed_at FROM ledger.round"
                " ORDER BY round DESC LIMIT 1"
            ).fetchone()

    def time_stamps(self, round_number: int) -> list[bytes]:
        """RFC 3161 tokens of a round's checkpoint, none while it has none."""
        rows = self._connection.execute(
            "SELECT token FROM ledger.time_stamp WHERE round = %s ORDER BY imprint",
            (round_number,),
        )
        return [row[0] for row in rows]

    def evidence(self, imprint: bytes) -> bytes | None:
        row = self._connection.execute(
            "SELECT der FROM ledger.evidence WHERE imprint = %s", (imprint,)
        ).fetchone()
        return None if row is None else bytes(row[0])
