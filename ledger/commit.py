"""Putting a batch into the tables and moving the head row on, in one transaction.

The head row is moved only if it is where the writer left it: that is the fence. A batch
of a few goes in one statement, which is one round trip to the database, since whoever
is alone waits for each; a larger one by binary COPY, which costs less for each entry.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ledger.draft import Draft
from ledger.examination import Place
from ledger.local_header import moment_of
from ledger.store import (
    ENTRY_COLUMNS,
    ENTRY_TYPES,
    INDEX_COLUMNS,
    INDEX_TYPES,
    OPENING_COLUMNS,
    OPENING_TYPES,
)
from ledger.tail import Connection, Tail

# Measured: at 16 entries both take the same time, at one the statement half of it.
FEW: Final = 16
_FEW_OCTETS: Final = 1 << 18

_ADVANCE: Final = (
    "UPDATE ledger.head SET seq = %b, round = %b, row_hash = %b, ledger_time = %b"
    " WHERE epoch = %b AND seq = %b AND round = %b"
)


def _arrays(types: Sequence[str]) -> str:
    return ", ".join(f"%b::{name}[]" for name in types)


_APPEND_FEW: Final = (
    f"WITH moved AS ({_ADVANCE} RETURNING seq),"  # noqa: S608 - all of it is ours
    f" entries AS (INSERT INTO ledger.entry ({', '.join(ENTRY_COLUMNS)})"
    f" SELECT new.* FROM moved, unnest({_arrays(ENTRY_TYPES)}) AS new),"
    f" openings AS (INSERT INTO ledger.opening ({', '.join(OPENING_COLUMNS)})"
    f" SELECT new.* FROM moved, unnest({_arrays(OPENING_TYPES)}) AS new),"
    f" index_rows AS (INSERT INTO ledger.subject_index ({', '.join(INDEX_COLUMNS)})"
    f" SELECT new.* FROM moved, unnest({_arrays(INDEX_TYPES)}) AS new)"
    " SELECT count(*) FROM moved"
)


def advance(
    connection: Connection, before: Tail, place: Place, *, round_number: int
) -> bool:
    """Move the head row on within a transaction, unless it is not where it was left."""
    moved = connection.execute(_ADVANCE, _moving(before, place, round_number))
    return moved.rowcount == 1


def append(
    connection: Connection, before: Tail, place: Place, drafts: Sequence[Draft]
) -> bool:
    """Return once the entries are durable; False, with nothing done, if fenced off."""
    entries = [draft.entry.row for draft in drafts]
    openings = [row for draft in drafts for row in draft.openings]
    index_rows = [row for draft in drafts for row in draft.index_rows]
    octets = sum(len(value) for *_, value in openings)
    if len(entries) <= FEW and octets <= _FEW_OCTETS:
        arrays = (
            *_columns(entries, len(ENTRY_COLUMNS)),
            *_columns(openings, len(OPENING_COLUMNS)),
            *_columns(index_rows, len(INDEX_COLUMNS)),
        )
        moving = _moving(before, place, before.round)
        return _append_few(connection, (*moving, *arrays))
    if not advance(connection, before, place, round_number=before.round):
        connection.rollback()
        return False
    _copy(connection, "entry", ENTRY_COLUMNS, ENTRY_TYPES, entries)
    _copy(connection, "opening", OPENING_COLUMNS, OPENING_TYPES, openings)
    _copy(connection, "subject_index", INDEX_COLUMNS, INDEX_TYPES, index_rows)
    connection.commit()
    return True


def _append_few(connection: Connection, values: Sequence[Any]) -> bool:
    # A statement by itself is a transaction, and this one says if it did anything.
    connection.autocommit = True
    row = connection.execute(_APPEND_FEW, values, prepare=True).fetchone()
    connection.autocommit = False
    return row == (1,)


def _moving(before: Tail, place: Place, round_number: int) -> tuple[Any, ...]:
    return (
        *(place.seq, round_number, place.prev, moment_of(place.recorded_at)),
        *(before.epoch, before.place.seq, before.round),
    )


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> Iterable[list[Any]]:
    return map(list, zip(*rows, strict=True)) if rows else ([] for _ in range(count))


def _copy(
    connection: Connection,
    table: str,
    columns: Sequence[str],
    types: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    if not rows:
        return
    statement = f"COPY ledger.{table} ({', '.join(columns)}) FROM STDIN BINARY"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
