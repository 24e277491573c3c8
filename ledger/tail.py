"""Start-up, fail-over and crash recovery: one function.

Take a new epoch, so that nobody else appends; read the tree, the newest entries and
what is remembered of late back from the database; and refuse to go on from anything
that is not as it was recorded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

import psycopg

from ledger.checkpoint import (
    CheckpointInvalid,
    RoundCheckpoint,
    VerifierKey,
    verify_checkpoint,
)
from ledger.entry import NO_ROW, entry_leaf
from ledger.examination import Place, examine
from ledger.findings import Code, Finding, LedgerBroken
from ledger.heads import HeadReader
from ledger.local_header import LocalHeader, microseconds, moment_of
from ledger.merkle import Frontier
from ledger.recent import ENTRIES, ONCE_LIMIT, Recent
from ledger.store import ENTRY_COLUMNS, entry_of

Connection: TypeAlias = "psycopg.Connection[Any]"

# Verified again at each start, besides the last closed round and the open one.
VERIFIED_AGAIN = 256
_ROWS_AT_ONCE = 5_000


class Superseded(Exception):
    """Another writer has taken this ledger over; this one never appends again."""

    def __init__(self) -> None:
        super().__init__("another writer has taken this ledger over")


@dataclass(slots=True)
class Tail:
    """What the one writer knows of the ledger's end; its time is the place's."""

    epoch: int
    place: Place
    round: int
    frontier: Frontier
    recent: Recent
    checkpoint: RoundCheckpoint | None


@dataclass(frozen=True, slots=True)
class _Head:
    epoch: int
    seq: int
    round: int
    row_hash: bytes
    ledger_time: int


def take_over(
    connection: Connection,
    writer: UUID,
    *,
    if_still_ours: bool,
    known: Frontier,
    heads: HeadReader,
    log_keys: Sequence[VerifierKey],
) -> Tail:
    """Become the one writer; raise LedgerBroken, or Superseded if it must be ours.

    `known` is what this server itself has appended or read before.
    """
    head = _take_epoch(connection, writer, if_still_ours=if_still_ours)
    frontier = known.copy()
    if frontier.size > head.seq:
        detail = f"this server has seen {frontier.size} entries, {head.seq} are left"
        raise LedgerBroken(Finding(head.seq, Code.SMALLER_THAN_HELD, detail))
    checkpoint, covered = _newest_checkpoint(connection, head, log_keys)
    _extend(connection, frontier, head, checkpoint)
    _examine_newest(connection, head, min(covered, head.seq - VERIFIED_AGAIN), heads)
    recent = _remember(connection, head)
    connection.rollback()
    place = Place(head.seq, head.row_hash, head.ledger_time)
    return Tail(head.epoch, place, head.round, frontier, recent, checkpoint)


def _take_epoch(connection: Connection, writer: UUID, *, if_still_ours: bool) -> _Head:
    row = connection.execute(
        "UPDATE ledger.head SET epoch = epoch + 1, writer = %(writer)s"
        " WHERE NOT %(ours)s OR writer = %(writer)s"
        " RETURNING epoch, seq, round, row_hash, ledger_time",
        {"writer": writer, "ours": if_still_ours},
    ).fetchone()
    if row is None:
        connection.rollback()
        raise Superseded
    connection.commit()
    epoch, seq, number, row_hash, ledger_time = row
    return _Head(epoch, seq, number, row_hash, microseconds(ledger_time))


def _newest_checkpoint(
    connection: Connection, head: _Head, log_keys: Sequence[VerifierKey]
) -> tuple[RoundCheckpoint | None, int]:
    """Give the last closed round's, and the size at which that round began."""
    rows = connection.execute(
        "SELECT round, size, root, note FROM ledger.round ORDER BY round DESC LIMIT 2"
    ).fetchall()
    if head.round != (rows[0][0] + 1 if rows else 0):
        detail = f"round {head.round} is open, but not after the last closed one"
        raise LedgerBroken(Finding(head.seq, Code.HEAD_ROW_MISMATCH, detail))
    if not rows:
        return None, 0
    number, size, root, note = rows[0]
    covered = rows[1][1] if len(rows) > 1 else 0
    try:
        told = verify_checkpoint(note, log_keys)
    except CheckpointInvalid as error:
        finding = Finding(covered, Code.CHECKPOINT_UNSIGNED, str(error))
        raise LedgerBroken(finding) from error
    if (told.size, told.root) != (size, root):
        detail = f"round {number} is stored with another size or root than signed"
        raise LedgerBroken(Finding(covered, Code.CHECKPOINT_MISMATCH, detail))
    return RoundCheckpoint(told.origin, size, root, note, number), covered


def _extend(
    connection: Connection,
    frontier: Frontier,
    head: _Head,
    checkpoint: RoundCheckpoint | None,
) -> None:
    """Grow the tree by the stored row hashes; its roots must be the ones there are."""
    last = NO_ROW if frontier.size == 0 else None
    query = "SELECT seq, row_hash FROM ledger.entry WHERE seq >= %s ORDER BY seq"
    _require_root(frontier, checkpoint)
    for seq, row_hash in _stream(connection, query, frontier.size):
        if seq != frontier.size:
            detail = f"the next entry there is has number {seq}"
            raise LedgerBroken(Finding(frontier.size, Code.ENTRY_MISSING, detail))
        frontier.append(entry_leaf(row_hash))
        last = row_hash
        _require_root(frontier, checkpoint)
    if frontier.size != head.seq or last not in {None, head.row_hash}:
        detail = f"{frontier.size} entries, which is not what the head row says"
        raise LedgerBroken(Finding(frontier.size, Code.HEAD_ROW_MISMATCH, detail))


def _require_root(frontier: Frontier, checkpoint: RoundCheckpoint | None) -> None:
    if checkpoint is None or frontier.size != checkpoint.size:
        return
    if frontier.root != checkpoint.root:
        detail = f"round {checkpoint.round} was closed over other entries"
        raise LedgerBroken(Finding(0, Code.CHECKPOINT_MISMATCH, detail))


def _examine_newest(
    connection: Connection, head: _Head, first: int, heads: HeadReader
) -> None:
    # From the entry before, which the first one examined is linked to.
    query = (
        f"SELECT {', '.join(ENTRY_COLUMNS)} FROM ledger.entry"  # noqa: S608 - ours
        " WHERE seq >= %s ORDER BY seq"
    )
    place = Place() if first <= 0 else None
    for row in _stream(connection, query, max(0, first - 1)):
        entry = entry_of(row)
        if place is None:
            header = _header(entry.seq, entry.local_header)
            place = Place(entry.seq + 1, entry.row_hash, header.recorded_at)
        else:
            place = examine(entry, place, heads).next_place
    place = place or Place()
    if (place.seq, place.prev) != (head.seq, head.row_hash):
        detail = "the head row does not name the last entry"
        raise LedgerBroken(Finding(place.seq, Code.HEAD_ROW_MISMATCH, detail))
    if place.recorded_at > head.ledger_time:
        detail = "the head row's time is before the last entry's"
        raise LedgerBroken(Finding(place.seq - 1, Code.HEAD_ROW_MISMATCH, detail))


def _remember(connection: Connection, head: _Head) -> Recent:
    """Read replay keys and record ids back from the local headers that hold them."""
    end = moment_of(max(head.ledger_time - _ONCE, 0))
    row = connection.execute(
        "SELECT seq FROM ledger.entry WHERE recorded_at < %s ORDER BY seq DESC LIMIT 1",
        (end,),
    ).fetchone()
    older = -1 if row is None else int(row[0])
    first = max(0, min(older + 1, head.seq - ENTRIES))
    recent = Recent()
    query = "SELECT seq, local_header FROM ledger.entry WHERE seq >= %s ORDER BY seq"
    for seq, octets in _stream(connection, query, max(0, first - 1)):
        header = _header(seq, octets)
        if seq < first:
            # No entry up to this one can hold a key that ends later.
            recent.let_go = header.recorded_at + _ONCE
        else:
            recent.add(seq, header)
    return recent


def _header(seq: int, octets: bytes) -> LocalHeader:
    try:
        return LocalHeader.decode(octets)
    except ValueError as error:
        finding = Finding(seq, Code.LOCAL_HEADER_MALFORMED, str(error))
        raise LedgerBroken(finding) from error


_ONCE = microseconds(moment_of(0) + ONCE_LIMIT)


def _stream(
    connection: Connection, query: str, first: int
) -> Iterator[tuple[Any, ...]]:
    with connection.cursor(name="tail", binary=True) as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        yield from cursor.execute(query, (first,))
